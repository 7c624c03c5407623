"""A sealed file gives back what was sealed, or an error: never anything else, whatever was done to it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from package.sealed_samples import CHACHA, GCM

from pocketseek.errors import IntegrityError
from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.sealing.ciphers import TAG_BYTES, Cipher
from pocketseek.package.sealing.seal_record import PackageFile
from pocketseek.package.sealing.sealed_file import (
    HEADER_BYTES,
    SealKey,
    check_sealed,
    decrypt_segments,
    num_segments,
    parse_header,
    render_header,
    sealed_bytes,
    write_plain,
    write_sealed,
)

SIZES = (
    0,
    1,
    4095,
    4096,
    SEGMENT_BYTES - 1,
    SEGMENT_BYTES,
    SEGMENT_BYTES + 1,
    3 * SEGMENT_BYTES,
    3 * SEGMENT_BYTES + 77,
)


def ignore(num_bytes: int) -> None:
    """No progress is shown."""


def key_of(cipher: Cipher = GCM, sealing: bytes = bytes(16), data_key: bytes = bytes(32)) -> SealKey:
    return SealKey(cipher, sealing, bytearray(data_key))


class Sealed:
    """A file of random bytes and its sealed twin."""

    def __init__(
        self, folder: Path, num_bytes: int, *, cipher: Cipher = GCM, seed: int = 1, kind: str = "chunks"
    ) -> None:
        self.data = Random(seed).randbytes(num_bytes)
        self.file = PackageFile(kind, hashlib.sha256(self.data).hexdigest(), num_bytes)
        self.plain, self.path = folder / f"plain-{seed}", folder / f"sealed-{seed}"
        self.plain.write_bytes(self.data)
        self.key = key_of(cipher)
        self.seal()

    def seal(self) -> None:
        self.path.unlink(missing_ok=True)
        source, target = os.open(self.plain, os.O_RDONLY), os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        write_sealed(self.key, self.file, source, target, self.plain, ignore)
        os.close(source)
        os.close(target)

    def open(self, key: SealKey | None = None, file: PackageFile | None = None) -> bytes:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            segments = decrypt_segments(key or self.key, file or self.file, descriptor, self.path)
            return b"".join(bytes(plain) for _, plain in segments)
        finally:
            os.close(descriptor)

    def flip(self, offset: int, mask: int = 1) -> None:
        with self.path.open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ mask]))


@pytest.mark.parametrize("cipher", [GCM, CHACHA])
@pytest.mark.parametrize("num_bytes", SIZES)
def test_what_was_sealed_comes_back(tmp_path: Path, cipher: Cipher, num_bytes: int) -> None:
    sealed = Sealed(tmp_path, num_bytes, cipher=cipher)
    assert sealed.path.stat().st_size == sealed_bytes(num_bytes) == HEADER_BYTES + num_bytes
    assert sealed.open() == sealed.data


def test_its_hash_is_that_of_the_file_on_disk(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path, SEGMENT_BYTES + 5)
    descriptor = os.open(sealed.path, os.O_RDONLY)
    hashed = check_sealed(sealed.key, sealed.file, descriptor, sealed.path, ignore)
    os.close(descriptor)
    assert hashed == hashlib.sha256(sealed.path.read_bytes()).hexdigest()


def test_unsealing_writes_the_plaintext(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path, SEGMENT_BYTES + 5)
    source, target = os.open(sealed.path, os.O_RDONLY), os.open(tmp_path / "again", os.O_RDWR | os.O_CREAT)
    write_plain(sealed.key, sealed.file, source, target, sealed.path, ignore)
    os.close(source)
    os.close(target)
    assert (tmp_path / "again").read_bytes() == sealed.data


def test_the_same_file_sealed_twice_has_nothing_in_common(tmp_path: Path) -> None:
    """Another key each time: no key and nonce meet twice, though key, file and position are the same."""
    sealed = Sealed(tmp_path, 2 * SEGMENT_BYTES)
    first = sealed.path.read_bytes()
    sealed.seal()
    second = sealed.path.read_bytes()
    assert first[:40] == second[:40]  # magic to sizes
    pieces = {first[at : at + 16] for at in range(HEADER_BYTES, len(first), 16)}
    assert not pieces & {second[at : at + 16] for at in range(HEADER_BYTES, len(second), 16)}
    assert first[40:72] != second[40:72]


def test_nothing_of_the_plaintext_is_in_it(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path, SEGMENT_BYTES)
    pieces = {sealed.data[at : at + 16] for at in range(0, len(sealed.data), 16)}
    stored = sealed.path.read_bytes()
    assert not pieces & {stored[at : at + 16] for at in range(0, len(stored), 16)}


@given(offset=st.integers(0, HEADER_BYTES + SEGMENT_BYTES + 499), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_found(tmp_path_factory: pytest.TempPathFactory, offset: int, bit: int) -> None:
    sealed = _shared(tmp_path_factory)
    sealed.flip(offset, 1 << bit)
    with pytest.raises(IntegrityError, match="damaged"):
        sealed.open()
    sealed.flip(offset, 1 << bit)
    assert sealed.open() == sealed.data


_SHARED: list[Sealed] = []


def _shared(factory: pytest.TempPathFactory) -> Sealed:
    """One file for all examples, as it was after each."""
    if not _SHARED:
        _SHARED.append(Sealed(factory.mktemp("shared"), SEGMENT_BYTES + 500))
    return _SHARED[0]


@pytest.mark.parametrize("offset", [0, 16, 20, 31, 32, 36, 40, 71, 72, 127, 128, 143, 160, HEADER_BYTES - 1])
def test_a_flipped_bit_in_every_field_of_the_header_is_found(tmp_path: Path, offset: int) -> None:
    sealed = Sealed(tmp_path, SEGMENT_BYTES + 500)
    sealed.flip(offset)
    with pytest.raises(IntegrityError):
        sealed.open()


def test_segments_cannot_change_places(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path, 2 * SEGMENT_BYTES)
    stored = sealed.path.read_bytes()
    header, first, second = stored[:HEADER_BYTES], stored[HEADER_BYTES:-SEGMENT_BYTES], stored[-SEGMENT_BYTES:]
    tags = header[128 + TAG_BYTES : 128 + 2 * TAG_BYTES] + header[128 : 128 + TAG_BYTES]  # each with its own
    sealed.path.write_bytes(header[:128] + tags + header[128 + 2 * TAG_BYTES :] + second + first)
    with pytest.raises(IntegrityError):
        sealed.open()


@pytest.mark.parametrize("cut_bytes", [1, 4096, SEGMENT_BYTES, SEGMENT_BYTES + 500, SEGMENT_BYTES + 600])
def test_a_file_that_is_cut_is_found(tmp_path: Path, cut_bytes: int) -> None:
    sealed = Sealed(tmp_path, SEGMENT_BYTES + 500)
    os.truncate(sealed.path, sealed.path.stat().st_size - cut_bytes)
    with pytest.raises(IntegrityError):
        sealed.open()


def test_a_whole_segment_cannot_be_left_out_by_a_rewritten_header(tmp_path: Path) -> None:
    """An attacker knows the format: sizes in the header are part of what every tag stands for."""
    sealed = Sealed(tmp_path, 2 * SEGMENT_BYTES)
    stored = sealed.path.read_bytes()
    header = parse_header(stored[:HEADER_BYTES], GCM, 2 * SEGMENT_BYTES, "it")
    shorter = render_header(GCM, SEGMENT_BYTES, header.salt, header.tag(0))
    sealed.path.write_bytes(shorter + stored[HEADER_BYTES:-SEGMENT_BYTES])
    with pytest.raises(IntegrityError):
        sealed.open(file=PackageFile("chunks", sealed.file.sha256, SEGMENT_BYTES))


@pytest.mark.parametrize(
    "other",
    [
        key_of(data_key=b"\1" * 32),
        key_of(sealing=b"\1" * 16),
        key_of(CHACHA),
    ],
    ids=["data key", "sealing", "cipher"],
)
def test_it_opens_with_its_own_key_only(tmp_path: Path, other: SealKey) -> None:
    with pytest.raises(IntegrityError):
        Sealed(tmp_path, 100).open(other)


def test_a_chunk_is_no_file_and_no_other_chunk(tmp_path: Path) -> None:
    sealed, other = Sealed(tmp_path, 100), Sealed(tmp_path, 100, seed=2)
    for file in (PackageFile("files", sealed.file.sha256, 100), other.file):
        with pytest.raises(IntegrityError):
            sealed.open(file=file)


def test_a_plain_file_that_is_not_what_its_name_says_is_not_sealed(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path, 100)
    for data in (sealed.data[:-1], sealed.data[:-1] + b"x", b""):
        sealed.plain.write_bytes(data)
        with pytest.raises(IntegrityError, match="its bytes are not those of its name"):
            sealed.seal()


@given(num_bytes=st.integers(0, 1000 * SEGMENT_BYTES), salt=st.binary(min_size=32, max_size=32))
def test_a_header_is_read_as_it_was_written(num_bytes: int, salt: bytes) -> None:
    tags = hashlib.sha256(salt).digest()[:16] * num_segments(num_bytes)
    header = parse_header(render_header(CHACHA, num_bytes, salt, tags), CHACHA, num_bytes, "it")
    assert (header.salt, header.tags) == (salt, tags)


@given(data=st.binary(max_size=300))
def test_any_other_bytes_are_no_header(data: bytes) -> None:
    for candidate in (data, data.ljust(HEADER_BYTES, b"\0")):
        with pytest.raises(IntegrityError):
            parse_header(candidate, GCM, 1000, "it")


def test_a_file_too_large_for_a_header_is_refused() -> None:
    with pytest.raises(ValueError, match="segments"):
        render_header(GCM, 2000 * SEGMENT_BYTES, bytes(32), bytes(16 * 2000))
