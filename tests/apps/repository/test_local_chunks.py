"""What an installed model has is copied where it is wanted, also into what is there in part already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from apps.repository.test_sealed_part import DATA, Arriving
from package.samples import flip_bit

from pocketseek.apps.repository.local_chunks import LocalChunk, _copied, take
from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.entries import ChunkEntry
from pocketseek.package.sealing.sealed_file import HEADER_BYTES


@pytest.fixture
def arriving(tmp_path: Path) -> Arriving:
    """A sealed file that has arrived in part: of three segments the second one."""
    found = Arriving(tmp_path)
    with found.part() as part:
        found.fetch(part, most_bytes=2 * SEGMENT_BYTES + 1000)
    flip_bit(found.wanted.part, HEADER_BYTES + 3)
    return found


def entry_of(arriving: Arriving) -> ChunkEntry:
    wanted = arriving.wanted
    assert wanted.sha256 is not None
    return ChunkEntry(wanted.sha256, wanted.num_bytes, "core", wanted.segments)


def test_a_segment_that_is_good_already_is_no_sign_of_damage(arriving: Arriving, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.write_bytes(DATA)
    assert take(LocalChunk(here, None), entry_of(arriving), arriving.wanted, lambda _: arriving.part())
    assert arriving.content() == DATA


@pytest.mark.parametrize("num_bytes", [100, SEGMENT_BYTES, len(DATA) - 1])
def test_what_is_damaged_or_short_is_told(arriving: Arriving, tmp_path: Path, num_bytes: int) -> None:
    here = tmp_path / "here"
    here.write_bytes(DATA[:num_bytes])
    assert not _copied(here, arriving.wanted, lambda _: arriving.part())
    here.write_bytes(bytes(len(DATA)))
    assert not _copied(here, arriving.wanted, lambda _: arriving.part())


@pytest.mark.parametrize("has_links", [True, False])
def test_a_plain_chunk_is_taken_with_and_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """Termux's Python is made without os.link."""
    if not has_links:
        monkeypatch.delattr(os, "link")
    here = tmp_path / "here"
    here.write_bytes(DATA)
    arriving = Arriving(tmp_path)
    arriving.wanted.target.parent.mkdir(exist_ok=True)
    assert take(LocalChunk(here, None), entry_of(arriving), arriving.wanted)
    assert arriving.wanted.target.read_bytes() == DATA
    assert here.samefile(arriving.wanted.target) is has_links
