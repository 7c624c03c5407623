"""Tables among the lines of a region, found by the upright gaps that their rows share.

A line with two or more cells opens a table; the lines below belong to it as long as a gap stays free. A line whose
first cell is empty, or that follows closer than rows do, continues the row above it (a cell of several lines). Tables
with frames around their cells are runs already (ruled_tables.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pocketseek.apps.doc.formats.block_text import is_marker, join_lines, table_text
from pocketseek.apps.doc.pdf.lines import Line
from pocketseek.apps.doc.pdf.runs import Run

_CELL_GAP = 1.2  # of the size
_MAX_PITCH = 3.2  # of the size, from row to row
_MIN_ROWS = {2: 3}  # two columns may be chance; three columns are a table from two rows on
_PADDING = 1.18  # how much farther apart rows are than lines of one cell

Span = tuple[float, float]


@dataclass(frozen=True)
class Table:
    lines: tuple[Line, ...]
    gaps: tuple[Span, ...]

    @property
    def text(self) -> str:
        return table_text(self._rows())

    def _rows(self) -> list[list[str]]:
        rows: list[list[str]] = []
        closest = self._line_pitch()
        above: Line | None = None
        for line in self.lines:
            cells = self._cells(line)
            near = above is not None and closest is not None and above.baseline - line.baseline <= closest
            hangs = not cells[0] and (len(cells) == 2 or not all(cells[1:]))
            if rows and (hangs or (near and not all(cells))):
                rows[-1] = [_continued(before, after) for before, after in zip(rows[-1], cells, strict=True)]
            else:
                rows.append(cells)
            above = line
        return rows

    def _line_pitch(self) -> float | None:
        """At most how far apart lines of one row are; None where all lines are evenly spaced."""
        pitches = sorted(above.baseline - below.baseline for above, below in pairwise(self.lines))
        if not pitches or pitches[0] <= 0 or pitches[-1] < _PADDING * pitches[0]:
            return None
        jump, low = max((high / max(low, 0.1), low) for low, high in pairwise(pitches))
        return low * 1.02 if jump >= _PADDING else None

    def _cells(self, line: Line) -> list[str]:
        cells: list[list[Run]] = [[] for _ in range(len(self.gaps) + 1)]
        for run in line.runs:
            cells[sum(gap[0] < run.x0 for gap in self.gaps)].append(run)
        return [Line(tuple(runs)).text.strip() if runs else "" for runs in cells]


def _continued(before: str, after: str) -> str:
    before, gap = join_lines(before, after)
    return before + gap + after


def find_tables(lines: Sequence[Line]) -> list[Line | Table]:
    """The lines, those of a table replaced by it. A run that is a table stays a line."""
    found: list[Line | Table] = []
    number = 0
    while number < len(lines):
        table = _table_at(lines, number)
        found.append(table if table is not None else lines[number])
        number += len(table.lines) if table is not None else 1
    return found


def _table_at(lines: Sequence[Line], start: int) -> Table | None:
    gaps = _gaps(lines[start])
    if not gaps:
        return None
    stop, num_rows = start + 1, 1
    while stop < len(lines):
        line = lines[stop]
        shared = [] if line.main.is_table else _free(gaps, line)
        if not shared or lines[stop - 1].baseline - line.baseline > _MAX_PITCH * line.size:
            break
        gaps = shared
        num_rows += bool(_gaps(line))
        stop += 1
    while stop > start and not _gaps(lines[stop - 1]) and lines[stop - 1].x1 <= gaps[0][1]:
        stop -= 1  # a paragraph under the table that is as narrow as its first column
    table = Table(tuple(lines[start:stop]), tuple(gaps))
    num_columns = len(gaps) + 1
    return table if num_rows >= _MIN_ROWS.get(num_columns, 2) and not _is_list(table) else None


def _gaps(line: Line) -> list[Span]:
    """The gaps of a line that are wide enough for two columns."""
    if line.is_stretched:
        return []
    cells = line.cells(_CELL_GAP * line.size)
    return [(max(run.x1 for run in before), after[0].x0) for before, after in pairwise(cells)]


def _free(gaps: list[Span], line: Line) -> list[Span]:
    """What the line leaves of the gaps."""
    left: list[Span] = []
    for start, stop in gaps:
        inside = [run for run in line.runs if run.x0 < stop and run.x1 > start]
        for run in inside:
            if run.x0 <= start:
                start = max(start, run.x1)
            else:
                stop = min(stop, run.x0)
        if stop - start >= 0.5 * _CELL_GAP * line.size:
            left.append((start, stop))
    return left


def _is_list(table: Table) -> bool:
    """Bullets or numbers with their items beside them."""
    firsts = [line.runs[0].text.strip() for line in table.lines if line.x0 < table.gaps[0][0]]
    return len(table.gaps) == 1 and all(is_marker(first) for first in firsts)
