"""Line and bar charts as SVG text for pages without scripts. Colours are classes that `html_page` defines for light and
dark.

A chart is drawn for a phone's width and scales with its column. Values lie where they belong: an axis begins at its
`low` and ends at its `high`, and what lies outside is cut off by nobody, so axes are made of the values they show.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

NUM_COLOURS = 4
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 400, 220, 46, 16, 12, 30
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_SIDE, _LANE_HEIGHT, _DOT_WIDTH = 8, 34, 3  # of bar charts
_CLOCK_STEPS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 240.0, 360.0)
_FINE = 1e-9  # of a step: less than that beyond a line of the grid is on it


@dataclass(frozen=True)
class Axis:
    """Lines of the grid at low, low + step ... high. unit: written at the last one."""

    low: float
    step: float
    num_steps: int
    unit: str = ""

    @property
    def high(self) -> float:
        return self.low + self.step * self.num_steps

    @property
    def marks(self) -> list[float]:
        return [self.low + self.step * i for i in range(self.num_steps + 1)]

    def share(self, value: float) -> float:
        """0 at low, 1 at high."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Line:
    """points: (x, y) in order of x; y None leaves a gap. colour: below NUM_COLOURS; dashed: tells two of one apart."""

    name: str
    points: Sequence[tuple[float, float | None]]
    colour: int
    dashed: bool = False

    @property
    def kind(self) -> str:
        return f"line c{self.colour}{' dashed' if self.dashed else ''}"


@dataclass(frozen=True)
class Bar:
    """A lane with what happened in it: (begin, end) of each span; one without length is a dot."""

    name: str
    spans: Sequence[tuple[float, float]]
    colour: int


def round_axis(values: Iterable[float], unit: str = "", *, from_zero: bool = True, num_steps: int = 4) -> Axis:
    """About num_steps round steps that hold all values."""
    known = list(values) or [0.0]
    low = min(0.0, *known) if from_zero else min(known)
    high = max(known)
    step = round_step((high - low) / num_steps) if high > low else round_step(abs(high) / num_steps or 0.25)
    low_step = math.floor(low / step + _FINE)
    return Axis(low_step * step, step, max(1, math.ceil(high / step - _FINE) - low_step), unit)


def round_step(least: float) -> float:
    """The next of 1, 2, 2.5 and 5 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - _FINE))


def time_axis(longest: float, unit: str) -> Axis:
    """From 0 to the first step of a clock (15 s, 5 min) past `longest`, in seconds or minutes: three to six steps."""
    steps = [step for step in _CLOCK_STEPS if 2 < longest / step <= 6]
    if not steps:
        return round_axis([longest], unit)
    counts = {step: math.ceil(longest / step - _FINE) for step in steps}
    step = min(steps, key=lambda one: (one * counts[one], one))
    return Axis(0.0, step, counts[step], unit)


def line_chart(label: str, lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """The drawing and, where it has several lines, what each is called. label: for those who cannot see it."""
    drawn = "".join(_line(line, x, y) for line in lines)
    drawing = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">{_grid(x, y)}{drawn}</svg>'
    )
    return drawing + (_legend(lines) if len(lines) > 1 else "")


def bar_chart(label: str, bars: Sequence[Bar], x: Axis) -> str:
    """Lanes below each other over a common axis, each with its name above it. label: as for `line_chart`."""
    height = _TOP + _LANE_HEIGHT * len(bars) + _BOTTOM
    parts: list[str] = []
    for mark in x.marks:
        left = _bar_place(x, mark)
        text = f"{_number(mark)} {escape(x.unit)}" if mark == x.marks[-1] and x.unit else _number(mark)
        parts.append(f'<path class="grid" d="M{left:.1f} {_TOP}V{height - _BOTTOM}"/>')
        anchor = "end" if mark == x.marks[-1] else "middle" if mark > x.low else "start"
        parts.append(f'<text x="{left:.1f}" y="{height - 10}" text-anchor="{anchor}">{text}</text>')
    for index, bar in enumerate(bars):
        top = _TOP + _LANE_HEIGHT * index
        parts.append(f'<text x="{_SIDE}" y="{top + 11}">{escape(bar.name)}</text>')
        parts += [_span(x, begin, end, top + 20, bar.colour) for begin, end in bar.spans]
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _span(x: Axis, begin: float, end: float, top: float, colour: int) -> str:
    left, right = _bar_place(x, begin), _bar_place(x, end)
    if right - left < _DOT_WIDTH:  # it is to be seen
        left, right = (left + right - _DOT_WIDTH) / 2, (left + right + _DOT_WIDTH) / 2
    return f'<path class="bar c{colour}" d="M{left:.1f} {top}H{right:.1f}"/>'


def _bar_place(x: Axis, value: float) -> float:
    return _SIDE + (_WIDTH - 2 * _SIDE) * x.share(value)


def _line(line: Line, x: Axis, y: Axis) -> str:
    parts: list[str] = []
    for run in _runs(line.points):
        places = [
            f"{_LEFT + _PLOT_WIDTH * x.share(a):.1f},{_TOP + _PLOT_HEIGHT * (1 - y.share(b)):.1f}" for a, b in run
        ]
        if len(places) == 1:
            places *= 2  # a dot: the ends of lines are round
        parts.append(f'<polyline class="{line.kind}" points="{" ".join(places)}"/>')
    return "".join(parts)


def _runs(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """The pieces between gaps."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is not None:
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _grid(x: Axis, y: Axis) -> str:
    parts: list[str] = []
    for mark in y.marks:
        top = _TOP + _PLOT_HEIGHT * (1 - y.share(mark))
        parts.append(f'<path class="grid" d="M{_LEFT} {top:.1f}h{_PLOT_WIDTH}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{top + 4:.1f}" text-anchor="end">{_number(mark)}</text>')
    for mark in x.marks:
        left = _LEFT + _PLOT_WIDTH * x.share(mark)
        is_last = mark == x.marks[-1]
        text = f"{_number(mark)} {escape(x.unit)}" if is_last and x.unit else _number(mark)
        parts.append(f'<path class="grid" d="M{left:.1f} {_TOP}v{_PLOT_HEIGHT}"/>')
        place, anchor = (left + 14, "end") if is_last else (left, "middle")
        parts.append(f'<text x="{place:.1f}" y="{_HEIGHT - 10}" text-anchor="{anchor}">{text}</text>')
    return "".join(parts)


def _legend(lines: Sequence[Line]) -> str:
    items = (f'<li><span class="swatch {line.kind}"></span>{escape(line.name)}</li>' for line in lines)
    return f'<ul class="legend">{"".join(items)}</ul>'


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e5 else f"{value:.0f}"
