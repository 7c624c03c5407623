"""Pieces travel as lines of JSON, and what does not look like one is refused."""

from __future__ import annotations

import json

import pytest

from pocketseek.apps.doc.document import Block, Link, Place, Remark
from pocketseek.apps.doc.pieces import Piece, decode_piece, encode_piece

PIECE = Piece(
    3,
    9,
    (Block("heading", "一 two", Place(3, None, 1), 2, (Link(0, 1, "https://example.org/"),)),),
    (Remark("picture-page", 3, "why"),),
    title="t",
    media_type="application/pdf",
    paged=True,
)


def test_a_piece_survives_the_way() -> None:
    assert decode_piece(json.loads(encode_piece(PIECE))) == PIECE
    assert "\n" not in encode_piece(Piece(1, 1, (Block("code", "a\nb", Place(None, None, 1)),)))


@pytest.mark.parametrize(
    "change",
    [
        {"num_done": "3"},
        {"blocks": [{"kind": "script"}]},
        {"blocks": [{"kind": "heading", "text": 1, "place": {}, "level": 0, "links": []}]},
        {"remarks": [{"code": "run", "page": 1, "detail": ""}]},
        {"title": 5},
    ],
)
def test_what_is_no_piece_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_piece(json.loads(encode_piece(PIECE)) | change)


def test_a_link_outside_its_block_is_refused() -> None:
    fields = json.loads(encode_piece(PIECE))
    fields["blocks"][0]["links"][0]["stop"] = 99
    with pytest.raises(ValueError, match="outside"):
        decode_piece(fields)


def test_a_lone_surrogate_cannot_break_what_comes_after() -> None:
    fields = json.loads(encode_piece(PIECE))
    fields["blocks"][0]["text"] = "a\ud800b"
    assert decode_piece(fields).blocks[0].text == "a?b"


@pytest.mark.parametrize(("joint", "text"), [("\n", "a"), (0, "a"), ("", "")])
def test_a_joint_that_would_change_where_things_stand_is_refused(joint: object, text: str) -> None:
    fields = json.loads(encode_piece(Piece(1, 1, (Block("paragraph", "a", Place(1, None, 1), joint=" "),))))
    assert decode_piece(fields).blocks[0].joint == " "
    fields["blocks"][0] |= {"joint": joint, "text": text}
    with pytest.raises(ValueError, match="joint"):
        decode_piece(fields)
