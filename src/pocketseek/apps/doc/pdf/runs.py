"""Characters of a PDF page -> runs: the inner loop of reading a PDF, one call into pdfium per character and fact.

A run ends where the style, the baseline, the link or the line changes, where the text jumps back, and at a gap that is
wider than a space between words, or in which a ruled line stands. Spaces are pdfium's own (real ones and those it
infers).
"""

from __future__ import annotations

import ctypes
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pypdfium2
import pypdfium2.raw as pdfium

from pocketseek.apps.doc.formats.block_text import SOFT_HYPHEN, is_wide

Turner = Callable[[float, float], tuple[float, float]]
LinkFinder = Callable[[float, float], str | None]
Parting = Callable[[float, float, float], bool]
"""(x of a word's end, x of the next one's begin, y): whether a ruled line stands between them."""

WIDE_GAP = 0.8  # of the font's size
_SHIFT = 0.08  # a superscript is another run
_NUM_SAMPLES = 200
_FIXED_PITCH = 1
_FONT_NAME_BYTES = 128
_MONO_NAMES = ("mono", "courier", "consol", "typewriter", "cmtt", "menlo", "cursor", "sourcecode")
_BOLD_NAMES = ("bold", "black", "heavy", "-bd", "demi")
_BREAKS = frozenset({0, 10, 13})
_HYPHENS = frozenset({0x02, 0xAD, 0xFFFE})  # how pdfium marks a word broken at the end of a line


@dataclass(frozen=True)
class Style:
    """size: of the font in points as it is drawn. turned: the text does not run from left to right."""

    size: float
    mono: bool
    bold: bool
    turned: bool


@dataclass(frozen=True)
class Run:
    """x0, x1, baseline: in points, y upwards. order: where the run stands among all in the file. is_table: it stands
    for a whole table, a row a line (ruled_tables.py)."""

    text: str
    x0: float
    x1: float
    baseline: float
    style: Style
    order: int
    target: str | None = None
    is_table: bool = False

    @property
    def size(self) -> float:
        return self.style.size


@dataclass
class _Open:
    """A run that is still being collected."""

    style: Style
    x0: float
    x1: float
    baseline: float
    target: str | None
    units: list[int] = field(default_factory=list)

    def takes(self, style: Style, x0: float, baseline: float, target: str | None) -> bool:
        size = self.style.size
        if self.style.turned:
            return style == self.style  # its places mean nothing here: only the end of its line parts it
        return (
            style == self.style
            and target == self.target
            and abs(baseline - self.baseline) <= _SHIFT * size
            and -0.5 * size <= x0 - self.x1 <= WIDE_GAP * size
        )

    def closed(self, order: int) -> Run | None:
        """None when nothing can be seen of it."""
        text = "".join(map(chr, self.units))
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if not text.strip():
            return None
        return Run(text, self.x0, self.x1, self.baseline, self.style, order, self.target)


def quarter_turns_of(matrix: pdfium.FS_MATRIX) -> int:
    """How far text drawn with this matrix is turned, counterclockwise, 0 to 3."""
    return round(math.atan2(matrix.b, matrix.a) / (math.pi / 2)) % 4


