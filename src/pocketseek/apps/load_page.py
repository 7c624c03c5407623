"""The report of a load benchmark as one self-contained page: tables and a chart in SVG, no scripts, nothing fetched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pocketseek.apps.load_bench import CURVE_PERCENTS, Latency, LoadReport

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BOTTOM = 400, 280, 40, 34, 96  # of a phone's screen, in its pixels
_COLOURS = ("#1668c7", "#c2410c", "#15803d", "#7e22ce")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#1c1c1c}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left}"
    "svg{width:100%;max-width:560px;height:auto}svg text{font-size:13px;fill:#444}"
)


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
    table = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    charts = "".join(
        f"<h2>{escape(heading)}</h2><p>{escape(text)}</p>{_chart(_series(report, what, labels), labels)}"
        for heading, text, what in (
            (labels.first, labels.first_note, "first_token"),
            (labels.between, labels.between_note, "between_tokens"),
        )
    )
    return (
        f'<!doctype html><html lang="{labels.language}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1><table>{table}</table>{charts}</body></html>\n"
    )


def _series(report: LoadReport, what: str, labels: PageLabels) -> list[tuple[str, Latency]]:
    classes = (
        (labels.interactive, report.interactive),
        (labels.background, report.background),
        (labels.alone, report.interactive_alone),
    )
    found = [(name, getattr(one, what)) for name, one in classes if one is not None]
    return [(name, latency) for name, latency in found if latency is not None]


def _chart(series: Sequence[tuple[str, Latency]], labels: PageLabels) -> str:
    """Cumulative shares against time, up to the largest p95: stragglers must not flatten the rest."""
    if not series:
        return f"<p>{escape(labels.nothing)}</p>"
    step_ms = _round_step(max(latency.p95_s for _, latency in series) * 1000 / 4 or 0.25)
    end_ms = 4 * step_ms
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM - 10
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">']
    for step in range(5):
        x, y = _LEFT + width * step / 4, 10 + height * step / 4
        parts.append(f'<path d="M{_LEFT} {y:.1f}h{width}M{x:.1f} 10v{height}" stroke="#e5e5e5" fill="none"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{100 - 25 * step}</text>')
        label = f"{step_ms * step:g}" + (" ms" if step == 4 else "")
        parts.append(f'<text x="{x:.1f}" y="{height + 28}" text-anchor="middle">{label}</text>')
    for index, (name, latency) in enumerate(series):
        colour = _COLOURS[index % len(_COLOURS)]
        points = " ".join(
            f"{_LEFT + width * seconds * 1000 / end_ms:.1f},{10 + height * (1 - percent / 100):.1f}"
            for percent, seconds in zip(CURVE_PERCENTS, latency.curve_s, strict=True)
            if seconds * 1000 <= end_ms
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = height + 48 + 18 * index
        parts.append(f'<rect x="{_LEFT}" y="{y - 6}" width="14" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{_LEFT + 22}" y="{y}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def _round_step(least: float) -> float:
    """The next of 1, 2, 2.5 and 5 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least)
