"""Reading a package: tensors as views into memory-mapped chunks, used as they lie on disk.

Opening checks the manifest and that every chunk and file is there with its size; `verify` says what is hashed then:
"auto" (the default) what the marker does not vouch for (so: all of it before first use, nothing on a warm start, what
was touched since), "full" everything, "quick" nothing. Views are read-only and start at multiples of 16 KiB.

A sealed package opens with its secret. Its chunks are memory that is empty at first (sealing/secret_memory.py): only a
caller that fills it before it looks gives a secret, which is the runtime; others get a SealError.

A package in use may be replaced or removed: the mapped chunks live on until their last view is gone. Do not write into
chunk files, though; what is mapped changes under the reader, and truncating one kills it (SIGBUS).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import FormatError, IntegrityError, NotFoundError
from pocketseek.package.manifest import Extent, Manifest
from pocketseek.package.marker import stamp_of
from pocketseek.package.paths import FILES_NAME, chunk_path
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.opened_seal import OpenedSeal
from pocketseek.package.sealing.seal_record import read_record
from pocketseek.package.sealing.secret_memory import SecretMemory
from pocketseek.package.storage import storage_errors
from pocketseek.package.verify import (
    Admit,
    Mode,
    Progress,
    check_chunks,
    on_settled_manifest,
    read_checked_file,
)

if TYPE_CHECKING:
    from pocketseek.package.trust.judge import TrustState

_MAX_TRIES = 3


@dataclass(frozen=True)
class StoredPart:
    """A run of tile rows, beginning with tile row `first_tile` of the tensor. data: uint8, 1-D, read-only."""

    first_tile: int
    data: NDArray[np.uint8]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in its stored format (formats.py). More than one part only when it is larger than a chunk."""

    name: str
    format: str
    shape: tuple[int, ...]
    stage: str
    parts: tuple[StoredPart, ...]


