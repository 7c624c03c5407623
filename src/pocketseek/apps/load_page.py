"""The report of a load benchmark as one self-contained page: tables and a chart in SVG, no scripts, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pocketseek.apps.load_bench import CURVE_PERCENTS, Latency, LoadReport

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 720, 320, 56, 40
_COLOURS = ("#1668c7", "#c2410c", "#15803d", "#7e22ce")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#1c1c1c}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left}"
    "svg{width:100%;height:auto}svg text{font-size:12px;fill:#444}"
)


def render_page(title: str, report: LoadReport, rows: Sequence[Sequence[str]]) -> str:
    """rows: label and value of every figure, as the command prints them."""
    table = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    first = _chart(_series(report, "first_token"))
    between = _chart(_series(report, "between_tokens"))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1><table>{table}</table>"
        f"<h2>Time to first token</h2><p>Share of requests (%) that had it within so many milliseconds.</p>{first}"
        f"<h2>Time between tokens</h2><p>Share of tokens (%) that followed within so many milliseconds.</p>{between}"
        "</body></html>\n"
    )


def _series(report: LoadReport, what: str) -> list[tuple[str, Latency]]:
    classes = (
        ("interactive", report.interactive),
        ("background", report.background),
        ("interactive, alone", report.interactive_alone),
    )
    found = [(name, getattr(one, what)) for name, one in classes if one is not None]
    return [(name, latency) for name, latency in found if latency is not None]


def _chart(series: Sequence[tuple[str, Latency]]) -> str:
    """Cumulative shares against time, up to the largest p99: a single straggler must not flatten the rest."""
    if not series:
        return "<p>no samples</p>"
    end_ms = max(latency.p99_s for _, latency in series) * 1000 or 1.0
    width, height = _WIDTH - _LEFT - 10, _HEIGHT - _BOTTOM - 10
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">']
    for step in range(5):
        x, y = _LEFT + width * step / 4, 10 + height * step / 4
        parts.append(f'<path d="M{_LEFT} {y:.1f}h{width}M{x:.1f} 10v{height}" stroke="#e5e5e5" fill="none"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 - 25 * step}</text>')
        label = f"{end_ms * step / 4:.4g}"
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 22}" text-anchor="middle">{label}</text>')
    for index, (name, latency) in enumerate(series):
        colour = _COLOURS[index % len(_COLOURS)]
        points = " ".join(
            f"{_LEFT + width * min(1.0, seconds * 1000 / end_ms):.1f},{10 + height * (1 - percent / 100):.1f}"
            for percent, seconds in zip(CURVE_PERCENTS, latency.curve_s, strict=True)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x = _LEFT + index * 200
        parts.append(f'<rect x="{x}" y="{_HEIGHT - 14}" width="12" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="{_HEIGHT - 8}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])
