"""The headings of a document: what stands above a place, and the chapters with what was noted of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pocketseek.apps.doc.document import Block, Document, Place


@dataclass(frozen=True)
class Chapter:
    """title: "" for what stands before the first heading. notes: of the chunks that begin in it, in order; of the chunk
    in which it begins, if none does."""

    title: str
    place: Place
    notes: tuple[str, ...]


def heading_paths(document: Document) -> list[tuple[str, ...]]:
    """For each block the headings that it stands under, the outermost first; a heading is not under itself."""
    paths: list[tuple[str, ...]] = []
    above: list[Block] = []
    for block in document.blocks:
        if block.kind == "heading":
            above = [heading for heading in above if heading.level < block.level]
        paths.append(tuple(_one_line(heading.text) for heading in above))
        if block.kind == "heading":
            above.append(block)
    return paths


def outline(document: Document, starts: Sequence[int], notes: Sequence[str]) -> list[Chapter]:
    """starts: where the chunks begin in the text, ascending; notes: one for each of them."""
    if not starts:
        return []
    bounds = [*_chapter_starts(document), len(document.text)]
    return list(_chapters(document, bounds, starts, notes))


def _chapters(
    document: Document, bounds: Sequence[int], starts: Sequence[int], notes: Sequence[str]
) -> Iterator[Chapter]:
    for start, stop in pairwise(bounds):
        index = document.block_index_at(start)
        block = document.blocks[index]
        inside = [number for number, place in enumerate(starts) if start <= place < stop]
        if not inside:  # a short one, in the middle of a chunk
            inside = [max(number for number, place in enumerate(starts) if place <= start)]
        title = _one_line(block.text) if block.kind == "heading" else ""
        yield Chapter(title, block.place, tuple(notes[number] for number in inside))


def _chapter_starts(document: Document) -> list[int]:
    """Of the headings of the highest level that there is more than one of; 0 where the text begins otherwise."""
    headings = [
        (start, block) for start, block in zip(document.starts, document.blocks, strict=True) if block.kind == "heading"
    ]
    counts = Counter(block.level for _, block in headings)
    level = min((level for level, count in counts.items() if count > 1), default=min(counts, default=0))
    starts = [start for start, block in headings if block.level == level]
    return starts if starts[:1] == [0] else [0, *starts]


def _one_line(text: str) -> str:
    return " ".join(text.split())
