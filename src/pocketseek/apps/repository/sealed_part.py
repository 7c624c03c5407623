"""One file that is wanted and is to be sealed: it is encrypted as it arrives, so that no plaintext is ever on the disk.

As `PartFile` (wanted.py), with the form of a sealed file (package/sealing/sealed_file.py): a segment is gathered in
memory, compared with its hash where that is known, encrypted and written; its tag goes into the header. What a killed
process left, or another sealed file of the same plaintext (`seed`), is decrypted, compared, and written anew: every
writing has a salt of its own and seals each segment once, so no key and nonce ever meet twice, whatever somebody did to
the disk. Where only the hash of the whole is known, the whole is compared when it is there.

Before it gets its name the file is synced, read back from the disk and decrypted.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from pocketseek.apps.repository.wanted import MOST_STRIKES, WantedFile, contradiction, too_often
from pocketseek.errors import IntegrityError
from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.sealing.ciphers import SALT_BYTES, TAG_BYTES, SegmentCipher
from pocketseek.package.sealing.seal_record import PackageFile
from pocketseek.package.sealing.sealed_file import (
    FIRST_TAG,
    HEADER_BYTES,
    SealKey,
    check_sealed,
    num_segments,
    parse_header,
    read_whole,
    render_header,
    segment_bytes,
)
from pocketseek.package.sealing.secret_memory import secret_map
from pocketseek.package.storage import write_all

_AGAIN_SUFFIX = ".again"


class SealedPart:
    """Use in `with`; raises OSError. Not thread-safe. `finish` tells `sealed` the SHA-256 of the sealed file."""

    def __init__(
        self,
        wanted: WantedFile,
        key: SealKey,
        sealed: Callable[[PackageFile, str], None],
        *,
        seed: Path | None = None,
        is_fresh: bool = False,
    ) -> None:
        """is_fresh: nothing that is there is gone on with."""
        if wanted.sha256 is None:
            raise ValueError("what is sealed is bound to its hash")
        folder = wanted.path.partition("/")[0]
        self._wanted = wanted
        self._file = PackageFile(folder, wanted.sha256, wanted.num_bytes, wanted.segments)
        self._key = key
        self._sealed = sealed
        self._strikes = [0] * num_segments(wanted.num_bytes)
        self._outer = ""
        self._plain = memoryview(secret_map(max(1, segment_bytes(wanted.num_bytes, 0))))
        self._descriptor = -1
        self._tail, self._tail_bytes = 0, 0  # the segment that the last bytes belong to, and how many they are
        try:
            self._begin([] if is_fresh else [wanted.part, *([seed] if seed is not None else [])])
        except BaseException:  # also Ctrl-C: it does not stay open, and it is raised again
            self.__exit__()
            raise

    def __enter__(self) -> SealedPart:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def num_kept(self) -> int:
        """Bytes that need not be fetched, as far as known by now."""
        return sum(self._size(index) for index, good in enumerate(self._good) if good) + self._tail_bytes

    def next_offset(self) -> int | None:
        """Where to go on; None when all is there. Raises DownloadError."""
        for index, good in enumerate(self._good):
            if not good:
                if index != self._tail:
                    self._tail, self._tail_bytes = index, 0
                return index * SEGMENT_BYTES + self._tail_bytes
        if self._is_whole():
            return None
        self._begin([])
        return 0

    def write(self, piece: bytes | memoryview) -> bool:
        """What follows at `next_offset`. False: go on elsewhere. Raises DownloadError when it was wrong too often."""
        view = memoryview(piece)
        while view:
            if self._tail >= len(self._good):  # more than there is to be
                return False
            taken = view[: self._size(self._tail) - self._tail_bytes]
            self._plain[self._tail_bytes : self._tail_bytes + len(taken)] = taken
            self._tail_bytes += len(taken)
            view = view[len(taken) :]
            if self._tail_bytes == self._size(self._tail) and not self._end_segment():
                return False
        return True

    def finish(self) -> None:
        """Give it its name; after `next_offset` said None."""
        os.replace(self._wanted.part, self._wanted.target)
        self._sealed(self._file, self._outer)

    # -- a writing ---------------------------------------------------------------------------------------------------

    def _begin(self, seeds: list[Path]) -> None:
        """A new file with a new key, and what is good of the seeds."""
        self.__exit__()
        salt = secrets.token_bytes(SALT_BYTES)
        self._cipher: SegmentCipher = self._key.segment_cipher(self._file, salt)
        self._good = [False] * num_segments(self._file.num_bytes)
        self._tail, self._tail_bytes = 0, 0
        again = self._wanted.part.with_name(self._wanted.part.name + _AGAIN_SUFFIX)
        again.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(again, flags, 0o644)
        tags = bytes(num_segments(self._file.num_bytes) * TAG_BYTES)
        self._put(0, render_header(self._key.cipher, self._file.num_bytes, salt, tags))
        for seed in seeds:
            self._take_over(seed)
        if not self._file.num_bytes:
            self._end_segment()
        os.replace(again, self._wanted.part)

    def _take_over(self, seed: Path) -> None:
        """What is good of another sealed file of the same plaintext, maybe unfinished, maybe damaged."""
        if not seed.is_file() or seed.is_symlink():
            return
        with suppress(FileNotFoundError, IntegrityError), seed.open("rb", buffering=0) as opened:
            descriptor = opened.fileno()
            head = os.pread(descriptor, HEADER_BYTES, 0)
            header = parse_header(head, self._key.cipher, self._file.num_bytes, str(seed))
            cipher = self._key.segment_cipher(self._file, header.salt)
            raw = memoryview(bytearray(len(self._plain) + TAG_BYTES))
            for index in (index for index, good in enumerate(self._good) if not good):
                size = self._size(index)
                with suppress(IntegrityError):
                    read_whole(descriptor, raw[:size], HEADER_BYTES + index * SEGMENT_BYTES, seed)
                    raw[size : size + TAG_BYTES] = header.tag(index)
                    if cipher.open_into(index, raw[: size + TAG_BYTES], self._plain[:size]) and self._is_good(index):
                        self._seal(index)

    def _end_segment(self) -> bool:
        """The segment is whole. Whether to go on with the next one."""
        ended, self._tail_bytes = self._tail, 0
        if not self._is_good(ended):
            self._strike(ended)
            return False
        self._seal(ended)
        self._tail = ended + 1
        return self._tail >= len(self._good) or not self._good[self._tail]

    def _is_good(self, index: int) -> bool:
        segments = self._file.segments
        return not segments or sha256(self._plain[: self._size(index)]).hexdigest() == segments[index]

    def _seal(self, index: int) -> None:
        """What is in `_plain`; once for each segment of a writing."""
        size = self._size(index)
        sealed = memoryview(self._cipher.seal(index, self._plain[:size]))
        self._put(HEADER_BYTES + index * SEGMENT_BYTES, sealed[:size])
        self._put(FIRST_TAG + index * TAG_BYTES, sealed[size:])
        self._good[index] = True

    def _is_whole(self) -> bool:
        """Synced, read back, decrypted and compared. Raises DownloadError if there is no hope."""
        os.fsync(self._descriptor)
        try:
            self._outer = check_sealed(self._key, self._file, self._descriptor, self._wanted.part, lambda _: None)
            return True
        except IntegrityError as error:
            if self._file.segments:
                os.unlink(self._wanted.part)
                raise contradiction(self._wanted) from error
            self._strike(0)
            return False

    def _strike(self, index: int) -> None:
        self._strikes[index] += 1
        if self._strikes[index] >= MOST_STRIKES:
            start = index * SEGMENT_BYTES if self._file.segments else 0
            raise too_often(self._wanted, start, start + self._size(index))

    def _put(self, offset: int, data: bytes | memoryview) -> None:
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        write_all(self._descriptor, data)

    def _size(self, index: int) -> int:
        return segment_bytes(self._file.num_bytes, index)
