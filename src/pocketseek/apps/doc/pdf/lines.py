"""Runs of a PDF page -> lines, and lines -> regions in reading order (columns).

    line      runs that stand on one baseline, from left to right
    gutter    an upright strip that lines on both of its sides leave free
    band      lines between two that cross the gutter: first what is left of it, then what is right

A table has gutters too. What tells them apart is the file itself: writers put out a column before the next one, but a
table row by row. Where the file jumps between the sides all the time, densely filled sides are columns all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby, pairwise
from math import inf
from statistics import median

from pocketseek.apps.doc.formats.block_text import is_wide, raised
from pocketseek.apps.doc.pdf.runs import Run

_SAME_LINE = 0.35  # how far baselines of one line may be apart, of the larger size
_RAISED = 0.5  # the same for a mark in small type above or below the line
_MIN_GUTTER = 0.9  # of the usual size
_MIN_SIDE = 0.18  # width of a column, of the region
_MIN_LINES = 3
_MAX_LINES = 2_000  # of a page; more is no text that has columns
_NUM_PROBES = 240
_MAX_DEPTH = 4
_DENSE = 0.72
_ALIGNED = 0.3  # of the size
_MOST = 0.6
_EVEN = 1.6  # how much wider the widest gap of a stretched line is than the narrowest
_STRETCHED = 3.0  # of the size: a wider gap is meant
_TOUCHING = 0.15
_WIDE_SPACE = 0.7  # between two Chinese words that are meant to stand apart
_SPREAD = 2.0


@dataclass(frozen=True)
class Line:
    runs: tuple[Run, ...]

    @cached_property
    def x0(self) -> float:
        return min(run.x0 for run in self.runs)

    @cached_property
    def x1(self) -> float:
        return max(run.x1 for run in self.runs)

    @cached_property
    def main(self) -> Run:
        """The run that says most: its style and baseline are the line's."""
        return max(self.runs, key=lambda run: (len(run.text), -run.order))

    @property
    def size(self) -> float:
        return self.main.size

    @property
    def baseline(self) -> float:
        return self.main.baseline

    @cached_property
    def text(self) -> str:
        return "".join(text for text, _ in self.pieces)

    @cached_property
    def pieces(self) -> tuple[tuple[str, str | None], ...]:
        """(text, link target), together the line."""
        pieces: list[tuple[str, str | None]] = []
        for before, run in zip((None, *self.runs), self.runs, strict=False):
            if before is not None and _is_apart(before, run):
                pieces.append((" ", None))
            text = run.text if run is not self.runs[-1] else run.text.rstrip(" ")
            pieces.append((raised(text) if self._is_raised(run) else text, run.target))
        return tuple(pieces)

    def _is_raised(self, run: Run) -> bool:
        """An exponent, the mark of a footnote."""
        return run.size < 0.85 * self.size and run.baseline > self.baseline + 0.15 * self.size

    @cached_property
    def is_stretched(self) -> bool:
        """Words of a justified line, as far from each other as the width of its column asks for."""
        gaps = [after.x0 - before.x1 for before, after in pairwise(self.runs)]
        if len(gaps) < 2 or any(" " in run.text.strip() for run in self.runs):
            return False
        return max(gaps) <= min(_EVEN * max(min(gaps), 0.1), _STRETCHED * self.size)

    def cells(self, gap: float) -> list[tuple[Run, ...]]:
        """Runs that no gap of `gap` points parts, in groups from left to right."""
        cells: list[list[Run]] = []
        for run in self.runs:
            if cells and run.x0 - max(other.x1 for other in cells[-1]) < gap:
                cells[-1].append(run)
            else:
                cells.append([run])
        return [tuple(cell) for cell in cells]


def _is_apart(before: Run, run: Run) -> bool:
    if before.text.endswith(" ") or run.text.startswith(" "):
        return False
    if before.size < 0.8 * run.size and before.text.isdigit() and before.baseline > run.baseline:
        return True  # the mark of a footnote
    gap, size = run.x0 - before.x1, max(before.size, run.size)
    if is_wide(before.text[-1]) and is_wide(run.text[0]):
        is_spread = len(before.text) == 1 or len(run.text) == 1  # 网 页 上: a justified line holds characters apart
        return gap > (_SPREAD if is_spread else _WIDE_SPACE) * size
    return gap > _TOUCHING * size


