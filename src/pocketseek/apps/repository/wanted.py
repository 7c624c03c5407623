"""One file that is wanted, and the part of it that is there already.

While it is fetched, a file is called `<name>.part`; its bytes lie where they belong, and it gets its name when every
hash is right and everything is synced. What a killed process left is hashed again, segment by segment, and only what
is missing or wrong is fetched. Nothing here knows where bytes come from.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pocketseek.errors import DownloadError
from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.storage import write_all

_PIECE_BYTES = 1 << 20
_BACKDATE_NS = 1_000_000_000  # so that any later change gets another mtime (package/chunk_file.py)
MOST_STRIKES = 3


@dataclass(frozen=True)
class WantedFile:
    """path: at the source. sha256: None where nobody says. segments: SHA-256 of every 1 MiB, where they are known."""

    path: str
    target: Path
    num_bytes: int
    sha256: str | None
    segments: tuple[str, ...] = ()

    @property
    def part(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def missing_bytes(self) -> int:
        """As far as sizes tell: what still needs room on the disk."""
        if self.target.exists():
            return 0
        return max(0, self.num_bytes - (self.part.stat().st_size if self.part.exists() else 0))


class Part(Protocol):
    """What there is of a wanted file while it is fetched: plain (PartFile), or sealed (sealed_part.py)."""

    def __enter__(self) -> Part: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def num_kept(self) -> int: ...

    def next_offset(self) -> int | None: ...

    def write(self, piece: bytes) -> bool: ...

    def finish(self) -> None: ...


class PartFile:
    """The part of a wanted file. Use in `with`; raises OSError. Not thread-safe."""

    def __init__(self, wanted: WantedFile) -> None:
        self._wanted = wanted
        hashes: tuple[str | None, ...] = wanted.segments or (wanted.sha256,)
        self._hashes = hashes
        self._segment_bytes = SEGMENT_BYTES if wanted.segments else wanted.num_bytes
        self._good = [False] * len(hashes)
        self._strikes = [0] * len(hashes)
        self._tail = 0  # the segment that the last bytes in the file belong to, and how far its hash is
        self._tail_bytes = 0
        self._digest = hashlib.sha256()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(wanted.part, flags, 0o644)
        self._examine()

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def num_kept(self) -> int:
        """Bytes that need not be fetched, as far as known by now."""
        return sum(self._size(index) for index, good in enumerate(self._good) if good) + self._tail_bytes

    def next_offset(self) -> int | None:
        """Where to go on; None when all is there."""
        for index, good in enumerate(self._good):
            if not good:
                if index != self._tail:
                    self._begin(index)
                return index * self._segment_bytes + self._tail_bytes
        return None

    def write(self, piece: bytes) -> bool:
        """What follows at `next_offset`. False: go on elsewhere, the segment was wrong or the next one is there.
        Raises DownloadError when a segment was wrong too often."""
        view = memoryview(piece)
        while view:
            taken = view[: self._size(self._tail) - self._tail_bytes]
            os.lseek(self._descriptor, self._tail * self._segment_bytes + self._tail_bytes, os.SEEK_SET)
            write_all(self._descriptor, taken)
            self._digest.update(taken)
            self._tail_bytes += len(taken)
            view = view[len(taken) :]
            if self._tail_bytes == self._size(self._tail) and not self._end_segment():
                return False
        return True

    def finish(self) -> None:
        """Sync it and give it its name. Raises DownloadError if the whole is not what was wanted after all."""
        wanted = self._wanted
        os.ftruncate(self._descriptor, wanted.num_bytes)
        if wanted.segments and hash_descriptor(self._descriptor, wanted.num_bytes) != wanted.sha256:
            os.unlink(wanted.part)
            raise contradiction(wanted)
        written_ns = time.time_ns() - _BACKDATE_NS
        os.utime(self._descriptor, ns=(written_ns, written_ns))
        os.fsync(self._descriptor)
        os.replace(wanted.part, wanted.target)

    def _examine(self) -> None:
        """Hash what is there already."""
        size_bytes = min(os.fstat(self._descriptor).st_size, self._wanted.num_bytes)
        for index in range(len(self._good)):
            there_bytes = min(size_bytes - index * self._segment_bytes, self._size(index))
            if there_bytes <= 0 and self._size(index):
                break
            self._begin(index)
            self._digest = _digest_of(self._descriptor, index * self._segment_bytes, there_bytes)
            self._tail_bytes = there_bytes
            if there_bytes == self._size(index):
                self._judge()

    def _end_segment(self) -> bool:
        """The segment is whole. Whether to go on with the next one."""
        ended = self._tail
        if not self._judge():
            self._strikes[ended] += 1
            if self._strikes[ended] >= MOST_STRIKES:
                start = ended * self._segment_bytes
                raise too_often(self._wanted, start, start + self._size(ended))
            return False
        following = ended + 1
        if following < len(self._good) and not self._good[following]:
            self._begin(following)
            return True
        return following >= len(self._good)

    def _judge(self) -> bool:
        """Of the segment at hand, whose bytes are all there; it is no tail any more."""
        expected = self._hashes[self._tail]
        good = expected is None or self._digest.hexdigest() == expected
        self._good[self._tail] = good
        self._begin(self._tail)
        return good

    def _begin(self, index: int) -> None:
        self._tail, self._tail_bytes, self._digest = index, 0, hashlib.sha256()

    def _size(self, index: int) -> int:
        return min(self._segment_bytes, self._wanted.num_bytes - index * self._segment_bytes)


def contradiction(wanted: WantedFile) -> DownloadError:
    return DownloadError(
        f"{wanted.path}: the hashes of its segments and of the whole contradict each other; "
        "the package is damaged where it is published: tell who publishes it, or take it from another place"
    )


def too_often(wanted: WantedFile, start: int, end: int) -> DownloadError:
    return DownloadError(
        f"{wanted.path} arrives damaged each time (bytes {start} to {end - 1}); "
        "try another network, or tell who publishes it"
    )


def hash_descriptor(descriptor: int, num_bytes: int) -> str:
    """SHA-256 of the first bytes of an open file. Raises OSError."""
    return _digest_of(descriptor, 0, num_bytes).hexdigest()


def _digest_of(descriptor: int, offset: int, num_bytes: int) -> hashlib._Hash:
    digest = hashlib.sha256()
    end = offset + num_bytes
    while offset < end and (piece := os.pread(descriptor, min(_PIECE_BYTES, end - offset), offset)):
        digest.update(piece)
        offset += len(piece)
    return digest
