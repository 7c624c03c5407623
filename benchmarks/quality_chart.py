"""Points of loss against size as one SVG file, for docs/images/quality.svg: plain text, no library.

Loss goes up a logarithmic axis. A filled point was calibrated, a hollow one only rounded; a colour is a maker. Names
stand beside their points, wherever no other name is in the way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 520, 74, 30, 58, 52
_COLOURS = ("#0b6e4f", "#c1440e", "#2456a6", "#7a3e9d")
_LETTER, _LINE = 6.5, 13.0  # width and height of a name's letters
_MARKS = (1, 2, 5)


@dataclass(frozen=True)
class Point:
    name: str
    maker: str
    is_calibrated: bool
    bits: float
    kl: float


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: _Box) -> float:
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)


class _Scale:
    """Axes a little wider than the points."""

    def __init__(self, points: Sequence[Point]) -> None:
        bits = [point.bits for point in points]
        self.low_bits = math.floor(5 * min(bits) - 0.5) / 5
        self.high_bits = math.ceil(5 * max(bits) + 1) / 5
        losses = [math.log(point.kl) for point in points]
        self.low, self.high = min(losses) - 0.25, max(losses) + 0.25

    def x(self, bits: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (bits - self.low_bits) / (self.high_bits - self.low_bits)

    def y(self, kl: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (self.high - math.log(kl)) / (self.high - self.low)

    def bit_marks(self) -> list[float]:
        return [mark / 5 for mark in range(math.ceil(5 * self.low_bits), math.floor(5 * self.high_bits) + 1)]

    def loss_marks(self) -> list[float]:
        powers = range(math.floor(self.low / math.log(10)), math.ceil(self.high / math.log(10)) + 1)
        marks = [factor * 10.0**power for power in powers for factor in _MARKS]
        return [mark for mark in marks if self.low <= math.log(mark) <= self.high]


def render_chart(points: Sequence[Point]) -> str:
    """Points without loss (a copy of the source) have no place on the axis and are left out."""
    points = [point for point in points if point.kl > 0]
    scale = _Scale(points)
    makers = list(dict.fromkeys(point.maker for point in points))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        "<title>Loss of quantised weights against their size</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        *_grid(scale),
        *_legend(makers),
    ]
    for point, (x, y) in zip(points, _name_places(points, scale), strict=True):
        colour = _COLOURS[makers.index(point.maker) % len(_COLOURS)]
        fill = colour if point.is_calibrated else "#ffffff"
        parts.append(_dot(scale.x(point.bits), scale.y(point.kl), colour, fill))
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" fill="{colour}">{escape(point.name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _dot(x: float, y: float, colour: str, fill: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" stroke="{colour}" stroke-width="2" fill="{fill}"/>'


def _grid(scale: _Scale) -> list[str]:
    parts = []
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for mark in scale.loss_marks():
        y = scale.y(mark)
        parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555555">{mark:g}</text>')
    for mark in scale.bit_marks():
        x = scale.x(mark)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#555555">{mark:g}</text>')
    middle = (_LEFT + right) / 2
    parts.append(
        f'<text x="{middle}" y="{bottom + 40}" text-anchor="middle" fill="#222222">'
        "bits for each weight, scales, embedding and head included</text>"
    )
    parts.append(
        f'<text transform="translate(16 {(_TOP + bottom) / 2}) rotate(-90)" text-anchor="middle" fill="#222222">'
        "mean KL divergence from the source, nats</text>"
    )
    return parts


def _legend(makers: Sequence[str]) -> list[str]:
    entries = [(maker, _COLOURS[i % len(_COLOURS)], None) for i, maker in enumerate(makers)]
    entries += [("calibrated", "#555555", "#555555"), ("rounded", "#555555", "#ffffff")]
    parts, x = [], float(_LEFT + 6)
    for name, colour, fill in entries:
        parts.append(_dot(x, 26, colour, fill or colour))
        parts.append(f'<text x="{x + 10:.1f}" y="30" fill="#222222">{escape(name)}</text>')
        x += 34 + 7 * len(name)
    return parts


def _name_places(points: Sequence[Point], scale: _Scale) -> list[tuple[float, float]]:
    """Left end and base line of each name: of some places about its point, the one that covers least."""
    taken = [_around(scale.x(point.bits), scale.y(point.kl)) for point in points]
    places = []
    for point in points:
        x, y = scale.x(point.bits), scale.y(point.kl)
        width = _LETTER * len(point.name)
        options = [(x + side, y + 4 + shift) for shift in (0, -11, 11, -22, 22) for side in (9, -9 - width, -width / 2)]
        best = min(options, key=lambda place: _covered(place, width, taken) + _outside(place[0], width))
        taken.append(_name_box(best, width))
        places.append(best)
    return places


def _around(x: float, y: float) -> _Box:
    return _Box(x - 6, y - 6, x + 6, y + 6)


def _name_box(place: tuple[float, float], width: float) -> _Box:
    return _Box(place[0], place[1] - _LINE + 3, place[0] + width, place[1] + 3)


def _covered(place: tuple[float, float], width: float, taken: Sequence[_Box]) -> float:
    box = _name_box(place, width)
    return sum(box.overlap(one) for one in taken)


def _outside(left: float, width: float) -> float:
    return 20 * (max(0.0, _LEFT - left) + max(0.0, left + width - (_WIDTH - _RIGHT)))
