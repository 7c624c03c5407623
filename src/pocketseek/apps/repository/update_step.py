"""One chunk or file that an update brings, and how it comes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.repository.wanted import WantedFile
from pocketseek.package.delta.delta_index import DeltaEntry, delta_path
from pocketseek.package.entries import ChunkEntry
from pocketseek.package.paths import DELTAS_NAME, update_path


@dataclass(frozen=True)
class Step:
    """One chunk or file that is not here. folder: chunks or files. delta: what makes it, or None: it comes whole.
    entry: of a file, with its hash as the only one and no stage. suffix: of names on the disk."""

    folder: str
    entry: ChunkEntry
    delta: DeltaEntry | None

    @property
    def sha256(self) -> str:
        return self.entry.sha256

    @property
    def fetch_bytes(self) -> int:
        return self.entry.num_bytes if self.delta is None else self.delta.num_bytes

    def target(self, package_dir: Path, suffix: str = "") -> Path:
        """Where it is put together."""
        return update_path(package_dir) / self.folder / f"{self.sha256}{suffix}"

    def whole(self, package_dir: Path, suffix: str = "") -> WantedFile:
        """As the source has it."""
        entry = self.entry
        path = f"{self.folder}/{entry.sha256}"
        return WantedFile(path, self.target(package_dir, suffix), entry.num_bytes, entry.sha256, entry.segments)

    def wanted(self, package_dir: Path, suffix: str = "") -> WantedFile:
        """What is to be fetched for it."""
        if self.delta is None:
            return self.whole(package_dir, suffix)
        target = update_path(package_dir) / DELTAS_NAME / f"{self.delta.sha256}{suffix}"
        return WantedFile(delta_path(self.delta.sha256), target, self.delta.num_bytes, self.delta.sha256)
