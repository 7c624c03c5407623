"""The figures of a voice benchmark: times after the end of speech, what each stage adds to them, error rates.

A stage adds what it lets the others wait: the first sound of an answer that was tried early, while nobody knew yet
whether the speech was over, comes with the end-pointing, and model and voice add nothing. What the stages add sums up
to the time of the first sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pocketseek.apps.voice.bench.error_rate import Errors, character_errors, word_errors
from pocketseek.apps.voice.bench.intents import Understanding
from pocketseek.apps.voice.bench.turns import PlayedFile, Turn
from pocketseek.apps.voice.events import TurnTimings

STAGES: Mapping[str, Callable[[TurnTimings], float | None]] = {
    "endpoint": lambda times: times.endpoint_s,
    "transcript": lambda times: times.transcript_s,
    "first_token": lambda times: times.first_token_s,
    "first_clause": lambda times: times.first_clause_s,
    "first_sound": lambda times: times.first_audio_s,
}
"""In the order in which one waits for the other."""


@dataclass(frozen=True)
class Spread:
    """Seconds of so many turns; percentiles between two values lie in proportion."""

    count: int
    p50_s: float
    p95_s: float
    longest_s: float


@dataclass(frozen=True)
class Rates:
    """Of the files with a transcript in one language. *_rate: None without any word to recognise."""

    files: int
    words: Errors
    characters: Errors
    word_error_rate: float | None
    character_error_rate: float | None


@dataclass(frozen=True)
class VoiceFigures:
    """after_end: seconds from the end of speech until a stage was reached; adds: what each stage adds; work, when fast.

    end_to_end is `after_end["first_sound"]`: from the end of speech to the first sound of the answer.
    """

    files: int
    turns: int
    failed_turns: int
    interrupted_turns: int
    after_end: Mapping[str, Spread]
    adds: Mapping[str, Spread]
    tokens: int
    cached_tokens: int
    rates: Mapping[str, Rates]
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class VoiceReport:
    """Everything that is told. settings: what was switched off, how it was played; parts: what did the work."""

    model: str
    parts: Mapping[str, str]
    settings: Mapping[str, bool]
    figures: VoiceFigures | None = None
    understanding: Mapping[str, Understanding] = field(default_factory=dict)


def figures_of(played: Sequence[PlayedFile], *, fast: bool = False) -> VoiceFigures:
    turns = [turn for one in played for turn in one.turns]
    answered = [turn for turn in turns if turn.timings.first_audio_s is not None and turn.failure is None]
    failures = tuple(f"{one.file.name}: {turn.failure}" for one in played for turn in one.turns if turn.failure)
    return VoiceFigures(
        files=len(played),
        turns=len(turns),
        failed_turns=len(failures),
        interrupted_turns=sum(turn.was_interrupted for turn in turns),
        after_end={} if fast else _spreads(_after_end(turn) for turn in answered),
        adds=_spreads(added_by(turn, fast=fast) for turn in answered),
        tokens=sum(turn.timings.tokens for turn in turns),
        cached_tokens=sum(turn.timings.cached_tokens for turn in turns),
        rates=_rates(played),
        failures=failures,
    )


def spread_of(values: Iterable[float]) -> Spread:
    """At least one value."""
    ordered = sorted(values)
    return Spread(len(ordered), _percentile(ordered, 0.5), _percentile(ordered, 0.95), ordered[-1])


def added_by(turn: Turn, *, fast: bool = False) -> dict[str, float]:
    """Seconds that each stage adds until the first sound. fast: what lies before the endpoint means nothing."""
    latest = turn.timings.endpoint_s if fast else turn.speech_end_s
    if latest is None:
        return {}
    added: dict[str, float] = {}
    for name, time_of in STAGES.items():
        at_s = time_of(turn.timings)
        if at_s is None or (fast and name == "endpoint"):
            continue
        added[name] = max(0.0, at_s - latest)
        latest = max(latest, at_s)
    return added


def _after_end(turn: Turn) -> dict[str, float]:
    """A stage that was ready before the speech ended was ready then."""
    times = {name: time_of(turn.timings) for name, time_of in STAGES.items()} | {"answer": turn.timings.end_s}
    end_s = turn.speech_end_s
    if end_s is None:
        return {}
    return {name: max(0.0, at_s - end_s) for name, at_s in times.items() if at_s is not None}


def _spreads(rows: Iterable[Mapping[str, float]]) -> dict[str, Spread]:
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return {name: spread_of(values) for name, values in columns.items()}


def _percentile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def rates_of(pairs: Iterable[tuple[str, str, str]]) -> dict[str, Rates]:
    """By language. pairs: (language, what was said, what was understood)."""
    found: dict[str, list[tuple[Errors, Errors]]] = {}
    for language, reference, hypothesis in pairs:
        both = word_errors(reference, hypothesis, language), character_errors(reference, hypothesis, language)
        found.setdefault(language, []).append(both)
    return {language: _summed(errors) for language, errors in sorted(found.items())}


def _rates(played: Sequence[PlayedFile]) -> dict[str, Rates]:
    known = [one for one in played if one.file.reference is not None]
    return rates_of((one.file.language or "en", one.file.reference or "", one.transcript) for one in known)


def _summed(errors: Sequence[tuple[Errors, Errors]]) -> Rates:
    words = sum((one for one, _ in errors), Errors())
    characters = sum((one for _, one in errors), Errors())
    return Rates(len(errors), words, characters, words.rate, characters.rate)
