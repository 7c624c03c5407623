"""Tables whose cells are framed by lines: each becomes one run that says all of it, row by row.

    rules ── the four nearest around a run ──> its box        boxes that touch ──> a table, if it has rows and columns

The outermost columns may be open to the side: they end where the level rules do. The run stands where the first line of
the table stands, so the order of reading treats it as a wide line of text. What is framed otherwise (a note, a listing,
a page in two columns with a line between) is left as it is, and so are tables of which not every row has its lines: the
gaps between their words tell more (tables.py). A cell over several rows or columns is told where it begins; the
others are empty.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pocketseek.apps.doc.formats.block_text import join_lines, table_text, tidy
from pocketseek.apps.doc.pdf.lines import Line, lines_of
from pocketseek.apps.doc.pdf.rules import Rule
from pocketseek.apps.doc.pdf.runs import Run

_REACH = 2.0  # how far a letter may stand over its rule, in points
_TOUCHING = 7.0  # two frames, one in the other, stand so far apart
_MAX_CELL_CHARS = 1500  # a box with more is part of the page's layout
_FULL = 0.6  # of the box: a line so long may go on below
_MAX_WORK = 4_000_000  # runs times rules


@dataclass(frozen=True, order=True)
class Box:
    x0: float
    y0: float
    x1: float
    y1: float

    def touches(self, other: Box) -> bool:
        across = min(self.x1, other.x1) - max(self.x0, other.x0)
        upwards = min(self.y1, other.y1) - max(self.y0, other.y0)
        return min(across, upwards) >= -_TOUCHING and max(across, upwards) > 0


def with_ruled_tables(runs: Sequence[Run], rules: Sequence[Rule]) -> list[Run]:
    """The runs, those of a table replaced by one (`is_table`)."""
    upright = [rule for rule in rules if rule.is_upright]
    level = [rule for rule in rules if not rule.is_upright]
    if not upright or len(level) < 3 or len(runs) * len(rules) > _MAX_WORK:
        return list(runs)
    boxed: dict[Box, list[Run]] = defaultdict(list)
    free: list[Run] = []
    for run in runs:
        box = None if run.style.turned else _box_of(run, upright, level)
        (free if box is None else boxed[box]).append(run)
    found = [_table(boxes, boxed) for boxes in _connected(list(boxed))]
    whole = [run for table in found for run in (table if isinstance(table, list) else [table])]
    return sorted([*free, *whole], key=lambda run: run.order)


def _box_of(run: Run, upright: Sequence[Rule], level: Sequence[Rule]) -> Box | None:
    x, y = (run.x0 + run.x1) / 2, run.baseline + 0.3 * run.size
    over = [rule for rule in level if rule.x0 <= x <= rule.x1]
    below = max((rule.y1 for rule in over if rule.y1 <= y), default=None)
    above = min((rule.y0 for rule in over if rule.y0 >= y), default=None)
    if below is None or above is None:
        return None
    ends = [rule for rule in level if abs(rule.y0 - above) <= _REACH]
    start, stop = min(rule.x0 for rule in ends), max(rule.x1 for rule in ends)
    beside = [rule for rule in upright if rule.y0 <= y <= rule.y1 and start - _REACH <= rule.x0 <= stop + _REACH]
    left = max((rule.x1 for rule in beside if rule.x1 <= run.x0 + _REACH), default=start)
    right = min((rule.x0 for rule in beside if rule.x0 >= run.x1 - _REACH), default=stop)
    return Box(round(left, 1), round(below, 1), round(right, 1), round(above, 1)) if beside else None


def _connected(boxes: list[Box]) -> Iterator[list[Box]]:
    """Groups of boxes that touch."""
    left = sorted(boxes)
    while left:
        group, edge = [], [left.pop()]
        while edge:
            box = edge.pop()
            group.append(box)
            near = [other for other in left if box.touches(other)]
            edge += near
            left = [other for other in left if other not in near]
        yield group


def _table(boxes: Sequence[Box], boxed: dict[Box, list[Run]]) -> Run | list[Run]:
    """One run; the runs as they are, if it is none."""
    runs = [run for box in boxes for run in boxed[box]]
    columns, rows = _steps([box.x0 for box in boxes]), _steps([-box.y1 for box in boxes])
    places = [(bisect_right(rows, -box.y1), bisect_right(columns, box.x0)) for box in boxes]
    texts = [_text(boxed[box]) for box in boxes]
    if len(columns) < 2 or len(rows) < 2 or max(map(len, texts)) > _MAX_CELL_CHARS:
        return runs
    in_rows: dict[int, list[Box]] = defaultdict(list)
    for box, (row, _) in zip(boxes, places, strict=True):
        in_rows[row].append(box)
    if max(map(len, in_rows.values())) < 2 or any(
        _holds_rows({box: lines_of(boxed[box]) for box in row}) for row in in_rows.values()
    ):
        return runs
    cells = [[""] * len(columns) for _ in rows]
    for (row, column), text in sorted(zip(places, texts, strict=True)):
        cells[row - 1][column - 1] = f"{cells[row - 1][column - 1]} {text}".strip()
    first = max(runs, key=lambda run: (run.baseline, -run.order))
    return replace(
        first,
        text=table_text(cells),
        x0=min(run.x0 for run in runs),
        x1=max(run.x1 for run in runs),
        order=min(run.order for run in runs),
        target=None,
        is_table=True,
    )


def _holds_rows(cells: dict[Box, list[Line]]) -> bool:
    """Rows without a rule between them, as below the head of many tables: as many lines in each cell, and none that
    goes on because it is full."""
    counts = {len(lines) for lines in cells.values()}
    if len(cells) < 2 or len(counts) > 1 or counts == {1}:
        return False
    return not any(
        all(line.x1 - line.x0 >= _FULL * (box.x1 - box.x0) for line in lines[:-1]) for box, lines in cells.items()
    )


def _steps(places: Sequence[float]) -> list[float]:
    """Where rows or columns begin: places that are further apart than frames that belong together."""
    ordered = sorted(places)
    return [ordered[0], *(after for before, after in pairwise(ordered) if after - before > _TOUCHING)]


def _text(runs: Sequence[Run]) -> str:
    text = ""
    for line in lines_of(runs):
        text, gap = join_lines(text, line.text)
        text += gap + line.text
    return tidy(text)
