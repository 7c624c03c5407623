"""The only door to lxml: XML and HTML from strangers, parsed without entities, DTDs or network.

parse_xml    strict; a DOCTYPE is allowed and its internal subset ignored
parse_xhtml  XML where it is well-formed (names such as &nbsp; are known), HTML otherwise
parse_html   whatever browsers would accept; tells if the parser gave up somewhere
walk         a tree as a flat series of events, so that deep nesting costs no stack
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from lxml import etree

from pocketseek.errors import FormatError

Element = etree._Element
Event = tuple[Literal["start", "end", "text"], Element, str]

_NAMED = re.compile(rb"&([A-Za-z][A-Za-z0-9]{1,31});")
_KEPT = frozenset({b"amp", b"lt", b"gt", b"quot", b"apos"})
_DOCTYPE = re.compile(rb"<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class ParsedHtml:
    """problem: where the parser gave up, so that what follows is missing; None: the whole text is there."""

    root: Element
    problem: str | None = None


def parse_xml(data: bytes, what: str) -> Element:
    """Raises FormatError. what: the name of the part, for the message."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False,
        huge_tree=_has_no_entities(data), remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(_DOCTYPE.sub(b"", data, count=1), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise FormatError(f"{what} is damaged ({_brief(error)}); get the file again") from None
    return root


def parse_xhtml(data: bytes, what: str) -> ParsedHtml:
    try:
        return ParsedHtml(parse_xml(_NAMED.sub(_character, data), what))
    except FormatError:
        return parse_html(data.decode("utf-8", "replace"), what)


def parse_html(text: str, what: str) -> ParsedHtml:
    """Deeper than 2048 elements libxml2 gives up, and says so in its log only; the reader's process bounds the rest."""
    parser = etree.HTMLParser(
        encoding="utf-8", no_network=True, huge_tree=True, remove_comments=True, remove_pis=True, recover=True
    )
    try:
        root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise FormatError(f"{what} is no readable HTML ({_brief(error)}); save it anew from a browser") from None
    if root is None:
        raise FormatError(f"{what} holds no text; give a file with text in it")
    return ParsedHtml(root, _given_up(parser))


def walk(root: Element, is_skipped: Callable[[Element], bool]) -> Iterator[Event]:
    """In document order; a skipped element's tail is still told, as text of its parent."""
    stack: list[tuple[Element, Iterator[Element]]] = [(root, iter(root))]
    yield "start", root, ""
    if root.text:
        yield "text", root, root.text
    while stack:
        parent, children = stack[-1]
        child = next(children, None)
        if child is None:
            stack.pop()
            yield "end", parent, ""
            if stack and parent.tail:
                yield "text", stack[-1][0], parent.tail
            continue
        if not isinstance(child.tag, str) or is_skipped(child):
            if child.tail:
                yield "text", parent, child.tail
            continue
        yield "start", child, ""
        if child.text:
            yield "text", child, child.text
        stack.append((child, iter(child)))


def names(*lines: str) -> frozenset[str]:
    """A set of tags, written as words."""
    return frozenset(name for line in lines for name in line.split())


def local_name(element: Element) -> str:
    """The tag without its namespace."""
    tag = element.tag
    return tag.rsplit("}", 1)[-1] if isinstance(tag, str) else ""


def _has_no_entities(data: bytes) -> bool:
    """Without the parser's limits on trees, entities in attributes could swell; UTF-16 hides them from this look."""
    return b"<!ENTITY" not in data and b"\0" not in data


def _given_up(parser: etree.HTMLParser) -> str | None:
    fatal = parser.error_log.filter_from_fatals()
    if not fatal:
        return None
    first = fatal[0]
    why = "nested too deeply" if "depth" in first.message else first.message.strip()[:60]
    return f"reading ended in line {first.line} ({why}); what follows is missing"


def _character(match: re.Match[bytes]) -> bytes:
    if match[1] in _KEPT:
        return match[0]
    return html.unescape(match[0].decode("ascii")).encode("utf-8")


def _brief(error: Exception) -> str:
    return str(error).split(" (<string>", 1)[0][:120]