def text_direction(text: pypdfium2.PdfTextPage, num_characters: int) -> int:
    """In quarter turns, that of most characters of a sample."""
    matrix, votes = pdfium.FS_MATRIX(), Counter[int]()
    for index in range(0, num_characters, max(num_characters // _NUM_SAMPLES, 1)):
        if pdfium.FPDFText_GetMatrix(text, index, matrix):
            votes[quarter_turns_of(matrix)] += 1
    return max(votes, key=lambda turn: (votes[turn], -turn), default=0)


class RunReader:
    """quarter_turns: by which `turner` turns the page clockwise, so that its text runs from left to right."""

    def __init__(
        self,
        text: pypdfium2.PdfTextPage,
        turner: Turner,
        quarter_turns: int,
        link_at: LinkFinder | None,
        is_parted: Parting | None = None,
    ) -> None:
        self._text = text
        self._turner = turner
        self._quarter_turns = quarter_turns
        self._link_at = link_at
        self._is_parted = is_parted
        self._box = tuple(ctypes.c_double() for _ in range(4))
        self._origin = (ctypes.c_double(), ctypes.c_double())
        self._styles: dict[int, Style] = {}

    def read(self, num_characters: int) -> Iterator[Run]:
        """The runs of the first characters, in the file's order."""
        order, current = 0, None
        for index in range(num_characters):
            unit = pdfium.FPDFText_GetUnicode(self._text, index)
            if unit == 32 and current is not None:
                if not self._only_stretches(index, current):
                    current.units.append(unit)  # a space has no place of its own
                continue
            if unit in _HYPHENS and current is not None:
                current.units.append(ord(SOFT_HYPHEN))
                continue
            following = None if unit in _BREAKS or unit == 32 else self._started(index, unit, current)
            if following is current and current is not None:
                continue
            if current is not None and (run := current.closed(order)) is not None:
                order += 1
                yield run
            current = following
        if current is not None and (run := current.closed(order)) is not None:
            yield run

    def _only_stretches(self, index: int, current: _Open) -> bool:
        """Whether a space was inferred between two Chinese characters that a justified line holds apart."""
        sides = (current.units[-1], pdfium.FPDFText_GetUnicode(self._text, index + 1))
        return all(is_wide(chr(unit)) for unit in sides) and pdfium.FPDFText_IsGenerated(self._text, index) == 1

    def _started(self, index: int, unit: int, current: _Open | None) -> _Open:
        """The run that this character belongs to: `current`, grown by it, or a new one."""
        x0, x1, baseline = self._place(index)
        style = self._style(index)
        target = self._link_at(x0, baseline) if self._link_at is not None else None
        if current is None or not current.takes(style, x0, baseline, target) or self._has_rule(current, x0, style):
            current = _Open(style, x0, x1, baseline, target)
        current.units.append(unit)
        current.x1 = max(current.x1, x1)
        return current

    def _has_rule(self, current: _Open, x0: float, style: Style) -> bool:
        """Between the word before and this one."""
        if self._is_parted is None or current.units[-1] != 32:
            return False
        return self._is_parted(current.x1, x0, current.baseline + 0.3 * style.size)

    def _place(self, index: int) -> tuple[float, float, float]:
        left, right, bottom, top = self._box
        pdfium.FPDFText_GetCharBox(self._text, index, left, right, bottom, top)
        pdfium.FPDFText_GetCharOrigin(self._text, index, *self._origin)
        origin_x, origin_y = self._origin[0].value, self._origin[1].value
        if self._quarter_turns == 0:
            return min(left.value, origin_x), right.value, origin_y
        ends = (self._turner(left.value, bottom.value), self._turner(right.value, top.value))
        return min(ends[0][0], ends[1][0]), max(ends[0][0], ends[1][0]), self._turner(origin_x, origin_y)[1]

    def _style(self, index: int) -> Style:
        """Known per text object of the page: asking again for every character would double the time."""
        item = pdfium.FPDFText_GetTextObject(self._text, index)
        key = ctypes.cast(item, ctypes.c_void_p).value or 0
        style = self._styles.get(key)
        if style is None:
            style = self._styles[key] = self._asked_style(index)
        return style

    def _asked_style(self, index: int) -> Style:
        matrix, flags = pdfium.FS_MATRIX(1, 0, 0, 1, 0, 0), ctypes.c_int()
        pdfium.FPDFText_GetMatrix(self._text, index, matrix)
        name = ctypes.create_string_buffer(_FONT_NAME_BYTES)
        length = pdfium.FPDFText_GetFontInfo(self._text, index, name, _FONT_NAME_BYTES, flags)
        font = name.value.decode("utf-8", "replace").lower() if length <= _FONT_NAME_BYTES else ""
        size = pdfium.FPDFText_GetFontSize(self._text, index) * math.hypot(matrix.c, matrix.d)
        turn = quarter_turns_of(matrix) - self._quarter_turns
        mono = bool(flags.value & _FIXED_PITCH) or any(part in font for part in _MONO_NAMES)
        return Style(round(max(size, 0.5), 2), mono, any(part in font for part in _BOLD_NAMES), turn % 4 != 0)
