"""The cells of a table of HTML: what a cell spans to the right and below is empty, so that columns stay in line.

Head over two | | third            <th colspan=2>
down          | a | b              <td rowspan=2>
              | c | d
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pocketseek.apps.doc.formats.block_text import table_text
from pocketseek.apps.doc.formats.safe_xml import Element

_MAX_SPAN = 20  # columns or rows; a cell of a thousand would swell a small file


@dataclass
class HtmlTable:
    caption: str = ""
    _rows: list[list[str]] = field(default_factory=list)
    _covered: dict[int, int] = field(default_factory=dict)  # column -> rows below that a cell reaches into

    def begin_row(self) -> None:
        if self._rows:
            self._skip_covered()
        self._rows.append([])

    def add(self, text: str, cell: Element) -> None:
        """The next cell of the row."""
        if not self._rows:
            self.begin_row()
        self._skip_covered()
        row = self._rows[-1]
        first = len(row)
        row += [text, *[""] * (_span(cell, "colspan") - 1)]
        num_below = _span(cell, "rowspan") - 1
        if num_below:
            self._covered |= dict.fromkeys(range(first, len(row)), num_below)

    @property
    def text(self) -> str:
        return table_text(_without_empty_end(row) for row in self._rows)

    def _skip_covered(self) -> None:
        row = self._rows[-1]
        while self._covered.get(len(row), 0):
            self._covered[len(row)] -= 1
            row.append("")


def _span(cell: Element, name: str) -> int:
    value = (cell.get(name) or "").strip()
    return min(max(int(value), 1), _MAX_SPAN) if value.isascii() and value.isdigit() and len(value) < 9 else 1


def _without_empty_end(row: list[str]) -> list[str]:
    last = next((number for number in range(len(row), 0, -1) if row[number - 1]), 0)
    return row[:last]