class Package:
    """An open package; made by `Package.open`. Reading is thread-safe, closing is not."""

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        maps: Mapping[str, mmap.mmap],
        stamps: Mapping[str, str] | None = None,
        trust: TrustState | None = None,
    ) -> None:
        """maps, stamps: by chunk hash; see `stamps`. trust: if somebody was asked."""
        self.seal: OpenedSeal | None = None
        """Of a sealed package, which has no maps."""
        self.memory: Mapping[str, SecretMemory] = {}
        """Of a sealed package, by chunk hash: where its chunks are to be decrypted to."""
        self.path = path
        self.manifest = manifest
        self.trust = trust
        self.stamps = dict(stamps or {})
        """What the chunk files were known by when they were checked (marker.py)."""
        self._maps: Mapping[str, mmap.mmap] = maps
        self._chunks: dict[str, NDArray[np.uint8]] | None = {
            sha256: np.frombuffer(mapped, np.uint8) for sha256, mapped in maps.items()
        }
        self._tensors = {entry.name: entry for entry in manifest.tensors}

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        verify: Mode = "auto",
        progress: Progress | None = None,
        secret: Secret | None = None,
        admit: Admit | None = None,
    ) -> Package:
        """Check and map the package in a directory. progress(done_bytes, total_bytes) is called while hashing. secret:
        of a sealed one, whose chunks are then to be filled before they are used.

        admit: asked with the bytes of the manifest that is used then (trust/judge.py). A package that is signed and
        lies outside the data directory is hashed at every opening: its marker came from where it came from.
        Raises NotFoundError, FormatError (not a package), IntegrityError (damage), StorageError (unreadable), SealError
        (sealed, and no or the wrong secret), UnsupportedError (sealed, and no library for it), MemoryLimitError, and
        what admit raises.
        """
        trust: TrustState | None = None
        asked = b""

        def ask(data: bytes, manifest: Manifest) -> None:
            nonlocal trust, asked
            asked = data
            trust = None if admit is None else admit(path, data, manifest)

        def check_and_map(manifest: Manifest) -> Package:
            mode: Mode = "full" if verify == "auto" and trust is not None and not trust.marker_counts else verify
            if (record := read_record(path)) is not None:
                check_chunks(path, manifest, mode=mode, progress=progress)
                return cls._of_sealed(path, manifest, OpenedSeal.open(path, manifest, asked, record, secret), trust)
            for _ in range(_MAX_TRIES):
                stamps = check_chunks(path, manifest, mode=mode, progress=progress)
                maps = _map_chunks(path, manifest, stamps)
                if maps is not None:
                    return cls(path, manifest, maps, stamps, trust)
            raise IntegrityError(f"{path} changes while it is being opened; try again when nothing writes to it")

        return on_settled_manifest(path, check_and_map, ask)

    @classmethod
    def _of_sealed(cls, path: Path, manifest: Manifest, seal: OpenedSeal, trust: TrustState | None) -> Package:
        package = cls(path, manifest, {}, trust=trust)
        package.seal = seal
        package.memory = {entry.sha256: SecretMemory(entry.num_bytes) for entry in manifest.unique_chunks()}
        package._chunks = {sha256: memory.data for sha256, memory in package.memory.items()}
        return package

    def __enter__(self) -> Package:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def has_tensor(self, name: str) -> bool:
        return name in self._tensors

    def tensor(self, name: str) -> StoredTensor:
        """Views of a tensor's bytes. Raises FormatError if the package has no such tensor, ValueError when closed."""
        entry = self._tensors.get(name)
        if entry is None:
            raise FormatError(f"{self.path} has no tensor {name}; convert the model again")
        parts = tuple(StoredPart(extent.first_tile, self._view(extent)) for extent in entry.extents)
        return StoredTensor(entry.name, entry.format, entry.shape, entry.stage, parts)

    def has_file(self, name: str) -> bool:
        return name in self.manifest.files

    def file(self, name: str) -> bytes:
        """The bytes of a file, checked against their hash. Raises NotFoundError, IntegrityError, StorageError,
        UnsupportedError (whoever asks takes a speech part for a model)."""
        entry = self.manifest.files.get(name)
        if entry is None:
            if self.manifest.part is not None:
                raise self.manifest.no_model_error()
            raise NotFoundError(f"{self.path} has no file {name}; convert the model again")
        if self.seal is not None:
            return self.seal.file(FILES_NAME, entry.sha256)
        return read_checked_file(self.path, name, entry)

    def chunk(self, index: int) -> NDArray[np.uint8]:
        """All bytes of the manifest's chunk number `index`; the same array for chunks that are one file."""
        if self._chunks is None:
            raise ValueError(f"the package {self.path} is closed")
        return self._chunks[self.manifest.chunks[index].sha256]

    def advise(self, index: int, advice: int, offset: int, num_bytes: int) -> None:
        """madvise (mmap.MADV_*) for the system's pages that lie whole in these bytes of a chunk, if it takes it.

        Not for sealed packages, whose pages are given back by `SecretMemory.drop`.
        """
        if self.seal is not None:
            raise ValueError(f"{self.path} is sealed; its memory knows what is in it")
        start = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (offset + num_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if self._chunks is not None and start < end:
            with suppress(OSError):
                self._maps[self.manifest.chunks[index].sha256].madvise(advice, start, end - start)

    def close(self) -> None:
        """Let go of the maps. Views that are still held stay valid and keep their chunk mapped until they die."""
        self._chunks, self._maps, self.memory = None, {}, {}
        if self.seal is not None:
            self.seal.close()

    def _view(self, extent: Extent) -> NDArray[np.uint8]:
        return self.chunk(extent.chunk)[extent.offset : extent.offset + extent.num_bytes]


def _map_chunks(package_dir: Path, manifest: Manifest, stamps: Mapping[str, str]) -> dict[str, mmap.mmap] | None:
    """Maps by chunk hash; None if a file is no longer the one that was checked."""
    maps = {}
    for entry in manifest.unique_chunks():
        mapped = _map_file(chunk_path(package_dir, entry.sha256), entry.num_bytes, stamps[entry.sha256])
        if mapped is None:
            return None
        maps[entry.sha256] = mapped
    return maps


def _map_file(path: Path, num_bytes: int, stamp: str) -> mmap.mmap | None:
    """None unless the file has this stamp. The map has a descriptor of its own; every view keeps it alive."""
    with storage_errors(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise IntegrityError(f"{path} vanished while the package was being opened; open it again") from error
        try:
            if stamp_of(os.fstat(descriptor)) != stamp:
                return None
            return mmap.mmap(descriptor, num_bytes, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
