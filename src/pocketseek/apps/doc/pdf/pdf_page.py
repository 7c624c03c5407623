"""One page of a PDF as pdfium sees it: runs of characters with their boxes, and whether the page is a picture.

y grows upwards, as in the file. A page is turned so that most of its text runs from left to right, whatever turn the
file asks for: scanners and slides leave that wrong often enough.
Only this module, `runs.py` and `rules.py` touch pdfium, in the reading process (`read_child.py`), under its
limits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium

from pocketseek.apps.doc.pdf.rules import Rule, rules_of
from pocketseek.apps.doc.pdf.runs import LinkFinder, Parting, Run, RunReader, Turner, text_direction
from pocketseek.apps.doc.pieces import PASSWORD_HINT
from pocketseek.errors import FormatError, PocketseekError, UsageError

MAX_PAGES = 20_000
MAX_CHARACTERS = 400_000  # of one page; a book's page has 3000
MAX_LINKS = 2_000  # of one page
MAX_PIXELS = 16_000_000
_MAX_OUTLINE = 20_000
_MAX_PICTURES = 1_000
_MAX_ADDRESS_BYTES = 4096
_PICTURE_SHARE = 0.5
_FEW_CHARACTERS = 8


@dataclass(frozen=True)
class Page:
    """number counts from 1. width, height: of the page as turned, in points. is_cut: it holds more characters than
    are read. A damaged page has no runs."""

    number: int
    width: float
    height: float
    runs: tuple[Run, ...]
    is_picture: bool = False
    is_cut: bool = False
    is_damaged: bool = False
    rules: tuple[Rule, ...] = ()


class PdfFile:
    """An open PDF; use it in a with statement. Raises UsageError (password), FormatError (damaged)."""

    def __init__(self, path: Path, password: str | None = None) -> None:
        try:
            self._document = pypdfium2.PdfDocument(path, password=password)
        except pypdfium2.PdfiumError as error:
            raise _refusal(path, password, error) from None
        self.num_pages = len(self._document)
        if not 0 < self.num_pages <= MAX_PAGES:
            self._document.close()
            raise FormatError(
                f"{path} has {self.num_pages} pages, and 1 to {MAX_PAGES} can be read; split it, or repair it (qpdf)"
            )

    def __enter__(self) -> PdfFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._document.close()

    @property
    def title(self) -> str:
        return str(self._document.get_metadata_value("Title")).strip()

    def outline(self) -> Iterator[tuple[int, int, str]]:
        """(page from 1, level from 1, title) of each bookmark that leads to a page."""
        try:
            for number, entry in enumerate(self._document.get_toc(max_depth=12)):
                place = entry.get_dest()
                index = place.get_index() if place is not None else None
                if number >= _MAX_OUTLINE:
                    return
                if index is not None:
                    yield index + 1, entry.level + 1, entry.get_title()
        except pypdfium2.PdfiumError:
            return  # a broken outline costs heading levels, not text

    def page(self, number: int) -> Page:
        """number: from 1."""
        try:
            with closing(self._document[number - 1]) as page:
                return _read(page, number)
        except pypdfium2.PdfiumError:
            return Page(number, 0.0, 0.0, (), is_damaged=True)

    def picture(self, number: int, *, dots_per_inch: int) -> bytes:
        """The page drawn in grey, as a PGM file."""
        with closing(self._document[number - 1]) as page:
            bitmap = page.render(scale=_scale(page, dots_per_inch), grayscale=True)
            rows, width, height, stride = bytes(bitmap.buffer), bitmap.width, bitmap.height, bitmap.stride
            bitmap.close()
        head = f"P5 {width} {height} 255\n".encode()
        return head + b"".join(rows[row * stride : row * stride + width] for row in range(height))


def _refusal(path: Path, password: str | None, error: pypdfium2.PdfiumError) -> PocketseekError:
    code = getattr(error, "err_code", None)
    if code == pdfium.FPDF_ERR_PASSWORD and password is None:
        return UsageError(f"{path} is encrypted; give its password {PASSWORD_HINT}")
    if code == pdfium.FPDF_ERR_PASSWORD:
        return UsageError(f"{path}: wrong password; give the one that opens the file {PASSWORD_HINT}")
    if code == pdfium.FPDF_ERR_SECURITY:
        return FormatError(f"{path} is encrypted in a way that is not known here; save it without protection")
    return FormatError(f"{path} is a damaged PDF and cannot be opened; get the file again, or repair it (qpdf)")


def _scale(page: pypdfium2.PdfPage, dots_per_inch: int) -> float:
    """Of a page of any size, never more than MAX_PIXELS."""
    width, height = page.get_size()
    return float(min(dots_per_inch / 72, (MAX_PIXELS / max(width * height, 1)) ** 0.5))


def _read(page: pypdfium2.PdfPage, number: int) -> Page:
    width, height = page.get_size()
    if page.get_rotation() % 180:
        width, height = height, width
    with closing(page.get_textpage()) as text:
        count = max(pdfium.FPDFText_CountChars(text), 0)
        quarter_turns = text_direction(text, min(count, MAX_CHARACTERS))
        if quarter_turns % 2:
            width, height = height, width
        turner = _turner(quarter_turns, width, height)
        rules = rules_of(page, turner)
        reader = RunReader(text, turner, quarter_turns, _link_finder(page, turner), _parting(rules))
        runs = tuple(reader.read(min(count, MAX_CHARACTERS)))
    is_bare = sum(len(run.text) for run in runs) < _FEW_CHARACTERS
    is_picture = is_bare and _picture_share(page, width * height) >= _PICTURE_SHARE
    return Page(number, width, height, runs, is_picture, count > MAX_CHARACTERS, rules=rules)


def _parting(rules: tuple[Rule, ...]) -> Parting | None:
    upright = [rule for rule in rules if rule.is_upright]

    def is_parted(start: float, stop: float, y: float) -> bool:
        return any(rule.y0 <= y <= rule.y1 and start <= (rule.x0 + rule.x1) / 2 <= stop for rule in upright)

    return is_parted if upright else None


def _turner(quarter_turns: int, width: float, height: float) -> Turner:
    """From the page's own axes to those of the page turned clockwise, which is width by height."""
    if quarter_turns == 1:
        return lambda x, y: (y, height - x)
    if quarter_turns == 2:
        return lambda x, y: (width - x, height - y)
    if quarter_turns == 3:
        return lambda x, y: (width - y, x)
    return lambda x, y: (x, y)


