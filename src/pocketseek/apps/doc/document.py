"""A document as all of pocketseek sees it: one text, made of blocks that know their place.

    blocks   heading | paragraph | table | ...          what the reader of a format found, in reading order
    text     block + "\n\n" + block + ...               every position in it belongs to a block or to the gap after one

A paragraph that goes on over a page break is a block on each page, so that every position knows its page, and one text.

Whatever speaks of a document (a chunk, a citation, an index entry) does it by character positions in `text`, which lead
back to block, page and chapter. Two readings of the same bytes by the same version give the same text.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

BlockKind = Literal["heading", "paragraph", "item", "table", "caption", "code", "footnote", "comment"]

RemarkCode = Literal["picture-page", "damaged-part", "left-out", "running-lines", "comments"]
"""left-out: what a page has beyond the limit. running-lines: headers, footers and page numbers. Of the two last
the detail is how many."""

BLOCK_GAP = "\n\n"


@dataclass(frozen=True)
class Place:
    """Where a reader finds it again. page and chapter count from 1, None where the format has none; paragraph counts
    the blocks of the page (of the chapter where there are no pages, of the document where there are neither)."""

    page: int | None
    chapter: int | None
    paragraph: int


@dataclass(frozen=True)
class Link:
    """A link over text[start:stop] of its block."""

    start: int
    stop: int
    target: str


@dataclass(frozen=True)
class Block:
    """text: never empty, no space around it, no blank line in it. level: of a heading (1 is the highest) or the depth
    of a list item (1 is the outermost); 0 for the rest. joint: what stands between the block before and this one, which
    goes on from it ("" or a space); None: it begins anew."""

    kind: BlockKind
    text: str
    place: Place
    level: int = 0
    links: tuple[Link, ...] = ()
    joint: str | None = None


def gap_of(joint: str | None) -> str:
    """What stands before a block in the text."""
    return BLOCK_GAP if joint is None else joint


@dataclass(frozen=True)
class Remark:
    """Something that a person must know about the reading: a page that is a picture, a damaged chapter."""

    code: RemarkCode
    page: int | None
    detail: str


@dataclass(frozen=True)
class Paragraph:
    """Document.text[start:stop] is the block's, with that of the blocks that go on from it."""

    block: Block
    start: int
    stop: int


@dataclass(frozen=True)
class Document:
    """num_pages: None where the format has no pages."""

    title: str
    media_type: str
    blocks: tuple[Block, ...]
    num_pages: int | None = None
    remarks: tuple[Remark, ...] = ()

    @cached_property
    def text(self) -> str:
        parts = [part for block in self.blocks for part in (gap_of(block.joint), block.text)]
        return "".join(parts[1:])

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each block begins in `text`."""
        starts: list[int] = []
        position = 0
        for block in self.blocks:
            position += len(gap_of(block.joint)) if starts else 0
            starts.append(position)
            position += len(block.text)
        return tuple(starts)

    @cached_property
    def paragraphs(self) -> tuple[Paragraph, ...]:
        """Blocks with what goes on from them."""
        firsts = [n for n, block in enumerate(self.blocks) if n == 0 or block.joint is None]
        return tuple(self._paragraph(first, after) for first, after in pairwise([*firsts, len(self.blocks)]))

    def _paragraph(self, first: int, after: int) -> Paragraph:
        last = after - 1
        return Paragraph(self.blocks[first], self.starts[first], self.starts[last] + len(self.blocks[last].text))

    def block_index_at(self, position: int) -> int:
        """The block that a position of `text` belongs to; the gap after a block counts as its own."""
        return max(bisect_right(self.starts, position) - 1, 0)

    def place_at(self, position: int) -> Place:
        return self.blocks[self.block_index_at(position)].place
