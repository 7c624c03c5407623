"""What a repair is about, and where it gets what it has to fetch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.repository.fetch import OpenPart, Progress, fetch_all
from pocketseek.apps.repository.open_source import Link, open_source
from pocketseek.apps.repository.source import PackageSource
from pocketseek.apps.repository.wanted import WantedFile
from pocketseek.errors import IntegrityError
from pocketseek.package.manifest import ChunkEntry, FileEntry
from pocketseek.package.origin import read_origin
from pocketseek.package.storage import check_free_space

_REMEDY = "pull it again, or convert it again from its checkpoint"
_SPARE_BYTES = 8_000_000
Fetch = Callable[[Callable[[WantedFile], None], OpenPart], tuple[int, str]]
"""fetch(finished, open_part): bytes that arrived, and where from."""


@dataclass(frozen=True)
class Damaged:
    """What of a package is not as its manifest says, or not there."""

    chunks: tuple[ChunkEntry, ...]
    files: tuple[FileEntry, ...]

    def __bool__(self) -> bool:
        return bool(self.chunks or self.files)


@dataclass(frozen=True)
class Repaired:
    """address: where fetched_bytes came from; None if nothing had to be fetched."""

    num_chunks: int
    num_files: int
    fetched_bytes: int
    address: str | None


@dataclass(frozen=True)
class Supply:
    """source: given by the caller, who closes it; None: the package's origin. allow(num_bytes): asked before."""

    package_dir: Path
    link: Link
    source: PackageSource | None
    progress: Progress | None
    allow: Callable[[int], None]

    @contextmanager
    def opened(self, files: Sequence[WantedFile]) -> Iterator[Fetch]:
        """Fetch these in the body. Raises IntegrityError if nobody knows where, StorageError, what allow and the source
        raise."""
        source = self.source
        if source is None:
            origin = read_origin(self.package_dir)
            if origin is None:
                raise IntegrityError(
                    f"{self.package_dir}: {len(files)} damaged chunks or files, and nobody noted where it came from; "
                    f"{_REMEDY}"
                )
        needed_bytes = sum(wanted.num_bytes for wanted in files)
        self.allow(needed_bytes)
        check_free_space(self.package_dir, needed_bytes + _SPARE_BYTES)
        opened = open_source(origin.address, self.link) if source is None and origin is not None else source
        assert opened is not None  # one of the two

        def fetch(finished: Callable[[WantedFile], None], open_part: OpenPart) -> tuple[int, str]:
            num_connections = self.link.num_connections
            fetched_bytes = fetch_all(
                opened,
                files,
                num_connections=num_connections,
                progress=self.progress,
                finished=finished,
                open_part=open_part,
            )
            return fetched_bytes, opened.name

        try:
            yield fetch
        finally:
            if self.source is None:
                opened.close()
