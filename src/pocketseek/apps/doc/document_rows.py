"""Rows of the document store and what they stand for."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import cast

from pocketseek.apps.conversation import storable
from pocketseek.apps.database import Row, Value
from pocketseek.apps.doc.document import Block, BlockKind, Document, Link, Place, Remark
from pocketseek.apps.doc.passage_index import joint_of, whole_number


@dataclass(frozen=True)
class DocumentInfo:
    """path: of the first file that has it."""

    id: int
    sha256: str
    title: str
    media_type: str
    num_pages: int | None
    num_bytes: int
    added_s: float
    path: str
    num_passages: int
    remarks: tuple[Remark, ...] = ()


def storable_document(document: Document) -> Document:
    blocks = tuple(replace(block, text=storable(block.text)) for block in document.blocks)
    return Document(storable(document.title), document.media_type, blocks, document.num_pages, document.remarks)


def block_values(block: Block) -> tuple[Value, ...]:
    place = block.place
    links = json.dumps([[link.start, link.stop, link.target] for link in block.links]) if block.links else ""
    return block.kind, block.level, place.page, place.chapter, place.paragraph, block.text, links, block.joint


def block_of(row: Row) -> Block:
    kind, level, page, chapter, paragraph, text, links, joint = row
    place = Place(whole_or_none(page), whole_or_none(chapter), whole_number(paragraph))
    found = tuple(Link(start, stop, target) for start, stop, target in json.loads(str(links))) if links else ()
    return Block(cast(BlockKind, str(kind)), str(text), place, whole_number(level), found, joint_of(joint))


def remarks_json(document: Document) -> str:
    return json.dumps([[remark.code, remark.page, remark.detail] for remark in document.remarks])


def info_of(row: Row) -> DocumentInfo:
    key, sha256, title, media_type, num_pages, num_bytes, added_s, path, num_passages, remarks = row
    return DocumentInfo(
        whole_number(key),
        str(sha256),
        str(title),
        str(media_type),
        whole_or_none(num_pages),
        whole_number(num_bytes),
        float(added_s or 0.0),
        str(path or ""),
        whole_number(num_passages),
        tuple(Remark(code, page, detail) for code, page, detail in json.loads(str(remarks))),
    )


def whole_or_none(value: Value) -> int | None:
    return None if value is None else whole_number(value)
