"""A PDF -> pieces, page by page, in memory that does not grow with the number of pages.

    first pass    up to 40 pages spread over the file: the size of the running text, those of the headings; the outline
    second pass   page -> runs -> running lines dropped -> ruled tables -> columns -> blocks -> joined over page breaks

A page that is a picture is read by OCR where that was asked for, otherwise remarked on. Text that does not run from
left to right comes after the rest of its page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from pocketseek.apps.doc.document import Block, Place, Remark
from pocketseek.apps.doc.formats.block_text import tidy
from pocketseek.apps.doc.ocr import read_picture
from pocketseek.apps.doc.pdf.furniture import without_furniture
from pocketseek.apps.doc.pdf.lines import reading_order
from pocketseek.apps.doc.pdf.page_breaks import PageText, over_page_breaks
from pocketseek.apps.doc.pdf.paragraphs import Draft, Typography, blocks_of, heading_key
from pocketseek.apps.doc.pdf.pdf_page import MAX_CHARACTERS, Page, PdfFile
from pocketseek.apps.doc.pdf.ruled_tables import with_ruled_tables
from pocketseek.apps.doc.pdf.runs import Run
from pocketseek.apps.doc.pieces import Piece, ReadOptions

_NUM_SAMPLES = 40
_MAX_SIZES = 6
_OTHER_SIZE = 0.5  # points
_LARGER = 1.12
_DOTS_PER_INCH = 200
_USUAL_SIZE = 10.0  # when no page has text


def read_pdf(path: Path, options: ReadOptions) -> Iterator[Piece]:
    """Raises UsageError (password), FormatError (damaged), UnsupportedError (OCR asked for, no tesseract)."""
    with PdfFile(path, options.password) as pdf:
        yield Piece(0, pdf.num_pages, title=tidy(pdf.title) or None, media_type="application/pdf", paged=True)
        num_dropped = 0
        for text in over_page_breaks(_page_texts(pdf, ocr=options.ocr)):
            num_dropped += text.num_running
            number = text.page.number
            yield Piece(number, pdf.num_pages, _placed(text.drafts, number), _remarks(text), paged=True)
        if num_dropped:
            remark = Remark("running-lines", None, str(num_dropped))
            yield Piece(pdf.num_pages, pdf.num_pages, remarks=(remark,), paged=True)


def _page_texts(pdf: PdfFile, *, ocr: bool) -> Iterator[PageText]:
    typography = _typography(pdf)
    pages = (pdf.page(number) for number in range(1, pdf.num_pages + 1))
    for page, runs, num_running in without_furniture(pages):
        if page.is_picture and ocr:
            yield PageText(page, _from_picture(pdf, page), (), num_running)
        else:
            yield _page_text(page, runs, typography, num_running)


def _page_text(page: Page, runs: list[Run], typography: Typography, num_running: int) -> PageText:
    upright = [run for run in runs if not run.style.turned]
    regions = reading_order(with_ruled_tables(upright, page.rules))
    drafts = tuple(draft for draft in blocks_of(regions, page.number, typography) if draft.text)
    turned = tidy(" ".join(run.text for run in runs if run.style.turned))
    if turned:
        return PageText(page, (*drafts, Draft("paragraph", turned)), (), num_running)
    return PageText(page, drafts, regions, num_running)


def _from_picture(pdf: PdfFile, page: Page) -> tuple[Draft, ...]:
    paragraphs = read_picture(pdf.picture(page.number, dots_per_inch=_DOTS_PER_INCH))
    return tuple(Draft("paragraph", paragraph) for paragraph in paragraphs if paragraph)


def _placed(drafts: Iterable[Draft], page: int) -> tuple[Block, ...]:
    return tuple(
        Block(draft.kind, draft.text, Place(page, None, number), draft.level, draft.links, draft.joint)
        for number, draft in enumerate(drafts, start=1)
    )


def _remarks(text: PageText) -> tuple[Remark, ...]:
    page = text.page
    if page.is_damaged:
        return (Remark("damaged-part", page.number, "the page is damaged and could not be read"),)
    if page.is_cut:
        return (
            Remark(
                "left-out", page.number, f"the page holds more than {MAX_CHARACTERS} characters; the rest is left out"
            ),
        )
    if page.is_picture and not text.drafts:
        return (Remark("picture-page", page.number, "the page is a picture; --ocr reads it"),)
    return ()


def _typography(pdf: PdfFile) -> Typography:
    weights: Counter[float] = Counter()
    step = max(pdf.num_pages / _NUM_SAMPLES, 1.0)
    for number in sorted({int(index * step) + 1 for index in range(min(pdf.num_pages, _NUM_SAMPLES))}):
        for run in pdf.page(number).runs:
            weights[round(run.size * 2) / 2] += len(run.text)
    body = max(weights, key=lambda size: (weights[size], size), default=_USUAL_SIZE)
    return Typography(body, _heading_sizes(weights, body), _outline(pdf))


def _heading_sizes(weights: Counter[float], body: float) -> tuple[float, ...]:
    """The largest first; sizes that can hardly be told apart count once."""
    sizes: list[float] = []
    for size in sorted((size for size in weights if size >= _LARGER * body), reverse=True):
        if not sizes or sizes[-1] - size > _OTHER_SIZE:
            sizes.append(size)
    return tuple(sizes[:_MAX_SIZES])


def _outline(pdf: PdfFile) -> dict[int, dict[str, int]]:
    outline: dict[int, dict[str, int]] = {}
    for page, level, title in pdf.outline():
        outline.setdefault(page, {}).setdefault(heading_key(title), level)
    return outline
