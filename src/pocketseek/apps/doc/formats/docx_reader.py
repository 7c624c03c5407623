"""A DOCX -> pieces: headings by outline level, lists with their printed numbers, tables, notes, comments on request.

Read straight from its XML; macros, embedded objects and the code of fields are never looked at (the last result of a
field is text). Insertions under tracked changes count, deletions do not. Headers and footers of pages are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.doc.document import Block, BlockKind, Link, Place, Remark
from pocketseek.apps.doc.formats.block_text import table_text, tidy_lines
from pocketseek.apps.doc.formats.docx_styles import Numbers, ParagraphStyle, Styles, W, numbering_of, outline_level
from pocketseek.apps.doc.formats.docx_words import Reference, Sentence, WordReader, text_boxes
from pocketseek.apps.doc.formats.safe_xml import Element, local_name, names, parse_xml
from pocketseek.apps.doc.formats.zip_parts import ZipParts
from pocketseek.apps.doc.pieces import Piece, ReadOptions
from pocketseek.errors import FormatError

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
DOCUMENT = "word/document.xml"
_STRICT = b"http://purl.oclc.org/ooxml/wordprocessingml/main"
_USUAL = W.strip("{}").encode()
_NOTES = {"footnote": "word/footnotes.xml", "endnote": "word/endnotes.xml", "comment": "word/comments.xml"}
_HOLDERS = names("sdt sdtContent customXml ins moveTo smartTag txbxContent body AlternateContent Choice")
_PIECE_ELEMENTS = 400
_MAX_SPAN = 20  # columns of a cell


@dataclass(frozen=True)
class _Draft:
    kind: BlockKind
    text: str
    level: int = 0
    links: tuple[Link, ...] = ()


def read_docx(path: Path, parts: ZipParts, options: ReadOptions) -> Iterator[Piece]:
    root = _parsed(path, parts, DOCUMENT)
    body = root.find(f"{W}body") if root is not None else None
    if body is None:
        raise FormatError(f"{path} is a DOCX without a text; open it where it was written and save it anew")
    reader = _Reader(path, parts, options)
    elements = list(body)
    num_parts = max(-(-len(elements) // _PIECE_ELEMENTS), 1)
    yield Piece(0, num_parts, title=_title(path, parts), media_type=MEDIA_TYPE)
    number = 0
    for part in range(num_parts):
        drafts = list(_merged_code(reader.drafts(elements[part * _PIECE_ELEMENTS : (part + 1) * _PIECE_ELEMENTS])))
        blocks = (
            Block(d.kind, d.text, Place(None, None, number + n), d.level, d.links) for n, d in enumerate(drafts, 1)
        )
        yield Piece(part + 1, num_parts, tuple(blocks))
        number += len(drafts)
    if reader.num_left_out:
        remark = Remark("comments", None, str(reader.num_left_out))
        yield Piece(num_parts, num_parts, remarks=(remark,))


def _parsed(path: Path, parts: ZipParts, name: str) -> Element | None:
    """None: the document has no such part."""
    if not parts.has(name):
        return None
    return parse_xml(parts.part(name).replace(_STRICT, _USUAL), f"{path}: {name}")


def _title(path: Path, parts: ZipParts) -> str | None:
    core = _parsed(path, parts, "docProps/core.xml")
    found = core.find("{http://purl.org/dc/elements/1.1/}title") if core is not None else None
    return " ".join((found.text or "").split()) or None if found is not None else None


def _targets(path: Path, parts: ZipParts) -> Mapping[str, str]:
    root = _parsed(path, parts, "word/_rels/document.xml.rels")
    relations = root if root is not None else ()
    outside = (relation for relation in relations if relation.get("TargetMode") == "External")
    return {relation.get("Id") or "": relation.get("Target") or "" for relation in outside}


def _merged_code(drafts: Iterator[_Draft]) -> Iterator[_Draft]:
    """Lines of code, each a paragraph of its own in Word, are one block."""
    lines: list[str] = []
    for draft in drafts:
        if draft.kind == "code":
            lines.append(draft.text)
            continue
        if lines:
            yield _Draft("code", tidy_lines("\n".join(lines)))
            lines = []
        yield draft
    if lines:
        yield _Draft("code", tidy_lines("\n".join(lines)))


class _Reader:
    def __init__(self, path: Path, parts: ZipParts, options: ReadOptions) -> None:
        self._styles = Styles(_parsed(path, parts, "word/styles.xml"))
        self._numbers = Numbers(_parsed(path, parts, "word/numbering.xml"))
        self._words = WordReader(_targets(path, parts))
        self._notes = {kind: _notes(_parsed(path, parts, name), kind) for kind, name in _NOTES.items()}
        self._comments = options.comments
        self._told: set[Reference] = set()
        self.num_left_out = 0

    def drafts(self, elements: list[Element]) -> Iterator[_Draft]:
        for element in elements:
            name = local_name(element)
            if name == "p":
                yield from self._paragraph(element)
            elif name == "tbl":
                yield from self._table(element)
            elif name in _HOLDERS:
                yield from self.drafts(list(element))

    def _paragraph(self, paragraph: Element) -> Iterator[_Draft]:
        properties = paragraph.find(f"{W}pPr")
        named = properties.find(f"{W}pStyle") if properties is not None else None
        style = self._styles.of(named.get(f"{W}val") if named is not None else None)
        sentence = self._words.read(paragraph, keep_lines=style.is_code)
        if sentence.text:
            yield self._styled(sentence, style, properties)
        yield from self._noted(sentence.references)
        for box in text_boxes(paragraph):
            if next(box.iterancestors(f"{W}p"), None) is paragraph:
                yield from self.drafts(list(box))

    def _styled(self, sentence: Sentence, style: ParagraphStyle, properties: Element | None) -> _Draft:
        outline = outline_level(properties)
        outline = style.outline if outline is None else outline
        numbering = numbering_of(properties) or style.numbering
        label = ""
        if numbering is not None and self._numbers.is_list(numbering):
            label = self._numbers.label(numbering)
        else:
            numbering = None
        label += " " if label else ""
        links = tuple(Link(a.start + len(label), a.stop + len(label), a.target) for a in sentence.links)
        if outline is not None:
            return _Draft("heading", label + sentence.text, outline + 1, links)
        if style.is_code:
            return _Draft("code", sentence.text)
        if numbering is not None:
            return _Draft("item", label + sentence.text, numbering.level + 1, links)
        return _Draft("caption" if style.is_caption else "paragraph", sentence.text, 0, links)

    def _table(self, table: Element) -> Iterator[_Draft]:
        rows = [_inner(row, "tc") for row in _inner(table, "tr")]
        if max(map(len, rows), default=0) <= 1:  # it only draws a frame
            for row in rows:
                for cell in row:
                    yield from self.drafts(list(cell))
            return
        references: list[Reference] = []
        text = table_text(self._row(row, references) for row in rows)
        if text:
            yield _Draft("table", text)
        yield from self._noted(tuple(references))

    def _row(self, row: list[Element], references: list[Reference]) -> list[str]:
        """With empty cells where one reaches over others, so that columns stay in line."""
        texts: list[str] = []
        num_covered = 0
        for cell in row:
            texts += ["" for _ in range(num_covered)]
            texts.append(self._cell(cell, references))
            num_covered = _num_columns(cell) - 1
        return texts

    def _cell(self, cell: Element, references: list[Reference]) -> str:
        sentences = [self._words.read(paragraph) for paragraph in cell.iter(f"{W}p")]
        references.extend(reference for sentence in sentences for reference in sentence.references)
        return " ".join(sentence.text for sentence in sentences if sentence.text)

    def _noted(self, references: tuple[Reference, ...]) -> Iterator[_Draft]:
        """The notes that a paragraph refers to, after it, each once."""
        for reference in references:
            note = self._notes[reference.kind].get(reference.note_id)
            if note is None or reference in self._told:
                continue
            self._told.add(reference)
            if reference.kind == "comment" and not self._comments:
                self.num_left_out += 1
                continue
            text = " ".join(filter(None, (self._words.read(paragraph).text for paragraph in note.iter(f"{W}p"))))
            if text and reference.kind == "comment":
                yield _Draft("comment", f"{note.get(f'{W}author') or '?'}: {text}")
            elif text:
                yield _Draft("footnote", f"[{self._words.numbers[reference]}] {text}")


def _num_columns(cell: Element) -> int:
    span = cell.find(f"{W}tcPr/{W}gridSpan")
    value = span.get(f"{W}val") or "1" if span is not None else "1"
    return min(max(int(value), 1), _MAX_SPAN) if value.isascii() and value.isdigit() and len(value) < 9 else 1


def _notes(root: Element | None, kind: str) -> dict[str, Element]:
    notes = root.iter(f"{W}{kind}") if root is not None else ()
    return {note.get(f"{W}id") or "": note for note in notes if note.get(f"{W}type") in (None, "normal")}


def _inner(element: Element, name: str) -> list[Element]:
    """Rows of a table or cells of a row, also those inside content controls."""
    found: list[Element] = []
    for child in element:
        if local_name(child) == name:
            found.append(child)
        elif local_name(child) in _HOLDERS:
            found.extend(_inner(child, name))
    return found
