"""Frames hold what is expected of them, whatever they claim."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.package import zstd

DATA = b"some words that come again, some words that come again and again" * 40
MAGIC = bytes.fromhex("28b52ffd")


@pytest.mark.parametrize("dictionary", [b"", DATA[::-1], DATA])
def test_data_come_back(dictionary: bytes) -> None:
    frame = zstd.compress(DATA, dictionary=dictionary)
    assert zstd.decompress(frame, len(DATA), dictionary=dictionary) == DATA


def test_what_both_sides_have_is_not_sent() -> None:
    draw = bytes((index * index * 7919 >> 5) & 255 for index in range(50_000))
    changed = draw[:20_000] + b"a new sentence" + draw[20_000:]
    assert len(zstd.compress(changed, dictionary=draw)) < 100


@pytest.mark.parametrize("claimed", [0, len(DATA) - 1, len(DATA) + 1, 1 << 40])
def test_another_size_than_expected_is_refused(claimed: int) -> None:
    with pytest.raises(FormatError, match="damaged"):
        zstd.decompress(zstd.compress(DATA), claimed)


def test_a_frame_that_claims_terabytes_is_refused_before_anything_is_allocated() -> None:
    header = MAGIC + bytes([0xE0]) + struct.pack("<Q", 1 << 42)  # one segment, a size in eight bytes
    with pytest.raises(FormatError):
        zstd.decompress(header + bytes([1, 0, 0]), 100)


def test_a_frame_whose_content_is_longer_than_it_claims_is_refused() -> None:
    run = bytes([0b011 | (1000 << 3) & 255, 1000 << 3 >> 8 & 255, 0, 65])  # the last block: a byte a thousand times
    with pytest.raises(FormatError):
        zstd.decompress(MAGIC + bytes([0x20, 10]) + run, 10)


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_or_give_what_is_due(data: bytes) -> None:
    with suppress(FormatError):
        assert len(zstd.decompress(data, 50)) == 50


def test_what_follows_a_frame_is_refused() -> None:
    with pytest.raises(FormatError):
        zstd.decompress(zstd.compress(DATA) + b"x", len(DATA))


def test_without_a_library_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    zstd.codec.cache_clear()
    try:
        with pytest.raises(UnsupportedError, match=r"pip install \"pocketseek\[update\]\""):
            zstd.codec()
    finally:
        zstd.codec.cache_clear()
