"""One of two packages that are compared: mapped if it is plain, decrypted chunk by chunk if it is sealed."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.manifest import Manifest
from pocketseek.package.paths import CHUNKS_NAME, SEAL_NAME
from pocketseek.package.reader import Package
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.opened_seal import OpenedSeal
from pocketseek.package.sealing.sealed_reader import SealedReader
from pocketseek.package.sealing.secret_memory import secret_map

_MOST_CHUNKS = 4  # of one side, decrypted at a time


class FileSide(Protocol):
    """What `compare` asks of either."""

    @property
    def manifest(self) -> Manifest: ...

    def chunk(self, index: int) -> NDArray[np.uint8]: ...

    def has_file(self, name: str) -> bool: ...

    def file(self, name: str) -> bytes: ...


@contextmanager
def opened_side(package_dir: Path, secret: Secret | None) -> Iterator[FileSide]:
    """Raises NotFoundError, FormatError, IntegrityError, StorageError, UnsupportedError, SealError."""
    with Package.open(package_dir, secret=secret) as package:
        yield package if package.seal is None else _SealedSide(package, package.seal)


def is_sealed(path: Path) -> bool:
    return os.path.lexists(path / SEAL_NAME)


class _SealedSide:
    """The last few chunks stay in memory. For one thread."""

    def __init__(self, package: Package, seal: OpenedSeal) -> None:
        self._package = package
        self._seal = seal
        self._chunks: OrderedDict[str, NDArray[np.uint8]] = OrderedDict()

    @property
    def manifest(self) -> Manifest:
        return self._package.manifest

    def chunk(self, index: int) -> NDArray[np.uint8]:
        """All bytes of it, checked by their tags. Raises IntegrityError, StorageError."""
        sha256 = self.manifest.chunks[index].sha256
        if sha256 not in self._chunks:
            self._chunks[sha256] = self._decrypted(sha256, self.manifest.chunks[index].num_bytes)
        self._chunks.move_to_end(sha256)
        while len(self._chunks) > _MOST_CHUNKS:
            self._chunks.popitem(last=False)
        return self._chunks[sha256]

    def has_file(self, name: str) -> bool:
        return self._package.has_file(name)

    def file(self, name: str) -> bytes:
        return self._package.file(name)

    def _decrypted(self, sha256: str, num_bytes: int) -> NDArray[np.uint8]:
        memory = memoryview(secret_map(num_bytes))
        with closing(SealedReader(self._seal.chunk(CHUNKS_NAME, sha256))) as reader:
            for start in range(0, num_bytes, SEGMENT_BYTES):
                reader.readinto(memory[start : start + SEGMENT_BYTES])
        return np.frombuffer(memory, np.uint8)
