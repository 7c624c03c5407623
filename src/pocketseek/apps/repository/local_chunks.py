"""Chunks that some installed model has already: taken from there instead of fetched.

A hard link where the file system has them (no writer changes a chunk in place), a copy elsewhere. What a model's marker
does not vouch for is hashed before it is used; what is damaged there is fetched after all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.repository.wanted import Part, PartFile, WantedFile, hash_descriptor
from pocketseek.errors import DownloadError
from pocketseek.package.entries import ChunkEntry
from pocketseek.package.marker import read_marker, stamp_of
from pocketseek.package.paths import chunk_path
from pocketseek.package.store import ModelStore

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class LocalChunk:
    """stamp: with which its model vouches for it, if it does."""

    path: Path
    stamp: str | None


def find_local(models_dir: Path, wanted: Iterable[str]) -> Mapping[str, LocalChunk]:
    """By hash: which of the wanted chunks installed models have. Raises StorageError."""
    left, found = set(wanted), dict[str, LocalChunk]()
    for model in ModelStore(models_dir).list():
        shared = left & {entry.sha256 for entry in model.manifest.chunks}
        stamps = read_marker(model.path) if shared else {}
        for sha256 in shared:
            found[sha256] = LocalChunk(chunk_path(model.path, sha256), stamps.get(sha256))
        left -= shared
    return found


def is_good(path: Path, entry: ChunkEntry, stamp: str | None) -> bool:
    """Whether a file is that chunk: vouched for by a stamp, or by its hash."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        if status.st_size != entry.num_bytes:
            return False
        return stamp_of(status) == stamp or hash_descriptor(descriptor, entry.num_bytes) == entry.sha256
    except OSError:  # cannot be read: it is as good as damaged
        return False
    finally:
        os.close(descriptor)


def take(
    local: LocalChunk, entry: ChunkEntry, wanted: WantedFile, open_part: Callable[[WantedFile], Part] = PartFile
) -> bool:
    """Have a wanted chunk in place from here. False if it is no good. Raises OSError, StorageError.

    open_part: how it is kept; only a plain file may be a link to the other.
    """
    if not is_good(local.path, entry, local.stamp):
        return False
    if open_part is not PartFile:
        return _copied(local.path, wanted, open_part)
    with suppress(
        OSError, AttributeError
    ):  # no hard links here, another disk, or Termux's Python, which has no os.link
        os.link(local.path, wanted.target, follow_symlinks=False)
        return True
    return _copied(local.path, wanted, open_part)


def _copied(path: Path, wanted: WantedFile, open_part: Callable[[WantedFile], Part]) -> bool:
    """Hashed as it is copied, since it may change meanwhile. What the part has already is left out."""
    with path.open("rb", buffering=0) as file, open_part(wanted) as part, suppress(DownloadError):
        before = -1
        while (offset := part.next_offset()) is not None:
            file.seek(offset)
            piece = file.read(_PIECE_BYTES)
            if not piece or offset <= before:  # what was given for this place was no good
                return False
            before = offset
            part.write(piece)  # False, too, where what follows is there already
        part.finish()
        return True
    return False
