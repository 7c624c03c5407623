"""Plain text -> blocks: paragraphs parted by blank lines, or one per line where lines are paragraphs.

A text that was broken into lines of one width keeps its line breaks inside the paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pocketseek.apps.doc.document import Block, BlockKind, Place
from pocketseek.apps.doc.formats.block_text import is_wide, tidy_lines

_PARAGRAPHS = re.compile(r"\n[^\S\n]*\n\s*")
_CHAPTER = re.compile(
    r"(?:第[0-9０-９零〇一二三四五六七八九十百千两]{1,8}[章回卷节節部篇]|chapter\s+[\divxlc]+\b).{0,60}", re.IGNORECASE
)
_LONG_LINE = 120  # columns: wider than anybody breaks lines by hand


def plain_blocks(text: str) -> Iterator[Block]:
    """The text of a whole file."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", "\n\n")
    for number, (is_heading, paragraph) in enumerate(_paragraphs(text), start=1):
        kind: BlockKind = "heading" if is_heading else "paragraph"
        yield Block(kind, paragraph, Place(None, None, number), int(is_heading))


def _paragraphs(text: str) -> Iterator[tuple[bool, str]]:
    """(whether it names a chapter, its text)"""
    for part in _PARAGRAPHS.split(text):
        lines = part.split("\n")
        for piece in lines if _are_paragraphs(lines) else [part]:
            if tidied := tidy_lines(piece):
                yield _CHAPTER.fullmatch(tidied) is not None, tidied


def _are_paragraphs(lines: list[str]) -> bool:
    """Each line is one: some are too long to have been broken, or they are indented as Chinese paragraphs are."""
    if len(lines) < 2:
        return False
    indented = sum(line.startswith("　") for line in lines)
    return max(_columns(line) for line in lines) > _LONG_LINE or indented * 2 > len(lines)


def _columns(line: str) -> int:
    """Enough of them to compare: wide characters count twice."""
    start = line[: _LONG_LINE + 1]
    return len(start) + sum(is_wide(character) for character in start)
