"""The words of one paragraph of a DOCX: text, links, references to notes and comments; nothing that is not shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pocketseek.apps.doc.document import Link
from pocketseek.apps.doc.formats.block_text import raised
from pocketseek.apps.doc.formats.docx_styles import W
from pocketseek.apps.doc.formats.html_words import Words
from pocketseek.apps.doc.formats.safe_xml import Element, local_name, names, walk

_R_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_UNSEEN = names("del moveFrom instrText delText pPr rPr tblPr trPr tcPr sdtPr Fallback txbxContent rt rubyPr")
_CHARACTERS = {"tab": " ", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": " "}
_REFERENCES = frozenset({"footnoteReference", "endnoteReference", "commentReference"})


@dataclass(frozen=True)
class Reference:
    """kind: footnote, endnote or comment."""

    kind: str
    note_id: str


@dataclass(frozen=True)
class Sentence:
    text: str
    links: tuple[Link, ...]
    references: tuple[Reference, ...]


@dataclass
class WordReader:
    """targets: relationship id -> address. Notes are numbered as they are first referred to."""

    targets: Mapping[str, str]
    numbers: dict[Reference, int] = field(default_factory=dict)

    def read(self, paragraph: Element, *, keep_lines: bool = False) -> Sentence:
        words, references = Words(), list[Reference]()
        for event, element, text in walk(paragraph, _is_unseen):
            name = local_name(element)
            if event == "text" and name == "t":
                _add(words, raised(text) if _is_superscript(element) else text, keep_lines)
            elif event == "start" and name in _CHARACTERS:
                _add(words, _CHARACTERS[name], keep_lines)
            elif name == "hyperlink" and event == "start":
                words.open_link(self.targets.get(element.get(_R_ID) or "", ""))
            elif name == "hyperlink" and event == "end":
                words.close_link()
            elif event == "end" and name == "ruby":
                words.add(f"（{_reading(element)}）")
            elif event == "start" and name in _REFERENCES:
                reference = Reference(name.removesuffix("Reference"), element.get(f"{W}id") or "")
                references.append(reference)
                words.add(self._mark(reference))
        if keep_lines:
            return Sentence("".join(words.parts).rstrip(), (), tuple(references))
        shown, links = words.taken()
        return Sentence(shown, links, tuple(references))

    def _mark(self, reference: Reference) -> str:
        if reference.kind == "comment":
            return ""
        return f"[{self.numbers.setdefault(reference, len(self.numbers) + 1)}]"


def _add(words: Words, text: str, keep_lines: bool) -> None:
    if keep_lines:
        words.add(text)
    else:
        words.flow(text)


def _is_superscript(text: Element) -> bool:
    run = text.getparent()
    place = run.find(f"{W}rPr/{W}vertAlign") if run is not None else None
    return place is not None and place.get(f"{W}val") == "superscript"


def _reading(ruby: Element) -> str:
    return "".join(text.text or "" for part in ruby.iter(f"{W}rt") for text in part.iter(f"{W}t"))


def _is_unseen(element: Element) -> bool:
    return local_name(element) in _UNSEEN


def text_boxes(paragraph: Element) -> Iterator[Element]:
    """Text boxes anchored in it, each once (old readers get a copy of each, which is passed over)."""
    for box in paragraph.iter(f"{W}txbxContent"):
        if not any(local_name(above) == "Fallback" for above in box.iterancestors()):
            yield box
