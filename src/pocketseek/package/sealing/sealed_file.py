"""One sealed file: a header of 16 KiB, then ciphertext of exactly the plaintext's length.

    magic 16 | version u32 | cipher u32 | plaintext bytes u64 | segments u32 | bytes of a segment u32 | salt 32 | zeros
    tags from byte 128 on, 16 bytes for each segment | zeros | from byte 16384 on: the ciphertext

Byte x of the plaintext lies at 16384 + x, so that what was aligned stays so, for direct reads too. A segment is 1 MiB,
the last one what remains; an empty file has one empty segment. Numbers are big-endian. The header is parsed in one
function; the fields that are not authenticated in themselves are part of every segment's associated data (ciphers.py).

Not covered: reading segments fast, which is the runtime's (residency/sealed_files.py).
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pocketseek.errors import IntegrityError
from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.paths import CHUNKS_NAME, DELTAS_NAME, FILES_NAME
from pocketseek.package.sealing.ciphers import SALT_BYTES, TAG_BYTES, Cipher, SegmentCipher
from pocketseek.package.sealing.seal_record import PackageFile
from pocketseek.package.storage import storage_errors, write_all

HEADER_BYTES = 16 * 1024
MAGIC = b"pocketseek-seal\n"
VERSION = 1
_FIELDS = struct.Struct(">16sIIQII32s")
FIRST_TAG = 128
_MOST_SEGMENTS = (HEADER_BYTES - FIRST_TAG) // TAG_BYTES
_KINDS = {CHUNKS_NAME: 1, FILES_NAME: 2, DELTAS_NAME: 3}  # the last: what an update fetched and has not applied yet
_CIPHERS: dict[Cipher, int] = {"aes-256-gcm": 1, "chacha20-poly1305": 2}
REMEDY = (
    "run `pocketseek verify NAME --repair` if it was pulled, or else remove the model (`pocketseek remove NAME`) and "
    "install it again"
)

Report = Callable[[int], None]


@dataclass(frozen=True)
class SealKey:
    """What all files of one sealing have in common. data_key: wiped by who made this."""

    cipher: Cipher
    sealing: bytes
    data_key: bytearray

    def segment_cipher(self, file: PackageFile, salt: bytes) -> SegmentCipher:
        return SegmentCipher(
            self.cipher,
            self.data_key,
            salt,
            sealing=self.sealing,
            kind=_KINDS[file.folder],
            file=bytes.fromhex(file.sha256),
            num_bytes=file.num_bytes,
            num_segments=num_segments(file.num_bytes),
        )


def num_segments(num_bytes: int) -> int:
    return max(1, -(-num_bytes // SEGMENT_BYTES))


def segment_bytes(num_bytes: int, index: int) -> int:
    """Of the index-th segment of a file."""
    return min(SEGMENT_BYTES, num_bytes - index * SEGMENT_BYTES)


def sealed_bytes(num_bytes: int) -> int:
    """Of the sealed file."""
    return HEADER_BYTES + num_bytes


@dataclass(frozen=True)
class Header:
    salt: bytes
    tags: bytes

    def tag(self, index: int) -> bytes:
        return self.tags[index * TAG_BYTES : (index + 1) * TAG_BYTES]


def render_header(cipher: Cipher, num_bytes: int, salt: bytes, tags: bytes) -> bytes:
    """Raises ValueError for a file that is too large for it."""
    count = num_segments(num_bytes)
    if count > _MOST_SEGMENTS or len(tags) != count * TAG_BYTES:
        raise ValueError(f"a sealed file has 1 to {_MOST_SEGMENTS} segments and a tag for each")
    fields = _FIELDS.pack(MAGIC, VERSION, _CIPHERS[cipher], num_bytes, count, SEGMENT_BYTES, salt)
    return (fields.ljust(FIRST_TAG, b"\0") + tags).ljust(HEADER_BYTES, b"\0")


def parse_header(data: bytes, cipher: Cipher, num_bytes: int, where: str) -> Header:
    """Raises IntegrityError for anything but the header of such a file."""
    tags_end = FIRST_TAG + num_segments(num_bytes) * TAG_BYTES
    if len(data) == HEADER_BYTES and data.startswith(MAGIC):
        salt = data[_FIELDS.size - SALT_BYTES : _FIELDS.size]
        header = Header(salt, data[FIRST_TAG:tags_end])
        if tags_end <= HEADER_BYTES and data == render_header(cipher, num_bytes, salt, header.tags):
            return header
    raise damaged(where, "its header is not that of this file")


def read_header(descriptor: int, cipher: Cipher, num_bytes: int, path: Path) -> Header:
    """Of an open file, whose size is looked at too. Raises IntegrityError, StorageError."""
    with storage_errors(path):
        size_bytes = os.fstat(descriptor).st_size
        data = os.pread(descriptor, HEADER_BYTES, 0)
    if size_bytes != sealed_bytes(num_bytes):
        raise damaged(str(path), f"it has {size_bytes} bytes instead of {sealed_bytes(num_bytes)}")
    return parse_header(data, cipher, num_bytes, str(path))


def damaged(where: str, problem: str) -> IntegrityError:
    return IntegrityError(f"{where} is damaged: {problem}; {REMEDY}")


def write_sealed(key: SealKey, file: PackageFile, source: int, target: int, path: Path, report: Report) -> None:
    """Seal an open file into an empty open one and sync it. path: of the source. Raises IntegrityError if the source is
    not the file, OSError."""
    salt = secrets.token_bytes(SALT_BYTES)
    cipher = key.segment_cipher(file, salt)
    digest, tags = sha256(), bytearray()
    os.lseek(target, HEADER_BYTES, os.SEEK_SET)
    for index, plain in enumerate(_plain_segments(source, file)):
        digest.update(plain)
        sealed = cipher.seal(index, plain)
        write_all(target, memoryview(sealed)[: len(plain)])
        tags += sealed[len(plain) :]
        report(len(plain))
    if digest.hexdigest() != file.sha256:
        raise damaged(str(path), "its bytes are not those of its name")
    os.lseek(target, 0, os.SEEK_SET)
    write_all(target, render_header(key.cipher, file.num_bytes, salt, bytes(tags)))
    os.fsync(target)


def check_sealed(key: SealKey, file: PackageFile, descriptor: int, path: Path, report: Report) -> str:
    """Read a sealed file from the disk and decrypt all of it; returns its SHA-256. Raises IntegrityError, OSError."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    outer, inner = sha256(os.pread(descriptor, HEADER_BYTES, 0)), sha256()
    for sealed, plain in decrypt_segments(key, file, descriptor, path):
        outer.update(sealed)
        inner.update(plain)
        report(len(plain))
    if inner.hexdigest() != file.sha256:
        raise damaged(str(path), "its bytes are not those of its name")
    return outer.hexdigest()


