"""What a reader of a format hands on, part by part, and its form as one line of JSON between two processes.

A reader is a generator of pieces; a page or a chapter is a piece. `decode_piece` trusts nothing: the process that wrote
the line has parsed a stranger's file and may have been taken over by it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, get_args

from pocketseek.apps.doc.document import Block, BlockKind, Link, Place, Remark, RemarkCode

_KINDS = frozenset(get_args(BlockKind))
_CODES = get_args(RemarkCode)


PASSWORD_HINT = "(--password)"
"""How the messages of errors end that are about a password: class and text are all that comes out of the reader."""


@dataclass(frozen=True)
class ReadOptions:
    """password: of an encrypted PDF. comments: those of a DOCX too. ocr: read pages that are pictures."""

    password: str | None = None
    comments: bool = False
    ocr: bool = False


@dataclass(frozen=True)
class Piece:
    """num_done of num_parts parts are read after this one. paged: the parts are pages. title, media_type: of the
    document, when this piece is the one that tells."""

    num_done: int
    num_parts: int
    blocks: tuple[Block, ...] = ()
    remarks: tuple[Remark, ...] = ()
    title: str | None = None
    media_type: str | None = None
    paged: bool = False


def encode_piece(piece: Piece) -> str:
    """One line; ASCII, so that a lone surrogate cannot break the pipe."""
    return json.dumps(asdict(piece), separators=(",", ":"))


def decode_piece(fields: dict[str, Any]) -> Piece:
    """Raises KeyError, TypeError or ValueError when a field is not what `encode_piece` writes."""
    return Piece(
        num_done=_number(fields["num_done"]),
        num_parts=_number(fields["num_parts"]),
        blocks=tuple(_block(block) for block in fields["blocks"]),
        remarks=tuple(_remark(remark) for remark in fields["remarks"]),
        title=None if fields["title"] is None else _text(fields["title"]),
        media_type=None if fields["media_type"] is None else _text(fields["media_type"]),
        paged=bool(fields["paged"]),
    )


def _block(fields: dict[str, Any]) -> Block:
    kind = fields["kind"]
    if kind not in _KINDS:
        raise ValueError(f"block kind {kind!r}")
    text = _text(fields["text"])
    place = fields["place"]
    links = tuple(
        Link(_number(link["start"]), _number(link["stop"]), _text(link["target"])) for link in fields["links"]
    )
    if any(not 0 <= link.start < link.stop <= len(text) for link in links):
        raise ValueError("link outside its block")
    where = Place(_optional(place["page"]), _optional(place["chapter"]), _number(place["paragraph"]))
    joint = fields["joint"]
    if joint not in (None, "", " ") or (joint is not None and not text):
        raise ValueError(f"joint {joint!r}")
    return Block(kind, text, where, _number(fields["level"]), links, joint)


def _remark(fields: dict[str, Any]) -> Remark:
    if fields["code"] not in _CODES:
        raise ValueError(f"remark {fields['code']!r}")
    return Remark(fields["code"], _optional(fields["page"]), _text(fields["detail"]))


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    return value


def _optional(value: object) -> int | None:
    return None if value is None else _number(value)


def _text(value: object) -> str:
    """A string that can be written as UTF-8."""
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value.encode("utf-8", "replace").decode("utf-8")
