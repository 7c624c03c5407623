"""A tree of HTML -> drafts of blocks: what a person sees, in reading order, without scripts, navigation and forms.

Used for HTML files and for the chapters of an EPUB. Ruby: the base text stays, its reading follows in parentheses.
The mark of a footnote stands in brackets, in the text and before the note; raised digits stay raised (10⁶).
A table whose cells hold headings or tables serves the layout and is read as running text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from pocketseek.apps.doc.document import BlockKind, Link
from pocketseek.apps.doc.formats.block_text import raised
from pocketseek.apps.doc.formats.html_table import HtmlTable
from pocketseek.apps.doc.formats.html_words import Words
from pocketseek.apps.doc.formats.safe_xml import Element, local_name, names, walk

_UNSEEN = names(
    "script style template noscript head nav svg button select option input textarea iframe object embed audio video",
    "canvas map datalist rp annotation annotation-xml",
)
_BLOCKS = names(
    "address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption figure",
    "footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu ol p pre section summary table tbody td",
    "tfoot th thead tr ul",
)
_LISTS = frozenset({"ol", "ul", "menu", "dir"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LAYOUT = frozenset({"table", "h1", "h2", "h3", "h4", "article", "section", "main"})
_HIDING = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_NAVIGATION = re.compile(
    r"(?:^|[\s_-])(?:(?:doc)?nav(?:header|footer|bar|igation|links?)?|pagination|breadcrumbs?|headerlink|skip-?link|"
    r"footnote-back(?:ref|link)?)"
    r"(?:$|[\s_-])",
    re.IGNORECASE,
)
_NOTE_TYPES = frozenset({"footnote", "endnote", "rearnote", "doc-footnote", "doc-endnote"})
_REFERENCE_TYPES = frozenset({"noteref", "doc-noteref"})
_MAX_MARK = 4  # characters of the mark of a footnote
_EPUB_TYPE = "{http://www.idpf.org/2007/ops}type"


@dataclass(frozen=True)
class HtmlDraft:
    """A block that has no place yet."""

    kind: BlockKind
    text: str
    level: int = 0
    links: tuple[Link, ...] = ()


@dataclass
class _Frame:
    """An open element that decides what kind its text is. label: of an item, until its first text takes it."""

    element: Element
    kind: BlockKind
    level: int = 0
    label: str = ""
    is_used: bool = False


def html_title(root: Element) -> str | None:
    title = next(root.iter("{*}title", "title"), None)
    return " ".join("".join(map(str, title.itertext())).split()) or None if title is not None else None


def html_drafts(root: Element) -> Iterator[HtmlDraft]:
    reader = _Reader()
    for event, element, text in walk(root, _is_unseen):
        if event == "text":
            reader.take(text)
        elif event == "start":
            yield from reader.start(element, local_name(element))
        else:
            yield from reader.end(element, local_name(element))


class _Reader:
    def __init__(self) -> None:
        self._words = Words()
        self._frames: list[_Frame] = []
        self._lists: list[int | None] = []  # the next number; None for bullets
        self._raised: Element | None = None
        self._table: HtmlTable | None = None
        self._table_root: Element | None = None

    def take(self, text: str) -> None:
        if self._raised is not None:
            text = raised(text)
        if self._is_code():
            self._words.add(text)
        else:
            self._words.flow(text)

    def _is_code(self) -> bool:
        return self._table is None and bool(self._frames) and self._frames[-1].kind == "code"

    def start(self, element: Element, name: str) -> Iterator[HtmlDraft]:
        if name == "br":
            self.take("\n")
        elif name in ("rt", "sup"):
            self._raise(element, name)
        elif self._table is not None:
            self._start_in_table(self._table, name)
        elif name == "a":
            self._words.add("[" if _is_bare_mark(element) else "")
            self._words.open_link((element.get("href") or "").strip())
        elif name in _BLOCKS or _is_note(element):
            yield from self._flushed()
            self._open(element, name)

    def end(self, element: Element, name: str) -> Iterator[HtmlDraft]:
        if name in ("rt", "sup"):
            self._lower(element, name)
        elif self._table is not None:
            yield from self._end_in_table(self._table, element, name)
        elif name == "a":
            self._words.close_link()
            self._words.add("]" if _is_bare_mark(element) else "")
        elif name in _BLOCKS or _is_note(element):
            yield from self._flushed()
            if name in _LISTS and self._lists:
                self._lists.pop()
            if self._frames and self._frames[-1].element is element:
                self._frames.pop()

    def _raise(self, element: Element, name: str) -> None:
        if name == "rt":
            self._words.add("（")
        elif _is_mark(element):
            self._words.add("[")
        elif self._raised is None:
            self._raised = element

    def _lower(self, element: Element, name: str) -> None:
        if name == "rt":
            self._words.add("）")
        elif _is_mark(element):
            self._words.add("]")
        elif self._raised is element:
            self._raised = None

    def _open(self, element: Element, name: str) -> None:
        if name in _LISTS:
            self._lists.append(_first_number(element) if name == "ol" else None)
        elif name == "table" and not _is_layout(element):
            self._table, self._table_root = HtmlTable(), element
        elif frame := self._frame(element, name):
            self._frames.append(frame)

    def _frame(self, element: Element, name: str) -> _Frame | None:
        if name in _HEADINGS:
            return _Frame(element, "heading", _HEADINGS[name])
        if _is_note(element):
            number = self._next_label().removesuffix(". ") if name == "li" else ""
            return _Frame(element, "footnote", label=f"[{number}] " if number else "")
        if name == "li":
            return _Frame(element, "item", min(max(len(self._lists), 1), 9), self._next_label())
        if name == "pre":
            return _Frame(element, "code")
        return _Frame(element, "caption") if name in ("figcaption", "caption") else None

    def _next_label(self) -> str:
        """The number of an item of a numbered list."""
        number = self._lists[-1] if self._lists else None
        if number is None:
            return ""
        self._lists[-1] = number + 1
        return f"{number}. "

    def _flushed(self) -> Iterator[HtmlDraft]:
        """The block that ends here, if there is anything in it."""
        frame = self._frames[-1] if self._frames else None
        text, links = self._words.taken(keep_lines=self._is_code())
        if not text:
            return
        if frame is None or (frame.kind == "item" and frame.is_used):
            yield HtmlDraft("paragraph", text, 0, links)
            return
        moved = tuple(Link(a.start + len(frame.label), a.stop + len(frame.label), a.target) for a in links)
        yield HtmlDraft(frame.kind, frame.label + text, frame.level, moved)
        frame.label, frame.is_used = "", True

    def _start_in_table(self, table: HtmlTable, name: str) -> None:
        if name == "tr":
            table.begin_row()
        elif name in ("td", "th", "caption"):
            self._words.taken()
        elif name in _BLOCKS:
            self._words.flow(" ")

    def _end_in_table(self, table: HtmlTable, element: Element, name: str) -> Iterator[HtmlDraft]:
        if name in ("td", "th"):
            table.add(self._words.taken()[0], element)
        elif name == "caption":
            table.caption = self._words.taken()[0]
        elif element is self._table_root:
            self._table = self._table_root = None
            self._words.taken()
            if table.caption:
                yield HtmlDraft("caption", table.caption)
            if table.text:
                yield HtmlDraft("table", table.text)


def _is_unseen(element: Element) -> bool:
    if local_name(element) in _UNSEEN or element.get("hidden") is not None or element.get("aria-hidden") == "true":
        return True
    if _HIDING.search(element.get("style") or "") or element.get("role") in (
        "navigation",
        "search",
        "doc-pagebreak",
        "doc-backlink",
    ):
        return True
    return _NAVIGATION.search(element.get("class") or "") is not None


def _is_note(element: Element) -> bool:
    return not _NOTE_TYPES.isdisjoint(_types(element))


def _types(element: Element) -> list[str]:
    return f"{element.get(_EPUB_TYPE) or element.get('epub:type') or ''} {element.get('role') or ''}".split()


def _is_mark(mark: Element) -> bool:
    """Whether what is raised leads to a footnote and has no brackets of its own."""
    near = [mark.getparent(), *mark.iterchildren()]
    leads = any(one is not None and local_name(one) == "a" and "#" in (one.get("href") or "") for one in near)
    return leads and _is_short_mark(mark)


def _is_bare_mark(link: Element) -> bool:
    """The same for a link that says that it leads to a note and is raised by its style alone."""
    if _REFERENCE_TYPES.isdisjoint(_types(link)):
        return False
    near = [link.getparent(), *link.iterchildren()]
    is_raised = any(one is not None and local_name(one) == "sup" for one in near)
    return not is_raised and _is_short_mark(link)


def _is_short_mark(element: Element) -> bool:
    """Looks at a few pieces of its text, however much there is."""
    text = "".join(map(str, islice(element.itertext(), 2 * _MAX_MARK))).strip()
    return 0 < len(text) <= _MAX_MARK and text[0] not in "[("


def _is_layout(table: Element) -> bool:
    """Headings or tables in its cells, or one cell to a row: it only places things."""
    widest, width = 0, 0
    for element in table.iterdescendants():
        name = local_name(element)
        if name in _LAYOUT:
            return True
        if name == "tr":
            width = 0
        elif name in ("td", "th"):
            width += 1
            widest = max(widest, width)
    return widest <= 1


def _first_number(element: Element) -> int:
    start = element.get("start") or "1"
    return int(start) if start.isascii() and start.isdigit() and len(start) < 9 else 1
