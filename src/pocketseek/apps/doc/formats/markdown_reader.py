"""Markdown -> blocks, by its lines: headings, lists, fences, tables, quotes; emphasis marks go, links keep their text.

A small reading of the common ground of all dialects, not a renderer. Raw HTML stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pocketseek.apps.doc.document import Block, BlockKind, Link, Place
from pocketseek.apps.doc.formats.block_text import join_lines, table_text, tidy, tidy_lines

_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})\s*$")
_FENCE = re.compile(r"\s{0,12}(`{3,}|~{3,})")
_ITEM = re.compile(r"(\s*)(?:[-*+]|(\d{1,9}[.)]))\s+(.*)$")
_MARKS = re.compile(r"\*{1,3}|_{2,3}|~~|`+")
_NOTE = re.compile(r" {0,3}\[\^([^\]\s]{1,40})\]:\s*(.*)$")
_INDENTED = re.compile(r"(?: {4}|\t)\S")
_RULE = re.compile(r" {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$")
_TABLE_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*$")
_FRONT = re.compile(r"---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)
_INLINE = re.compile(
    r"!\[(?P<alt>[^\]\n]{0,500})\]\([^)\n]{0,2000}\)"
    r"|\[(?P<text>[^\]\n]{1,500})\]\((?P<target>[^)\s\n]{1,2000})(?:\s[^)\n]{0,500})?\)"
    r"|<(?P<auto>https?://[^>\s]{1,2000})>"
    r"|\[\^(?P<note>[^\]\s]{1,40})\]"
    r"|(?P<mark>\*{1,3}|_{2,3}|~~|`+)"
)


@dataclass
class _Open:
    kind: BlockKind = "paragraph"
    level: int = 0
    lines: list[str] = field(default_factory=list)


def markdown_blocks(text: str) -> Iterator[Block]:
    """The text of a whole file; a front matter is left out."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    number = 0
    for kind, level, content, links in _drafts(_FRONT.sub("", text, count=1) if text.startswith("---\n") else text):
        if content:
            number += 1
            yield Block(kind, content, Place(None, None, number), level, links)


_Draft = tuple[BlockKind, int, str, tuple[Link, ...]]


def _drafts(text: str) -> Iterator[_Draft]:
    lines = text.split("\n")
    current, number, indents = _Open(), 0, list[int]()
    while number < len(lines):
        line = lines[number]
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if fence := _FENCE.match(line):
            yield _closed(current)
            code, number = _fenced(lines, number + 1, fence[1])
            yield "code", 0, tidy_lines(code), ()
            current = _Open()
        elif "|" in line and _TABLE_RULE.match(following):
            yield _closed(current)
            table, number = _table(lines, number)
            yield "table", 0, table, ()
            current = _Open()
        elif heading := _HEADING.match(line):
            yield _closed(current)
            yield _closed(_Open("heading", len(heading[1]), [heading[2]]))
            current, number = _Open(), number + 1
        elif current.lines and current.kind == "paragraph" and (under := _UNDERLINE.match(line)):
            yield _closed(_Open("heading", 1 if under[1][0] == "=" else 2, current.lines))
            current, number = _Open(), number + 1
        elif not line.strip() or _RULE.match(line):
            yield _closed(current)
            current, number = _Open(), number + 1
        elif not current.lines and _INDENTED.match(line) and not _ITEM.match(line):
            code, number = _indented(lines, number)
            yield "code", 0, tidy_lines(code), ()
        elif item := _ITEM.match(line):
            yield _closed(current)
            label = item[2] + " " if item[2] else ""
            current, number = _Open("item", _depth(indents, _width(item[1])), [label + item[3]]), number + 1
        elif note := _NOTE.match(line):
            yield _closed(current)
            current, number = _Open("footnote", 0, [f"[{note[1]}] {note[2]}"]), number + 1
        else:
            current.lines.append(line.lstrip("> \t") if line.lstrip().startswith(">") else line)
            number += 1
    yield _closed(current)


def _depth(indents: list[int], width: int) -> int:
    """How deep an item lies that stands `width` columns in; indents: of the items around it, kept up to date."""
    while indents and indents[-1] > width:
        indents.pop()
    if not indents or indents[-1] < width:
        indents.append(width)
    return min(len(indents), 9)


def _width(space: str) -> int:
    return len(space.expandtabs(4))


def _fenced(lines: list[str], start: int, fence: str) -> tuple[str, int]:
    """The code and the number of the line after it."""
    for number in range(start, len(lines)):
        if lines[number].strip().startswith(fence) and not lines[number].strip().strip(fence[0]):
            return "\n".join(lines[start:number]), number + 1
    return "\n".join(lines[start:]), len(lines)


def _indented(lines: list[str], start: int) -> tuple[str, int]:
    stop = start
    while stop < len(lines) and (_INDENTED.match(lines[stop]) or lines[stop].startswith("     ")):
        stop += 1
    return "\n".join(line.expandtabs(4)[4:] for line in lines[start:stop]), stop


def _table(lines: list[str], start: int) -> tuple[str, int]:
    stop = start
    while stop < len(lines) and "|" in lines[stop]:
        stop += 1
    rows = [line for number, line in enumerate(lines[start:stop]) if number != 1]
    return table_text([_inline(cell)[0] for cell in row.strip().strip("|").split("|")] for row in rows), stop


def _closed(block: _Open) -> _Draft:
    if not block.lines:
        return "paragraph", 0, "", ()
    text = ""
    for line in filter(None, map(tidy, block.lines)):
        text, gap = join_lines(text, line) if text else ("", "")
        text += gap + line
    content, links = _inline(text)
    return block.kind, block.level, content, links


def _inline(text: str) -> tuple[str, tuple[Link, ...]]:
    """Without marks; where the links are."""
    shown, links, position = "", list[Link](), 0
    for match in _INLINE.finditer(text):
        shown += text[position : match.start()]
        position = match.end()
        if match["text"] or match["auto"]:
            label = tidy(match["auto"] or _MARKS.sub("", match["text"]))
            if label:
                links.append(Link(len(shown), len(shown) + len(label), match["target"] or match["auto"]))
            shown += label
        elif match["note"]:
            shown += f"[{match['note']}]"
        elif match["alt"]:
            shown += tidy(match["alt"])
        elif match["mark"] and match["mark"].startswith("*") and _is_loose(text, match):
            shown += match["mark"]
    shown += text[position:]
    return _trimmed(shown, links)


def _is_loose(text: str, match: re.Match[str]) -> bool:
    """A star between spaces is a star."""
    return text[match.start() - 1 : match.start()].strip() == "" and text[match.end() : match.end() + 1].strip() == ""


def _trimmed(shown: str, links: list[Link]) -> tuple[str, tuple[Link, ...]]:
    lead = len(shown) - len(shown.lstrip())
    text = shown.strip()
    moved = (Link(link.start - lead, min(link.stop - lead, len(text)), link.target) for link in links)
    return text, tuple(link for link in moved if 0 <= link.start < link.stop)
