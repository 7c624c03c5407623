"""What weights are read from: the chunk files of a plain package, or those of a sealed one."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pocketseek.package.reader import Package
from pocketseek.runtime.residency.chunk_files import ChunkFiles
from pocketseek.runtime.residency.sealed_files import SealedChunkFiles


class WeightFiles(Protocol):
    """needs_filling: what is kept in memory is not there by being used; `warm` comes first. read_grid_bytes: reads
    shall end at multiples of it (0: anywhere). filled_bytes: anonymous memory that `warm` took and `drop` gives back.
    expect_streaming: whether memory is short from now on, so that what was warmed leaves nothing in the page cache
    besides, and takes no more than its own pages. view: the file's bytes, mapped so that one can ask what of it is in
    the page cache.

    Chunks are the manifest's indices. Errors are IntegrityError and StorageError.
    """

    @property
    def needs_filling(self) -> bool: ...

    @property
    def read_grid_bytes(self) -> int: ...

    @property
    def filled_bytes(self) -> int: ...

    @property
    def is_direct(self) -> bool: ...

    @property
    def num_touched(self) -> int: ...

    @property
    def has_bad(self) -> bool: ...

    def read(self, chunk: int, offset: int, buffer: memoryview) -> None: ...

    def warm(self, chunk: int, offset: int, num_bytes: int) -> None: ...

    def forget(self, chunk: int, offset: int, num_bytes: int) -> None: ...

    def evict(self, chunk: int, offset: int, num_bytes: int) -> None: ...

    def view(self, chunk: int) -> NDArray[np.uint8]: ...

    def drop(self, chunk: int, offset: int, num_bytes: int) -> None: ...

    def prefetch(self, chunk: int, offset: int, num_bytes: int) -> None: ...

    def is_in_memory(self, chunk: int, offset: int, num_bytes: int) -> bool: ...

    def bytes_at(self, chunk: int, offset: int, num_bytes: int) -> bytes: ...

    def expect_streaming(self, expected: bool) -> None: ...

    def use_direct(self, direct: bool) -> None: ...

    def check_all(self) -> None: ...

    def mark_bad(self, chunk: int) -> None: ...

    def heal(self) -> list[int]: ...

    def descriptor(self, chunk: int) -> int: ...

    def close(self) -> object: ...


def open_files(package: Package) -> WeightFiles:
    return ChunkFiles(package) if package.seal is None else SealedChunkFiles(package, package.seal)
