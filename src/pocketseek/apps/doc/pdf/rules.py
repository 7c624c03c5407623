"""The ruled lines of a PDF page, which tables are drawn with: straight, upright or level, in points, y upwards.

Tables are drawn in every way: lines that are stroked, thin rectangles that are filled, a frame for each cell. A page
with more paths than a page of tables has (a map, a drawing) counts as one without rules.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pypdfium2
import pypdfium2.raw as pdfium

from pocketseek.apps.doc.pdf.runs import Turner

MAX_PATHS = 4_000
_MAX_RULES = 1_200
_MAX_SEGMENTS = 400  # of a path
_THIN = 2.5
_SHORTEST = 5.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Rule:
    """x0 <= x1 and y0 <= y1; across its direction it measures next to nothing."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def is_upright(self) -> bool:
        return self.y1 - self.y0 > self.x1 - self.x0


def rules_of(page: pypdfium2.PdfPage, turner: Turner) -> tuple[Rule, ...]:
    """None of a page that is a drawing."""
    found: list[Rule] = []
    for number, item in enumerate(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_PATH], max_depth=1)):
        if number >= MAX_PATHS or len(found) > _MAX_RULES:
            return ()
        for (x0, y0), (x1, y1) in _lines_in(item):
            found += _rule(turner(x0, y0), turner(x1, y1))
    return tuple(found)


def _rule(one: Point, other: Point) -> Iterator[Rule]:
    (x0, x1), (y0, y1) = sorted((one[0], other[0])), sorted((one[1], other[1]))
    if min(x1 - x0, y1 - y0) <= _THIN and max(x1 - x0, y1 - y0) >= _SHORTEST:
        yield Rule(x0, y0, x1, y1)


def _lines_in(item: pypdfium2.PdfObject) -> Iterator[tuple[Point, Point]]:
    """A thin path as a whole; of others the lines that are stroked."""
    left, bottom, right, top = item.get_bounds()
    if min(right - left, top - bottom) <= _THIN:
        yield (left, bottom), (right, top)
    elif _is_stroked(item):
        yield from _segments(item)


def _is_stroked(item: pypdfium2.PdfObject) -> bool:
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    return bool(pdfium.FPDFPath_GetDrawMode(item, fill, stroke)) and bool(stroke.value)


def _segments(item: pypdfium2.PdfObject) -> Iterator[tuple[Point, Point]]:
    count = pdfium.FPDFPath_CountSegments(item)
    if not 0 < count <= _MAX_SEGMENTS:
        return
    matrix = item.get_matrix()
    strokes: list[list[Point]] = []
    x, y = ctypes.c_float(), ctypes.c_float()
    for number in range(count):
        segment = pdfium.FPDFPath_GetPathSegment(item, number)
        kind = pdfium.FPDFPathSegment_GetType(segment)
        if not pdfium.FPDFPathSegment_GetPoint(segment, x, y) or kind == pdfium.FPDF_SEGMENT_BEZIERTO:
            return  # nothing round is a rule
        if kind == pdfium.FPDF_SEGMENT_MOVETO or not strokes:
            strokes.append([])
        strokes[-1].append(matrix.on_point(x.value, y.value))
        if pdfium.FPDFPathSegment_GetClose(segment):
            strokes[-1].append(strokes[-1][0])
    for stroke in strokes:
        yield from pairwise(stroke)