def lines_of(runs: Iterable[Run]) -> list[Line]:
    """From top to bottom. A raised or lowered run joins the line that it touches."""
    groups: list[list[Run]] = []
    for run in sorted(runs, key=lambda run: (-run.baseline, run.order)):
        group = next((group for group in reversed(groups[-4:]) if _on_line(group, run)), None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    lines = [Line(tuple(sorted(group, key=lambda run: (run.x0, run.order)))) for group in groups]
    return sorted(lines, key=lambda line: -line.baseline)


def _on_line(group: list[Run], run: Run) -> bool:
    largest = max(group, key=lambda other: other.size)
    sizes = sorted((largest.size, run.size))
    reach = _RAISED if sizes[0] < 0.8 * sizes[1] else _SAME_LINE
    return abs(largest.baseline - run.baseline) <= reach * sizes[1]


def reading_order(runs: Sequence[Run], depth: int = 0) -> list[list[Line]]:
    """Regions in the order in which a person reads them; the lines of each from top to bottom."""
    lines = lines_of(runs)
    gutter = _gutter(lines) if depth < _MAX_DEPTH else None
    if gutter is None:
        return [lines] if lines else []
    regions: list[list[Line]] = []
    for crosses, group in groupby(lines, key=lambda line: _crosses(line, gutter)):
        band = list(group)
        regions.extend([band] if crosses else _sides(band, gutter, depth))
    return _merged(regions)


def _merged(regions: list[list[Line]]) -> list[list[Line]]:
    """Regions that follow each other downwards over the same width are one (a band that held no columns after all)."""
    merged: list[list[Line]] = []
    for region in regions:
        if merged and _continues(merged[-1], region):
            merged[-1] = merged[-1] + region
        else:
            merged.append(region)
    return merged


def _continues(above: list[Line], below: list[Line]) -> bool:
    left, right = max(_left(above), _left(below)), min(_right(above), _right(below))
    narrow = min(_right(above) - _left(above), _right(below) - _left(below))
    return above[-1].baseline > below[0].baseline and right - left >= 0.9 * narrow


def _left(lines: list[Line]) -> float:
    return min(line.x0 for line in lines)


def _right(lines: list[Line]) -> float:
    return max(line.x1 for line in lines)


def _crosses(line: Line, gutter: float) -> bool:
    return any(run.x0 < gutter < run.x1 for run in line.runs)


def _sides(band: list[Line], gutter: float, depth: int) -> list[list[Line]]:
    runs = [run for line in band for run in line.runs]
    left, right = ([run for run in runs if run.x1 <= gutter], [run for run in runs if run.x0 >= gutter])
    if not left or not right:
        return [band]
    if not _is_row_by_row(left, right):
        chunks = _chunks(runs, gutter)
    elif _is_dense(left) and _is_dense(right):
        chunks = [runs]
    else:
        return [band]
    regions: list[list[Line]] = []
    for chunk in chunks:
        regions += reading_order([run for run in chunk if run.x1 <= gutter], depth + 1)
        regions += reading_order([run for run in chunk if run.x0 >= gutter], depth + 1)
    return regions


def _is_row_by_row(left: list[Run], right: list[Run]) -> bool:
    """The file jumps from side to side about as often as there are lines."""
    sides = [side for _, side in sorted([(run.order, 0) for run in left] + [(run.order, 1) for run in right])]
    num_changes = sum(before != after for before, after in pairwise(sides))
    return num_changes > max(2, min(len(lines_of(left)), len(lines_of(right))) // 2)


def _chunks(runs: list[Run], gutter: float) -> list[list[Run]]:
    """Cut where the file goes back from right to left and all that follows lies lower: a heading over both columns need
    not reach over the gutter."""
    ordered = sorted(runs, key=lambda run: run.order)
    highest_after = list(accumulate((run.baseline for run in reversed(ordered)), max))[::-1]
    chunks: list[list[Run]] = [[]]
    lowest = inf
    for number, run in enumerate(ordered):
        returns = number > 0 and ordered[number - 1].x0 >= gutter and run.x1 <= gutter
        if returns and highest_after[number] < lowest:
            chunks.append([])
        chunks[-1].append(run)
        lowest = min(lowest, run.baseline)
    return chunks


def _is_dense(runs: list[Run]) -> bool:
    """Lines that fill their column, as running text does and cells do not."""
    lines = lines_of(runs)
    width = _right(lines) - _left(lines)
    filled = sorted((line.x1 - line.x0) / width for line in lines if width > 0)
    return (
        len(filled) >= 5
        and median(filled) >= _DENSE
        and median(line.x1 - line.x0 for line in lines) >= 9 * lines[0].size
    )


def _gutter(lines: list[Line]) -> float | None:
    """The x of the best strip that lines on both sides leave free."""
    if not _MIN_LINES <= len(lines) <= _MAX_LINES:
        return None
    left, right = _left(lines), _right(lines)
    width, size = right - left, median(line.size for line in lines)
    probes = [left + width * number / _NUM_PROBES for number in range(_NUM_PROBES + 1)]
    inner = [x for x in probes if _MIN_SIDE * width <= x - left <= (1 - _MIN_SIDE) * width]
    scores = [(x, _score(lines, x, _MIN_GUTTER * size / 2)) for x in inner]
    best = max((score for _, score in scores), default=0)
    if best < _MIN_LINES:
        return None
    strips = [[x for x, _ in group] for is_best, group in groupby(scores, lambda each: each[1] == best) if is_best]
    widest: list[float] = max(strips, key=len)  # three columns have two
    return median(widest)


def _score(lines: list[Line], x: float, half: float) -> int:
    """How many lines stand freely on the emptier side of the strip, in bands of at least three: words of justified
    lines leave a gap above a gap too, but not often."""
    bands = groupby(lines, lambda line: _touches(line, x - half, x + half))
    nums = (_num_beside(list(band), x) for is_touched, band in bands if not is_touched)
    return sum(num for num in nums if num >= _MIN_LINES)


def _touches(line: Line, start: float, stop: float) -> bool:
    if line.is_stretched:
        return line.x0 < stop and line.x1 > start
    return any(run.x0 < stop and run.x1 > start for run in line.runs)


def _num_beside(band: list[Line], x: float) -> int:
    """Lines on the emptier side, if both sides lie next to each other and the right one begins at one edge."""
    left = [line.baseline for line in band if line.x0 < x]
    right = [line.baseline for line in band if line.x1 > x]
    if not left or not right or min(left) > max(right) or min(right) > max(left):
        return 0
    starts = [min(run.x0 for run in line.runs if run.x1 > x) for line in band if line.x1 > x]
    edge = median(starts)
    num_aligned = sum(abs(start - edge) <= _ALIGNED * band[0].size for start in starts)
    return min(len(left), len(right)) if num_aligned >= _MOST * len(starts) else 0
