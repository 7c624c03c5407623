"""Which characters the bytes of a text file are."""

from __future__ import annotations

import pytest

from pocketseek.apps.doc.formats.text_encoding import decode_text

CHINESE = "我们的国家在这一年里有了很大的发展，人民的生活也一天一天好起来了。"
TRADITIONAL = "我們的國家在這一年裡有了很大的發展，人民的生活也一天一天好起來了。"
WESTERN = "Le café était fermé, mais l’été à Genève n’est pas fini : Größe, mañana."


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "gb2312"])
def test_chinese_is_read_in_any_encoding(encoding: str) -> None:
    assert decode_text(CHINESE.encode(encoding)) == CHINESE


def test_traditional_chinese_is_told_from_simplified() -> None:
    assert decode_text(TRADITIONAL.encode("big5")) == TRADITIONAL


def test_western_letters_are_not_taken_for_chinese() -> None:
    assert decode_text(WESTERN.encode("cp1252")) == WESTERN


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_needs_no_mark(encoding: str) -> None:
    assert decode_text("plain English words".encode(encoding)) == "plain English words"


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_character_cut_off_at_the_end_is_forgiven(encoding: str) -> None:
    assert decode_text((CHINESE[:-1] + "好").encode(encoding)[:-1]) == CHINESE[:-1]


def test_bytes_that_are_no_text_are_none() -> None:
    assert decode_text(bytes(range(256)) * 8) is None
