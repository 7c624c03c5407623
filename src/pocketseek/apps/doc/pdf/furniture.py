"""Running headers, footers and page numbers: what stands at the same place of neighbouring pages, digits aside.

A page is compared with the two before and after it (left and right pages differ), so that a head that changes with the
chapter is seen and only five pages are held.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pocketseek.apps.doc.pdf.lines import Line, lines_of
from pocketseek.apps.doc.pdf.pdf_page import Page
from pocketseek.apps.doc.pdf.runs import Run

_ZONE = 0.14  # of the page's height, at its top and at its bottom
_REACH = 2  # pages to each side
_MAX_LINES = 3  # at each edge
_SAME_PLACE = 3.0  # points
_MIN_SHARED = 10  # characters
_NUM_COUNTED = 2  # pages whose numbers go on from one to the next
_GAP = 1.5  # of the size
_DIGITS = re.compile(r"\d+")
_FIRST = re.compile(r"[0-9]{1,5}(?![\d.])")
_LAST = re.compile(r"(?<![\d.])[0-9]{1,5}$")
_SENTENCE_END = re.compile(r"[.!?。！？：；][”’」』)）]?$")
_NUMBER_ALONE = re.compile(
    r"[-–—·\s]*(?:page|seite|第)?\s*(?:\d{1,4}|[ivxlc]{1,7})\s*(?:(?:of|/|von)\s*\d{1,4}|页|頁)?[-–—·\s]*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Edge:
    """key: the text without its digits. first, last: the numbers that the line begins and ends with."""

    line: Line
    key: str
    first: int | None
    last: int | None

    def resembles(self, other: _Edge) -> bool:
        """The same, or the same chapter's name followed by another section's."""
        shared = _num_shared(self.key, other.key)
        is_alike = shared >= max(_MIN_SHARED, 0.4 * min(len(self.key), len(other.key)))
        return self.key == other.key or (is_alike and not self.is_sentence)

    @property
    def is_sentence(self) -> bool:
        """Sections that begin alike at the top of two pages, notes that are numbered through: text."""
        return len(self.key) > _MIN_SHARED and _SENTENCE_END.search(self.key) is not None

    def page_number_differs_by(self, num_pages: int, other: _Edge) -> bool:
        """Both lines bear a page number, whatever else is in them ("3.1 Tools   17" and "18   Chapter 3")."""
        if self.is_sentence:
            return False
        mine = {number for number in (self.first, self.last) if number is not None}
        theirs = {number for number in (other.first, other.last) if number is not None}
        return any(number + num_pages in theirs for number in mine)


def without_furniture(pages: Iterable[Page]) -> Iterator[tuple[Page, list[Run], int]]:
    """(page, its runs without running lines, how many lines were dropped)."""
    window: list[tuple[Page, list[_Edge]]] = []
    position = 0
    for page in pages:
        window.append((page, _edges(page)))
        if len(window) > position + _REACH:
            yield _cleaned(window, position)
            position += 1
        if position > _REACH:
            window.pop(0)
            position -= 1
    for rest in range(position, len(window)):
        yield _cleaned(window, rest)


def _cleaned(window: list[tuple[Page, list[_Edge]]], position: int) -> tuple[Page, list[Run], int]:
    page, edges = window[position]
    near = window[max(position - _REACH, 0) : position] + window[position + 1 : position + 1 + _REACH]
    dropped = [edge for edge in edges if _is_running(edge, page, near)]
    gone = {run.order for edge in dropped for run in edge.line.runs}
    return page, [run for run in page.runs if run.order not in gone], len(dropped)


def _is_running(edge: _Edge, page: Page, near: list[tuple[Page, list[_Edge]]]) -> bool:
    if _NUMBER_ALONE.fullmatch(edge.line.text) and near:
        return True
    beside = [
        (neighbour.number - page.number, other)
        for neighbour, edges in near
        for other in edges
        if abs(_height(edge, page) - _height(other, neighbour)) <= _SAME_PLACE
    ]
    if any(edge.resembles(other) for _, other in beside):
        return True
    counted = {step for step, other in beside if edge.page_number_differs_by(step, other)}
    needed = min(_NUM_COUNTED, len(near))  # of two pages, a numbered note may follow another
    return 0 < needed <= len(counted)


def _height(edge: _Edge, page: Page) -> float:
    """From the edge of the page that is nearer, so that pages of different heights compare."""
    baseline = edge.line.baseline
    return baseline if baseline < page.height / 2 else baseline - page.height


def _edges(page: Page) -> list[_Edge]:
    """The lines of the outer zones that a gap sets apart from what lies further in, the outermost first."""
    lines = lines_of(run for run in page.runs if not run.style.turned)
    top = _outer(lines, lambda line: line.baseline > (1 - _ZONE) * page.height)
    bottom = _outer(lines[::-1], lambda line: line.baseline < _ZONE * page.height)
    return [_edge(line) for line in top + bottom]


def _num_shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = zip(one, other, strict=False)
    return next((number for number, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _edge(line: Line) -> _Edge:
    text = line.text.strip()
    first, last = _FIRST.match(text), _LAST.search(text)
    return _Edge(line, _DIGITS.sub("#", text), int(first[0]) if first else None, int(last[0]) if last else None)


def _outer(lines: list[Line], in_zone: Callable[[Line], bool]) -> list[Line]:
    """What comes before the last wide gap of the zone; nothing when text fills it without a gap."""
    num_outer = 0
    for number, line in enumerate(lines[:_MAX_LINES]):
        if not in_zone(line):
            break
        inner = lines[number + 1] if number + 1 < len(lines) else None
        if inner is None or abs(line.baseline - inner.baseline) > _GAP * max(line.size, inner.size):
            num_outer = number + 1
    return lines[:num_outer]