def write_plain(key: SealKey, file: PackageFile, source: int, target: int, path: Path, report: Report) -> None:
    """Unseal an open file into an empty open one and sync it. path: of the source. Raises IntegrityError, OSError."""
    digest = sha256()
    for _, plain in decrypt_segments(key, file, source, path):
        digest.update(plain)
        write_all(target, plain)
        report(len(plain))
    if digest.hexdigest() != file.sha256:
        raise damaged(str(path), "its bytes are not those of its name")
    os.fsync(target)


def decrypt_segments(
    key: SealKey, file: PackageFile, descriptor: int, path: Path
) -> Iterator[tuple[memoryview, memoryview]]:
    """(ciphertext, plaintext) of each segment, both overwritten by the next. Raises IntegrityError, OSError."""
    header = read_header(descriptor, key.cipher, file.num_bytes, path)
    cipher = key.segment_cipher(file, header.salt)
    largest = segment_bytes(file.num_bytes, 0)
    sealed, plain = memoryview(bytearray(largest + TAG_BYTES)), memoryview(bytearray(largest))
    for index in range(num_segments(file.num_bytes)):
        size = segment_bytes(file.num_bytes, index)
        read_whole(descriptor, sealed[:size], HEADER_BYTES + index * SEGMENT_BYTES, path)
        sealed[size : size + TAG_BYTES] = header.tag(index)
        if not cipher.open_into(index, sealed[: size + TAG_BYTES], plain[:size]):
            raise damaged(str(path), f"segment {index} is not what was sealed")
        yield sealed[:size], plain[:size]


def hash_sealed(path: Path, report: Report = lambda _: None) -> str:
    """SHA-256 of all bytes of a sealed file, the pages of which are dropped again; takes no key. Raises StorageError.

    report: of bytes of plaintext.
    """
    digest, buffer, done = sha256(), memoryview(bytearray(SEGMENT_BYTES)), 0
    with storage_errors(path), path.open("rb", buffering=0) as file:
        while got := os.preadv(file.fileno(), [buffer], done):
            digest.update(buffer[:got])
            os.posix_fadvise(file.fileno(), done, got, os.POSIX_FADV_DONTNEED)
            report(max(0, done + got - max(done, HEADER_BYTES)))
            done += got
    return digest.hexdigest()


def read_whole(descriptor: int, buffer: memoryview, offset: int, path: Path) -> None:
    """Raises IntegrityError if the file ends before, OSError."""
    done = 0
    while done < len(buffer):
        got = os.preadv(descriptor, [buffer[done:]], offset + done)
        if got == 0:
            raise damaged(str(path), "it is too short")
        done += got


def _plain_segments(descriptor: int, file: PackageFile) -> Iterator[memoryview]:
    """Of exactly the file's size; a file that is shorter yields less."""
    buffer = memoryview(bytearray(min(SEGMENT_BYTES, file.num_bytes)))
    for index in range(num_segments(file.num_bytes)):
        size, done = segment_bytes(file.num_bytes, index), 0
        while done < size and (got := os.preadv(descriptor, [buffer[done:size]], index * SEGMENT_BYTES + done)):
            done += got
        yield buffer[:done]
