"""Paragraphs of a PDF that go on over a page break: one text for whoever cuts or quotes, two blocks with a page each.

    page 3   "... which every maint"      without the hyphen that parted the word
    page 4   joint ""   "ainer knows."    "" or " ": what stands between the two in the text of the document

One goes on where its last line is full and ends no sentence, and the next page begins in the middle of one, in type of
the same size (Chinese, which has no small letters, not set in either). What stands between them on the pages (a
footnote, a picture's caption) keeps them apart.
Pages come one by one, each after the next one was looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pocketseek.apps.doc.formats.block_text import is_wide, join_lines
from pocketseek.apps.doc.pdf.lines import Line
from pocketseek.apps.doc.pdf.paragraphs import Draft, continues, is_unfinished
from pocketseek.apps.doc.pdf.pdf_page import Page

_SAME_SIZE = 0.08  # of the size
_SET_IN = 0.9


@dataclass(frozen=True)
class PageText:
    """regions: of the lines that the drafts come from, in their order; none of a page whose text has no places.
    num_running: how many running lines were left out."""

    page: Page
    drafts: tuple[Draft, ...]
    regions: Sequence[Sequence[Line]]
    num_running: int = 0


def over_page_breaks(pages: Iterable[PageText]) -> Iterator[PageText]:
    held: PageText | None = None
    for text in pages:
        if held is not None:
            before, text = _joined(held, text)
            yield before
        held = text
    if held is not None:
        yield held


def _joined(before: PageText, after: PageText) -> tuple[PageText, PageText]:
    if not _goes_on(before, after):
        return before, after
    *others, last = before.drafts
    first, *rest = after.drafts
    text, gap = join_lines(last.text, first.text)
    links = tuple(replace(link, stop=min(link.stop, len(text))) for link in last.links if link.start < len(text))
    cut = replace(last, text=text, links=links)
    return replace(before, drafts=(*others, cut)), replace(after, drafts=(replace(first, joint=gap), *rest))


def _goes_on(before: PageText, after: PageText) -> bool:
    if not (before.drafts and after.drafts and before.regions and after.regions):
        return False
    last, first = before.drafts[-1], after.drafts[0]
    above, below = before.regions[-1], after.regions[0]
    return is_unfinished(last, above) and continues(last, first) and _looks_alike(above[-1], below)


def _looks_alike(above: Line, below: Sequence[Line]) -> bool:
    """Type of one size, and no first line that is set in, as that of a new Chinese paragraph is."""
    line = below[0]
    is_set_in = is_wide(line.text[:1] or " ") and line.x0 - min(other.x0 for other in below) > _SET_IN * line.size
    return abs(above.size - line.size) <= _SAME_SIZE * above.size and not is_set_in
