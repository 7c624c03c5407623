"""The report of a load benchmark as one self-contained page: tables and charts, no scripts, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pocketseek.apps import html_page
from pocketseek.apps.load_bench import CURVE_PERCENTS, Latency, LoadReport
from pocketseek.apps.svg_chart import Axis, Line, line_chart, round_step

_PERCENT = Axis(0, 25, 4)


@dataclass(frozen=True)
class PageLabels:
    """The page's own words; language as HTML names it."""

    language: str = "en"
    first: str = "Time to first token"
    first_note: str = "Share of requests (%) that had it within so many milliseconds"
    between: str = "Time between tokens"
    between_note: str = "Share of tokens (%) that followed within so many milliseconds"
    interactive: str = "interactive"
    background: str = "background"
    alone: str = "interactive without background"
    nothing: str = "no samples"


def render_page(title: str, report: LoadReport, rows: Sequence[Sequence[str]], labels: PageLabels) -> str:
    """rows: label and value of every figure, as the command prints them."""
    charts = [
        (heading, text, _chart(heading, _series(report, what, labels), labels))
        for heading, text, what in (
            (labels.first, labels.first_note, "first_token"),
            (labels.between, labels.between_note, "between_tokens"),
        )
    ]
    return html_page.render(title, labels.language, [html_page.table(rows), html_page.charts(charts)])


def _series(report: LoadReport, what: str, labels: PageLabels) -> list[tuple[str, Latency]]:
    classes = (
        (labels.interactive, report.interactive),
        (labels.background, report.background),
        (labels.alone, report.interactive_alone),
    )
    found = [(name, getattr(one, what)) for name, one in classes if one is not None]
    return [(name, latency) for name, latency in found if latency is not None]


def _chart(heading: str, series: Sequence[tuple[str, Latency]], labels: PageLabels) -> str:
    """Cumulative shares against time, up to the largest p95: stragglers must not flatten the rest."""
    if not series:
        return html_page.paragraph(labels.nothing)
    step_ms = round_step(max(latency.p95_s for _, latency in series) * 1000 / 4 or 0.25)
    x = Axis(0, step_ms, 4, "ms")
    lines = [
        Line(
            name,
            [
                (seconds * 1000, float(percent))
                for percent, seconds in zip(CURVE_PERCENTS, latency.curve_s, strict=True)
                if seconds * 1000 <= x.high
            ],
            colour,
        )
        for colour, (name, latency) in enumerate(series)
    ]
    return line_chart(heading, lines, x, _PERCENT)
