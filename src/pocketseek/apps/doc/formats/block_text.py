"""How the words of a block are put together, the same for every format.

tidy_title  a document's, for lists and tables
tidy        spaces run together, no blank lines, no control characters
raised      10 to the 6th stays 10⁶ and does not become 106
joined      lines of a paragraph: hyphenation undone, no space between two Chinese characters
"""

from __future__ import annotations

import re
from collections.abc import Iterable

CELL_GAP = " | "
MAX_TITLE_CHARS = 300
SOFT_HYPHEN = "\u00ad"

_UNSEEN = re.compile(
    r"[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u0084\u0086-\u009f\u200b\u2060\ufeff\ufffe\uffff]"
)
_TURNING = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # the direction of what follows
_FIXED_SPACE = re.compile("[\u00a0\u202f\u2007]")
_LEADER = re.compile(r"(?:[.·․…]\s?){5,}")
_BROKEN_WORD = re.compile(r"[^\W\d_]-$")
_RAISABLE = re.compile(r"\s*[0-9+−-]{1,8}\s*")
_RAISED = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
_MARKER = re.compile(
    r"(?:[•●◦○▪■‣⁃·*–—]|[-]|[\u2022\uf0b7\uf0a7]|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})[.)]|[（(]?[一二三四五六七八九十]{1,3}[、.)）])$"
)


def tidy(text: str) -> str:
    """One block's text on one line; the dots that lead to a page number become one."""
    return " ".join(_LEADER.sub("… ", _UNSEEN.sub("", text.replace(SOFT_HYPHEN, ""))).split())


def tidy_title(text: str) -> str:
    """A name for lists: one line, and nothing in it that could make it look like another."""
    shown = _TURNING.sub("", text)
    return tidy(shown if len(shown) <= MAX_TITLE_CHARS else f"{shown[:MAX_TITLE_CHARS]}…")


def tidy_lines(text: str) -> str:
    """The same with line breaks kept and blank lines dropped (code, verse, rows of a table)."""
    text = _UNSEEN.sub("", text.replace(SOFT_HYPHEN, "").replace("\r\n", "\n").replace("\r", "\n"))
    lines = (line.rstrip() for line in _FIXED_SPACE.sub(" ", text).split("\n"))
    return "\n".join(line for line in lines if line).strip()


def table_text(rows: Iterable[Iterable[str]]) -> str:
    """A row a line, cells separated by " | "; empty rows vanish."""
    lines = (CELL_GAP.join(tidy(cell) for cell in row) for row in rows)
    return "\n".join(line.strip() for line in lines if line.replace("|", "").strip())


def raised(text: str) -> str:
    """Of a superscript: digits and signs as raised ones, anything else as it is."""
    return text.translate(_RAISED) if _RAISABLE.fullmatch(text) else text


def is_marker(text: str) -> bool:
    """A bullet or a number that begins a list item."""
    return _MARKER.match(text) is not None


def is_wide(character: str) -> bool:
    """Chinese or Japanese characters and their punctuation, between which no space is written."""
    return (
        "\u2e80" <= character <= "\u9fff"
        or "\uf900" <= character <= "\ufaff"
        or "\uff00" <= character <= "\uffef"
        or "\U00020000" <= character <= "\U0003ffff"
    )


def join_lines(before: str, after: str) -> tuple[str, str]:
    """What stands before the break, possibly shortened, and what goes between it and `after`."""
    in_address = "://" in before.rsplit(" ", 1)[-1]
    if before.endswith(SOFT_HYPHEN) or (_BROKEN_WORD.search(before) and after[:1].islower()):
        return (f"{before[:-1]}-" if in_address else before[:-1]), ""  # the hyphen of an address is its own
    if before[-1:].isspace() or not before or not after:
        return before, ""
    if is_wide(before[-1]) and is_wide(after[0]):
        return before, ""
    if before[-1] in "/_" and in_address:
        return before, ""  # an address that was broken over two lines
    return before, " "
