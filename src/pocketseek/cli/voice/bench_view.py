"""The figures of `voice bench` as a table, as JSON and as a page with the timeline of one turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pocketseek.cli.messages import Words
from pocketseek.cli.voice import bench_messages as messages

if TYPE_CHECKING:
    from pocketseek.apps.voice.bench.report import Rates, VoiceFigures, VoiceReport
    from pocketseek.apps.voice.bench.turns import PlayedFile, Turn

Row = tuple[str, str, str, str]


def headings(words: Words) -> Row:
    return (
        words(messages.COLUMN_STAGE),
        words(messages.COLUMN_P50),
        words(messages.COLUMN_P95),
        words(messages.COLUMN_ADDS),
    )


def rows(report: VoiceReport, words: Words) -> list[Row]:
    found: list[Row] = [] if report.figures is None else [*_stage_rows(report.figures, words)]
    if report.figures is not None:
        found += _count_rows(report.figures, words)
        for language, rates in report.figures.rates.items():
            found += _rate_rows(language, rates, words)
    for kind, one in report.understanding.items():
        figures = words(
            messages.UNDERSTOOD_OF,
            likeliest=one.likeliest,
            calibrated=one.calibrated,
            chance=one.chance,
            requests=one.requests,
        )
        found.append((words(messages.UNDERSTOOD, kind=words(messages.KINDS[kind])), figures, "", ""))
    return found


def _stage_rows(figures: VoiceFigures, words: Words) -> list[Row]:
    found: list[Row] = []
    for name, title in messages.STAGES.items():
        after, adds = figures.after_end.get(name), figures.adds.get(name)
        if after is not None or adds is not None:
            found.append(
                (
                    words(title),
                    f"{after.p50_s:.2f}" if after else "",
                    f"{after.p95_s:.2f}" if after else "",
                    f"{adds.p50_s:.2f}" if adds else "",
                )
            )
    return found


def _count_rows(figures: VoiceFigures, words: Words) -> list[Row]:
    return [
        (words(messages.TURNS), f"{figures.files} / {figures.turns} / {figures.failed_turns}", "", ""),
        (words(messages.TOKENS), f"{figures.tokens} / {figures.cached_tokens}", "", ""),
    ]


def _rate_rows(language: str, rates: Rates, words: Words) -> list[Row]:
    both = (
        (messages.WORD_ERRORS, rates.word_error_rate, rates.words.units),
        (messages.CHARACTER_ERRORS, rates.character_error_rate, rates.characters.units),
    )
    return [
        (
            words(title, language=language),
            words(messages.NO_RATE) if rate is None else words(messages.RATE_OF, rate=rate, units=units),
            "",
            "",
        )
        for title, rate, units in both
    ]


def page(report: VoiceReport, played: Sequence[PlayedFile], words: Words) -> str:
    """The turn shown is the one whose first sound came in the middle of all."""
    from pocketseek.apps import html_page
    from pocketseek.apps.voice.bench.timeline import timeline

    parts = [html_page.table(rows(report, words), headings(words), is_figures=True)]
    turn = _middle_turn(played)
    if turn is not None:
        lanes = {name: words(title) for name, title in messages.LANES.items()}
        texts = ((messages.UNDERSTOOD_TEXT, turn.transcript), (messages.ANSWERED, turn.answer))
        said = " — ".join(f"{words(title)}: {text}" for title, text in texts if text)
        title = words(messages.PAGE_TITLE)
        parts.append(html_page.charts([(title, said, timeline(turn, title, lanes))]))
    return html_page.render(f"pocketseek voice bench {report.model}", words.language, parts)


def _middle_turn(played: Sequence[PlayedFile]) -> Turn | None:
    turns = [turn for one in played for turn in one.turns if _waited_s(turn) is not None]
    turns.sort(key=lambda turn: _waited_s(turn) or 0.0)
    return turns[len(turns) // 2] if turns else None


def _waited_s(turn: Turn) -> float | None:
    """From the end of speech to the first sound."""
    first_s, end_s = turn.timings.first_audio_s, turn.speech_end_s
    return None if first_s is None or end_s is None else first_s - end_s
