"""A part that is there is never fetched again, and nothing wrong gets the name."""

import hashlib
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketseek.apps.repository.wanted import PartFile, WantedFile
from pocketseek.errors import DownloadError
from pocketseek.formats import SEGMENT_BYTES

DATA = random.Random(5).randbytes(3 * SEGMENT_BYTES + 12_345)
SEGMENTS = tuple(hashlib.sha256(DATA[at : at + SEGMENT_BYTES]).hexdigest() for at in range(0, len(DATA), SEGMENT_BYTES))
SHA256 = hashlib.sha256(DATA).hexdigest()


def wanted_in(folder: Path, *, segments: tuple[str, ...] = SEGMENTS, data: bytes = DATA) -> WantedFile:
    return WantedFile("chunks/x", folder / "x", len(data), hashlib.sha256(data).hexdigest(), segments)


def complete(wanted: WantedFile, piece_bytes: int = 300_000) -> int:
    """Feed what is asked for; returns how many bytes were asked for."""
    num_fed = 0
    with PartFile(wanted) as part:
        while (offset := part.next_offset()) is not None:
            while offset < len(DATA):
                piece = DATA[offset : offset + piece_bytes]
                offset += len(piece)
                num_fed += len(piece)
                if not part.write(piece):
                    break
        part.finish()
    assert wanted.target.read_bytes() == DATA
    assert not wanted.part.exists()
    return num_fed


@pytest.mark.parametrize(
    "length", [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 7, len(DATA) - 1, len(DATA)]
)
@pytest.mark.parametrize("segments", [SEGMENTS, ()])
def test_only_what_is_missing_is_asked_for(tmp_path: Path, length: int, segments: tuple[str, ...]) -> None:
    wanted = wanted_in(tmp_path, segments=segments)
    wanted.part.write_bytes(DATA[:length])
    assert wanted.missing_bytes == len(DATA) - length
    assert complete(wanted) == len(DATA) - length


def test_only_the_damaged_segment_of_what_is_there_is_asked_for(tmp_path: Path) -> None:
    wanted = wanted_in(tmp_path)
    wrong = bytearray(DATA)
    wrong[SEGMENT_BYTES + 5] ^= 1
    wanted.part.write_bytes(wrong)
    assert complete(wanted, piece_bytes=100_000) < SEGMENT_BYTES + 100_000


def test_a_damaged_tail_is_found_out_when_its_segment_ends(tmp_path: Path) -> None:
    wanted = wanted_in(tmp_path)
    wanted.part.write_bytes(DATA[: SEGMENT_BYTES + 1000] + b"\0" * 1000)
    assert complete(wanted, piece_bytes=10_000) < len(DATA) + 10_000


def test_longer_than_it_should_be_is_cut(tmp_path: Path) -> None:
    wanted = wanted_in(tmp_path)
    wanted.part.write_bytes(DATA + b"more")
    assert complete(wanted) == 0


def test_a_segment_that_is_wrong_each_time_is_given_up(tmp_path: Path) -> None:
    wanted = wanted_in(tmp_path)
    with PartFile(wanted) as part:
        assert not part.write(bytes(SEGMENT_BYTES))
        assert not part.write(bytes(SEGMENT_BYTES))
        with pytest.raises(DownloadError, match=r"chunks/x arrives damaged.*bytes 0 to 1048575"):
            part.write(bytes(SEGMENT_BYTES))
    assert not wanted.target.exists()


def test_segments_that_belong_to_another_whole_are_refused(tmp_path: Path) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    wanted = WantedFile("chunks/x", tmp_path / "x", len(DATA), other, SEGMENTS)
    with pytest.raises(DownloadError, match="contradict each other"):
        complete(wanted)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_needs_nothing(tmp_path: Path) -> None:
    wanted = wanted_in(tmp_path, segments=(), data=b"")
    with PartFile(wanted) as part:
        assert part.next_offset() is None
        part.finish()
    assert wanted.target.read_bytes() == b""


def test_a_link_in_place_of_the_part_is_not_followed(tmp_path: Path) -> None:
    wanted = wanted_in(tmp_path)
    (tmp_path / "precious").write_bytes(b"precious")
    os.symlink(tmp_path / "precious", wanted.part)
    with pytest.raises(OSError, match="symbolic links"):
        PartFile(wanted)
    assert (tmp_path / "precious").read_bytes() == b"precious"


@settings(max_examples=25)
@given(st.data())
def test_any_beginning_any_damage_and_any_pieces_end_in_the_right_bytes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    wanted = wanted_in(tmp_path_factory.mktemp("part"))
    there = bytearray(DATA[: data.draw(st.integers(0, len(DATA)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(there) - 1)), max_size=3)):
        if there:
            there[at] ^= 1
    wanted.part.write_bytes(there)
    complete(wanted, data.draw(st.sampled_from([4096, 100_001, SEGMENT_BYTES])))