def _picture_share(page: pypdfium2.PdfPage, page_area: float) -> float:
    """How much of the page its largest picture covers."""
    largest = 0.0
    for number, item in enumerate(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=3)):
        if number >= _MAX_PICTURES:
            break
        left, bottom, right, top = item.get_bounds()
        largest = max(largest, (right - left) * (top - bottom))
    return largest / page_area if page_area else 0.0


def _link_finder(page: pypdfium2.PdfPage, turner: Turner) -> LinkFinder | None:
    """What address a place of the page leads to; None where no place does."""
    position, link = ctypes.c_int(0), pdfium.FPDF_LINK()
    boxes: list[tuple[float, float, float, float, str]] = []
    for _ in range(MAX_LINKS):
        if not pdfium.FPDFLink_Enumerate(page, position, link):
            break
        target, box = _target(page, link), pdfium.FS_RECTF()
        if target and pdfium.FPDFLink_GetAnnotRect(link, box):
            (x0, y0), (x1, y1) = turner(box.left, box.bottom), turner(box.right, box.top)
            boxes.append((min(x0, x1) - 0.5, min(y0, y1), max(x0, x1), max(y0, y1), target))

    def at(x: float, y: float) -> str | None:
        return next((target for x0, y0, x1, y1, target in boxes if x0 <= x < x1 and y0 <= y <= y1), None)

    return at if boxes else None


def _target(page: pypdfium2.PdfPage, link: pdfium.FPDF_LINK) -> str | None:
    action = pdfium.FPDFLink_GetAction(link)
    if not action or pdfium.FPDFAction_GetType(action) != pdfium.PDFACTION_URI:
        return None
    num_bytes = pdfium.FPDFAction_GetURIPath(page.pdf, action, None, 0)
    if not 1 < num_bytes <= _MAX_ADDRESS_BYTES:
        return None
    buffer = ctypes.create_string_buffer(num_bytes)
    pdfium.FPDFAction_GetURIPath(page.pdf, action, buffer, num_bytes)
    return buffer.value.decode("utf-8", "replace").strip() or None
