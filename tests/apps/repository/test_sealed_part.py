"""What arrives for a sealed model is encrypted before it is written, gone on with under another key each time, and told
from anything else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from package.samples import flip_bit

from pocketseek.apps.repository.sealed_part import SealedPart
from pocketseek.apps.repository.wanted import WantedFile
from pocketseek.errors import DownloadError
from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.sealing.opened_seal import SegmentFile
from pocketseek.package.sealing.seal_record import PackageFile
from pocketseek.package.sealing.sealed_file import HEADER_BYTES, SealKey, hash_sealed

DATA = np.random.default_rng(3).bytes(2 * SEGMENT_BYTES + 123_456)
KEY = SealKey("aes-256-gcm", bytes(16), bytearray(range(32)))


def segments_of(data: bytes) -> tuple[str, ...]:
    return tuple(
        sha256(data[start : start + SEGMENT_BYTES]).hexdigest() for start in range(0, len(data), SEGMENT_BYTES)
    )


class Arriving:
    """One wanted file, its bytes in pieces, and what was told in the end."""

    def __init__(self, folder: Path, data: bytes = DATA, *, kind: str = "chunks", segments: bool = True) -> None:
        (folder / kind).mkdir(exist_ok=True)
        self.folder = folder
        digest = sha256(data).hexdigest()
        target = folder / kind / f"{digest}.sealed"
        self.data = data
        self.wanted = WantedFile(f"{kind}/{digest}", target, len(data), digest, segments_of(data) if segments else ())
        self.told: dict[str, str] = {}

    def part(self, **options: object) -> SealedPart:
        return SealedPart(self.wanted, KEY, self._tell, **options)  # type: ignore[arg-type]

    def fetch(self, part: SealedPart, *, most_bytes: int = 1 << 40, damage: int | None = None) -> int:
        """Bytes that were given to it. damage: at this byte, each time."""
        given = 0
        while (offset := part.next_offset()) is not None:
            for piece in self._pieces(offset, damage):
                if given + len(piece) > most_bytes:
                    return given
                given += len(piece)
                if not part.write(piece):
                    break
        part.finish()
        return given

    def content(self) -> bytes:
        file = PackageFile(self.wanted.path.partition("/")[0], self.wanted.sha256 or "", len(self.data))
        opened = SegmentFile(self.folder, file, KEY)
        try:
            return opened.whole()
        finally:
            opened.close()

    def _pieces(self, offset: int, damage: int | None) -> Iterator[bytes]:
        data = bytearray(self.data)
        if damage is not None:
            data[damage] ^= 1
        for start in range(offset, len(data), 100_000):
            yield bytes(data[start : start + 100_000])

    def _tell(self, file: PackageFile, hashed: str) -> None:
        self.told[file.name] = hashed


@pytest.mark.parametrize("kind", ["chunks", "files", "deltas"])
@pytest.mark.parametrize("num_bytes", [0, 1, SEGMENT_BYTES, len(DATA)])
def test_what_arrived_is_sealed_and_told_by_the_hash_of_the_sealed_file(
    tmp_path: Path, kind: str, num_bytes: int
) -> None:
    arriving = Arriving(tmp_path, DATA[:num_bytes], kind=kind, segments=kind == "chunks" and num_bytes > 0)
    with arriving.part() as part:
        assert arriving.fetch(part) == num_bytes
    assert arriving.content() == DATA[:num_bytes]
    assert arriving.told == {arriving.wanted.path: hash_sealed(arriving.wanted.target)}
    assert os.listdir(tmp_path / kind) == [arriving.wanted.target.name]


def test_going_on_keeps_whole_segments_and_seals_them_with_another_key(tmp_path: Path) -> None:
    arriving = Arriving(tmp_path)
    with arriving.part() as part:
        arriving.fetch(part, most_bytes=SEGMENT_BYTES + 300_000)
    first = arriving.wanted.part.read_bytes()
    assert not any(DATA[start : start + 24] in first for start in range(0, len(DATA), 4096))
    with arriving.part() as part:
        assert part.num_kept == SEGMENT_BYTES
        second = arriving.wanted.part.read_bytes()
        assert arriving.fetch(part) == len(DATA) - SEGMENT_BYTES
    assert arriving.content() == DATA
    segment = slice(HEADER_BYTES, HEADER_BYTES + SEGMENT_BYTES)
    assert len(first[segment]) == len(second[segment]) == SEGMENT_BYTES
    assert first[segment] != second[segment]


@pytest.mark.parametrize("segments", [True, False])
def test_a_file_without_hashes_of_segments_is_gone_on_with_too(tmp_path: Path, segments: bool) -> None:
    arriving = Arriving(tmp_path, kind="deltas", segments=segments)
    with arriving.part() as part:
        arriving.fetch(part, most_bytes=2_100_000)
    with arriving.part() as part:
        assert arriving.fetch(part) == len(DATA) - 2 * SEGMENT_BYTES
    assert arriving.content() == DATA


def test_what_somebody_did_to_the_part_is_fetched_again(tmp_path: Path) -> None:
    arriving = Arriving(tmp_path)
    with arriving.part() as part:
        arriving.fetch(part, most_bytes=2 * SEGMENT_BYTES + 100_000)
    flip_bit(arriving.wanted.part, HEADER_BYTES + 5)
    with arriving.part() as part:
        assert part.next_offset() == 0
        assert part.num_kept == SEGMENT_BYTES
        arriving.fetch(part)
    assert arriving.content() == DATA


@pytest.mark.parametrize("place", [0, 70, HEADER_BYTES - 1])
def test_a_part_with_another_header_is_of_no_use(tmp_path: Path, place: int) -> None:
    arriving = Arriving(tmp_path)
    with arriving.part() as part:
        arriving.fetch(part, most_bytes=2 * SEGMENT_BYTES)
    flip_bit(arriving.wanted.part, place)
    with arriving.part() as part:
        assert part.num_kept == 0


def test_a_part_of_another_file_or_kind_is_of_no_use(tmp_path: Path) -> None:
    arriving, other = Arriving(tmp_path), Arriving(tmp_path, DATA[::-1])
    of_kind = Arriving(tmp_path, kind="files")
    for one in (other, of_kind):
        with one.part() as part:
            one.fetch(part, most_bytes=2 * SEGMENT_BYTES)
        os.replace(one.wanted.part, arriving.wanted.part)
        with arriving.part() as part:
            assert part.num_kept == 0


def test_damage_on_the_way_is_never_sealed_and_given_up_after_three_times(tmp_path: Path) -> None:
    arriving = Arriving(tmp_path)
    with arriving.part() as part, pytest.raises(DownloadError, match="arrives damaged each time"):
        arriving.fetch(part, damage=SEGMENT_BYTES + 7)
    with arriving.part() as part:
        assert part.num_kept == SEGMENT_BYTES
        arriving.fetch(part)
    assert arriving.content() == DATA


def test_the_same_without_hashes_of_segments(tmp_path: Path) -> None:
    arriving = Arriving(tmp_path, kind="files", segments=False)
    with arriving.part() as part, pytest.raises(DownloadError, match="arrives damaged each time"):
        arriving.fetch(part, damage=SEGMENT_BYTES + 7)
    assert arriving.told == {}
    with arriving.part() as part:
        assert arriving.fetch(part) == len(DATA)
    assert arriving.content() == DATA


def test_hashes_that_contradict_each_other_are_the_publishers_fault(tmp_path: Path) -> None:
    arriving = Arriving(tmp_path)
    wrong = sha256(b"something else").hexdigest()
    arriving.wanted = replace(arriving.wanted, path=f"chunks/{wrong}", sha256=wrong)
    with arriving.part() as part, pytest.raises(DownloadError, match="contradict each other"):
        arriving.fetch(part)
    assert os.listdir(tmp_path / "chunks") == []


def test_a_damaged_sealed_file_gives_its_good_segments(tmp_path: Path) -> None:
    arriving = Arriving(tmp_path)
    with arriving.part() as part:
        arriving.fetch(part)
    seed = tmp_path / "damaged"
    os.replace(arriving.wanted.target, seed)
    flip_bit(seed, HEADER_BYTES + SEGMENT_BYTES + 9)
    with arriving.part(seed=seed) as part:
        assert part.next_offset() == SEGMENT_BYTES
        assert arriving.fetch(part) < SEGMENT_BYTES + 100_000  # to the end of that segment
    assert arriving.content() == DATA


def test_more_than_is_wanted_is_not_taken(tmp_path: Path) -> None:
    arriving = Arriving(tmp_path, DATA[:100])
    with arriving.part() as part:
        assert not part.write(DATA[:200])
