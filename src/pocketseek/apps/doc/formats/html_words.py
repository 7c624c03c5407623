"""The text of one block of HTML as it is collected: spaces run together, links remembered, ruby in parentheses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pocketseek.apps.doc.document import Link
from pocketseek.apps.doc.formats.block_text import is_wide, tidy_lines

_SPACES = re.compile(r"[ \t\n\r\f]+")
_MAX_TARGET = 2000


@dataclass
class Words:
    parts: list[str] = field(default_factory=list)
    length: int = 0
    links: list[Link] = field(default_factory=list)
    last: str = ""
    _anchors: list[tuple[str, int] | None] = field(default_factory=list)

    def add(self, text: str) -> None:
        """As it is."""
        if text:
            self.parts.append(text)
            self.length += len(text)
            self.last = text[-1]

    def flow(self, text: str) -> None:
        """Spaces and line breaks of the source are one space; a break between two Chinese characters is nothing."""
        position = 0
        for gap in _SPACES.finditer(text):
            self.add(text[position : gap.start()])
            position = gap.end()
            broken = "\n" in gap[0] and is_wide(self.last[:1]) and is_wide(text[position : position + 1])
            if self.length and self.last != " " and not broken:
                self.add(" ")
        self.add(text[position:])

    def open_link(self, target: str) -> None:
        """Only what leads outside the document is a link."""
        outside = target.startswith(("http://", "https://", "mailto:"))
        self._anchors.append((target[:_MAX_TARGET], self.length) if outside else None)

    def close_link(self) -> None:
        anchor = self._anchors.pop() if self._anchors else None
        if anchor is not None and anchor[1] < self.length:
            self.links.append(Link(anchor[1], self.length, anchor[0]))

    def taken(self, *, keep_lines: bool = False) -> tuple[str, tuple[Link, ...]]:
        """The text and its links; what follows starts anew, inside the links that are open."""
        raw = "".join(self.parts)
        for anchor in self._anchors:
            if anchor is not None and anchor[1] < self.length:
                self.links.append(Link(anchor[1], self.length, anchor[0]))
        links = self.links
        self.parts, self.length, self.links, self.last = [], 0, [], ""
        self._anchors = [(anchor[0], 0) if anchor is not None else None for anchor in self._anchors]
        return (tidy_lines(raw), ()) if keep_lines else _stripped(raw, links)


def _stripped(raw: str, links: list[Link]) -> tuple[str, tuple[Link, ...]]:
    """Without the characters that nobody sees; where one stood amid the text, the links are given up."""
    text = tidy_lines(raw.replace("\n", " "))
    lead = raw.find(text[:1]) if text else 0
    if raw[lead : lead + len(text)] != text:
        return text, ()
    moved = (Link(max(link.start - lead, 0), min(link.stop - lead, len(text)), link.target) for link in links)
    return text, tuple(link for link in moved if link.start < link.stop and text[link.start : link.stop].strip())
