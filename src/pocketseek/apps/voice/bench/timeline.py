"""One turn of a conversation as a chart: what happened when, from the first word to the end of the answer's sound.

The bars are of the stages (somebody speaks, the end is found, text, model, voice), the dots in the bar of the text are
partial transcripts; the sound of the answer lies where one hears it, piece after piece without overlapping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pocketseek.apps.svg_chart import Bar, bar_chart, time_axis
from pocketseek.apps.voice.bench.turns import SpokenSound, Turn

LANES = ("speech", "endpoint", "transcript", "model", "voice", "heard")
"""Their names are given by who shows them."""


def timeline(turn: Turn, label: str, lanes: Mapping[str, str]) -> str:
    """SVG. Zero is where the speech began. lanes: what each of LANES is called. label: for those who cannot see it."""
    times = turn.timings
    origin_s = times.speech_start_s or 0.0
    heard = heard_spans(turn.sounds)
    spans: dict[str, Sequence[tuple[float | None, float | None]]] = {
        "speech": [(times.speech_start_s, turn.speech_end_s or times.speech_end_s)],
        "endpoint": [(turn.speech_end_s or times.speech_end_s, times.endpoint_s)],
        "transcript": [*((at_s, at_s) for at_s in turn.partials_s), (times.endpoint_s, times.transcript_s)],
        "model": [(times.first_token_s, times.answer_s or times.end_s)],
        "voice": [(times.first_clause_s, turn.sounds[-1].at_s if turn.sounds else None)],
        "heard": heard,
    }
    bars = [
        Bar(
            lanes[name],
            [(a - origin_s, max(a, b) - origin_s) for a, b in spans[name] if a is not None and b is not None],
            colour,
        )
        for name, colour in zip(LANES, (0, 1, 2, 3, 1, 0), strict=True)
    ]
    longest_s = max((end_s for bar in bars for _, end_s in bar.spans), default=1.0)
    return bar_chart(label, bars, time_axis(max(longest_s, 0.5), "s"))


def heard_spans(sounds: tuple[SpokenSound, ...]) -> list[tuple[float, float]]:
    """When each piece sounds: as soon as it is there and the one before it is over. Without gaps they are one span."""
    spans: list[tuple[float, float]] = []
    for sound in sounds:
        begin_s = max(sound.at_s, spans[-1][1]) if spans else sound.at_s
        if spans and begin_s - spans[-1][1] < 1e-6:
            spans[-1] = spans[-1][0], begin_s + sound.seconds
        else:
            spans.append((begin_s, begin_s + sound.seconds))
    return spans
