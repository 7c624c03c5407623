"""Lines over time as one SVG file, for docs/images/heat.svg: plain text, no library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _PANEL_HEIGHT, _LEFT, _RIGHT, _TOP, _GAP = 760, 250, 56, 28, 34, 58


@dataclass(frozen=True)
class Line:
    """points: (minutes, °C)."""

    label: str
    colour: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    title: str
    lines: Sequence[Line]


def render_chart(title: str, panels: Sequence[Panel], *, limit_c: float) -> str:
    """One panel below the other, with the same scales."""
    points = [point for panel in panels for line in panel.lines for point in line.points]
    scale = _Scale(max(minutes for minutes, _ in points), *_bounds([celsius for _, celsius in points], limit_c))
    height = _TOP + len(panels) * (_PANEL_HEIGHT + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"',
        ' font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, panel in enumerate(panels):
        parts.append(_panel(panel, _TOP + number * (_PANEL_HEIGHT + _GAP), scale, limit_c))
    return "\n".join([*parts, "</svg>"]) + "\n"


@dataclass(frozen=True)
class _Scale:
    minutes: float
    low_c: float
    high_c: float

    def x(self, minutes: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * minutes / self.minutes

    def y(self, celsius: float) -> float:
        return _PANEL_HEIGHT * (self.high_c - celsius) / (self.high_c - self.low_c)


def _bounds(values: Sequence[float], limit_c: float) -> tuple[float, float]:
    low_c, high_c = min(*values, limit_c), max(*values, limit_c)
    return 5 * (low_c // 5), 5 * (high_c // 5 + 1)


def _panel(panel: Panel, top: float, scale: _Scale, limit_c: float) -> str:
    right = _WIDTH - _RIGHT
    parts = [
        f'<g transform="translate(0 {top})">',
        f'<text x="{_LEFT}" y="-12" font-size="14" fill="#222222">{escape(panel.title)}</text>',
    ]
    for celsius in range(round(scale.low_c), round(scale.high_c) + 1, 10):
        y = scale.y(celsius)
        parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555555">{celsius} °C</text>')
    step = 5 if scale.minutes > 12 else 1
    for minute in range(0, round(scale.minutes) + 1, step):
        x, label = scale.x(minute), f"{minute} min"
        parts.append(f'<text x="{x:.1f}" y="{_PANEL_HEIGHT + 16}" text-anchor="middle" fill="#555555">{label}</text>')
    y = scale.y(limit_c)
    parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#222222" stroke-dasharray="5 4"/>')
    for line in panel.lines:
        path = " ".join(f"{scale.x(minutes):.1f},{scale.y(celsius):.1f}" for minutes, celsius in line.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2"/>')
    for number, line in enumerate(panel.lines):
        x, y = right - 332, _PANEL_HEIGHT - 14 - 18 * (len(panel.lines) - 1 - number)
        parts.append(f'<rect x="{x - 8}" y="{y - 13}" width="340" height="18" fill="#ffffff" fill-opacity="0.8"/>')
        parts.append(
            f'<line x1="{x}" x2="{x + 22}" y1="{y - 4}" y2="{y - 4}" stroke="{line.colour}" stroke-width="3"/>'
        )
        parts.append(f'<text x="{x + 28}" y="{y}" fill="#222222">{escape(line.label)}</text>')
    return "\n".join([*parts, "</g>"])
