"""One chunk while it is being written: a temporary file whose hashes are taken as the bytes pass by."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.entries import ChunkEntry
from pocketseek.package.storage import write_all

_TEMP_NAME = "unfinished"
_BACKDATE_NS = 1_000_000_000


class ChunkFile:
    """Append-only. Holds no data of its own: what `write` gets is hashed and handed to the kernel at once.

    `finish` syncs the file and gives it its hash as a name; `abandon` only closes it. OSErrors are the caller's.
    """

    def __init__(self, chunks_dir: Path, stage: str) -> None:
        self.num_bytes = 0
        self._stage = stage
        self._dir = chunks_dir
        self._whole = hashlib.sha256()
        self._segment = hashlib.sha256()
        self._segments: list[str] = []
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(chunks_dir / _TEMP_NAME, flags, 0o644)

    def write(self, data: memoryview) -> None:
        write_all(self._descriptor, data)
        self._whole.update(data)
        while data:
            taken = data[: SEGMENT_BYTES - self.num_bytes % SEGMENT_BYTES]
            self._segment.update(taken)
            self.num_bytes += len(taken)
            data = data[len(taken) :]
            if self.num_bytes % SEGMENT_BYTES == 0:
                self._end_segment()

    def pad_to(self, offset: int) -> None:
        """Zeros up to `offset`."""
        self.write(memoryview(bytes(offset - self.num_bytes)))

    def finish(self) -> ChunkEntry:
        if self.num_bytes % SEGMENT_BYTES:
            self._end_segment()
        # Backdated, so that any later change gets another mtime than the marker has, however coarse the clock is.
        written_ns = time.time_ns() - _BACKDATE_NS
        os.utime(self._descriptor, ns=(written_ns, written_ns))
        os.fsync(self._descriptor)
        self.abandon()
        entry = ChunkEntry(self._whole.hexdigest(), self.num_bytes, self._stage, tuple(self._segments))
        os.replace(self._dir / _TEMP_NAME, self._dir / entry.sha256)
        return entry

    def abandon(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _end_segment(self) -> None:
        self._segments.append(self._segment.hexdigest())
        self._segment = hashlib.sha256()
