"""How what an update brings is kept on the disk: plain here, sealed in sealed_keeping.py.

An update (update.py) decides what comes and when; a `Keeping` knows whether it is here, receives it, puts it together
from a delta, and vouches for the whole before it is switched to. Paths are below the package, or below its update
directory; OSErrors are the caller's.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Protocol

from pocketseek.apps.repository.apply import apply_step
from pocketseek.apps.repository.local_chunks import LocalChunk, is_good, take
from pocketseek.apps.repository.receive import Offer
from pocketseek.apps.repository.update_step import Step
from pocketseek.apps.repository.wanted import Part, PartFile, WantedFile
from pocketseek.package.delta.fit import DeltaFit
from pocketseek.package.entries import ChunkEntry
from pocketseek.package.marker import read_marker, stamp_of, write_marker
from pocketseek.package.paths import chunk_path, update_path
from pocketseek.package.storage import storage_errors


class Keeping(Protocol):
    """suffix: of the names of what arrives."""

    suffix: str

    def is_here(self, folder: str, entry: ChunkEntry, *, check: bool) -> bool:
        """In the package, or arrived with an earlier try. check: hash what is not vouched for, instead of looking at
        sizes. Raises OSError."""
        ...

    def open_part(self, wanted: WantedFile) -> Part: ...

    def resumed_bytes(self, wanted: WantedFile) -> int:
        """Room on the disk that opening its part takes for a moment, beside what is there of it. Raises OSError."""
        ...

    def take(self, local: LocalChunk, entry: ChunkEntry, wanted: WantedFile) -> bool:
        """Have a wanted chunk from another model. False if it is no good there. Raises OSError, StorageError."""
        ...

    def is_delta_there(self, step: Step) -> bool:
        """Fetched by an earlier try and not applied. Raises StorageError."""
        ...

    def apply(self, step: Step, fit: DeltaFit) -> None:
        """What apply_step raises."""
        ...

    def vouch(self, offer: Offer) -> None:
        """Every chunk and file of the next version is here and was hashed. Raises OSError."""
        ...

    def close(self) -> None: ...


class PlainKeeping:
    """A `Keeping`."""

    suffix = ""

    def __init__(self, package_dir: Path) -> None:
        self._dir = package_dir
        self._stamps = read_marker(package_dir)

    def is_here(self, folder: str, entry: ChunkEntry, *, check: bool) -> bool:
        places = (self._dir / folder / entry.sha256, update_path(self._dir) / folder / entry.sha256)
        if check:
            return any(is_good(path, entry, self._stamps.get(entry.sha256)) for path in places)
        return any(path.is_file() and path.stat().st_size == entry.num_bytes for path in places)

    def open_part(self, wanted: WantedFile) -> Part:
        return PartFile(wanted)

    def resumed_bytes(self, wanted: WantedFile) -> int:
        return 0

    def take(self, local: LocalChunk, entry: ChunkEntry, wanted: WantedFile) -> bool:
        return take(local, entry, wanted)

    def is_delta_there(self, step: Step) -> bool:
        if step.delta is None:
            return False
        target = step.wanted(self._dir).target
        if is_good(target, ChunkEntry(step.delta.sha256, step.delta.num_bytes, "", ()), None):
            return True
        with suppress(FileNotFoundError), storage_errors(target):
            target.unlink(missing_ok=True)
        return False

    def apply(self, step: Step, fit: DeltaFit) -> None:
        apply_step(self._dir, step, step.wanted(self._dir).target, fit)

    def vouch(self, offer: Offer) -> None:
        """The marker knows the chunks of the new version before they are used."""
        stamps = {}
        for chunk in offer.manifest.unique_chunks():
            arrived = chunk_path(update_path(self._dir), chunk.sha256)
            place = arrived if arrived.exists() else chunk_path(self._dir, chunk.sha256)
            stamps[chunk.sha256] = stamp_of(place.stat())
        write_marker(self._dir, {**read_marker(self._dir), **stamps})

    def close(self) -> None:
        """Nothing is held."""
