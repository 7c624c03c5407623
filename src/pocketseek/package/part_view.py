"""A speech part as a folder of files, which is what engines want to open.

Of a plain package the folder has links to chunks: a file of one chunk is that chunk. A file of several is copied once,
checked on the way; the copy lies in the cache and is made anew when it was touched or another version is there. Of a
sealed package every file is decrypted into memory (sealing/memory_file.py), each segment checked by its tag, and the
folder has links to it that lead somewhere in this process alone: no plaintext is on the disk.

Opening checks a package as `Package.open` does: the manifest, sizes, hashes of what the marker does not vouch for, and
`admit`. A view may be used until it is closed; that of a plain package stays on the disk for the next one.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

from pocketseek.errors import UnsupportedError
from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.entries import ChunkEntry, Manifest
from pocketseek.package.manifest import version_id
from pocketseek.package.marker import stamp_of
from pocketseek.package.paths import CHUNKS_NAME, chunk_path
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.memory_file import memory_file, path_of
from pocketseek.package.sealing.opened_seal import OpenedSeal
from pocketseek.package.sealing.seal_record import SealRecord, read_record
from pocketseek.package.sealing.sealed_file import damaged
from pocketseek.package.sealing.sealed_reader import SealedReader
from pocketseek.package.speech_part import PartFile, SpeechPart
from pocketseek.package.storage import check_free_space, storage_errors, tree_bytes, write_all
from pocketseek.package.verify import Admit, Mode, Progress, check_chunks, on_settled_manifest

_COPIES_NAME = ".copies.json"
_OPEN_PREFIX = ".open-"
_VERSION_CHARS = 16


class PartView:
    """folder: has the part's files by their names."""

    def __init__(self, folder: Path, part: SpeechPart, resources: ExitStack, heavy: list[int] | None = None) -> None:
        """heavy: descriptors of files that engines read when they open; taken out of this list as they are closed."""
        self.folder = folder
        self.part = part
        self._resources = resources
        self._heavy = [] if heavy is None else heavy

    def was_read(self) -> None:
        """The engine is open, and has read what lies in the folder itself: the memory of decrypted files is given back.
        What lies in folders below it, such as eSpeak NG's data, is read later and stays."""
        _close_all(self._heavy)

    def close(self) -> None:
        self.was_read()
        self._resources.close()


def open_part(
    package_dir: Path,
    views_dir: Path,
    *,
    secret: Secret | None = None,
    admit: Admit | None = None,
    progress: Progress | None = None,
) -> PartView:
    """views_dir: a folder of the cache, for links and copies. secret: of a sealed package; not closed here.

    Raises NotFoundError, FormatError, UnsupportedError (a language model; sealed, and no library or no files in
    memory), IntegrityError, SealError, StorageError, MemoryLimitError, and what admit raises.
    """
    asked, marker_counts = b"", True

    def ask(data: bytes, manifest: Manifest) -> None:
        nonlocal asked, marker_counts
        asked = data
        if admit is not None:
            marker_counts = admit(package_dir, data, manifest).marker_counts

    def check_and_view(manifest: Manifest) -> PartView:
        if manifest.part is None:
            raise UnsupportedError(f"{package_dir} is a language model, not a speech part; `voice` cannot open it")
        mode: Mode = "auto" if marker_counts else "full"
        check_chunks(package_dir, manifest, mode=mode, progress=progress)
        with storage_errors(views_dir):
            views_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            if (record := read_record(package_dir)) is not None:
                return _sealed_view(package_dir, views_dir, manifest, manifest.part, asked, record, secret)
        place = views_dir / f"{package_dir.name}-{version_id(asked)[:_VERSION_CHARS]}"
        _make_plain(package_dir, place, manifest)
        return PartView(place / package_dir.name, manifest.part, ExitStack())

    return on_settled_manifest(package_dir, check_and_view, ask)


def forget_views(name: str, views_dir: Path) -> int:
    """What lies in the cache of a package of that name, in the clear, goes. Returns the bytes freed. Raises
    StorageError."""
    freed_bytes = 0
    with storage_errors(views_dir):
        for folder in list(views_dir.glob("*")) if views_dir.is_dir() else ():
            if (folder.name.rpartition("-")[0] == name and not folder.name.startswith(".")) or _is_left_over(folder):
                freed_bytes += tree_bytes(folder)
                shutil.rmtree(folder, ignore_errors=True)
    return freed_bytes


def _contents(manifest: Manifest) -> Iterator[tuple[PartFile, Sequence[ChunkEntry]]]:
    return manifest.part.files_with_chunks(manifest.chunks) if manifest.part is not None else iter(())


def _make_plain(package_dir: Path, place: Path, manifest: Manifest) -> None:
    """Made beside it and renamed, so that a place of that name is whole; of two who make it the first one wins. The
    folder in it is called like the package: engines show its name."""
    if _is_whole(package_dir, place, manifest):
        return
    copied_bytes = sum(sum(one.num_bytes for one in chunks) for _, chunks in _contents(manifest) if len(chunks) > 1)
    check_free_space(place.parent, copied_bytes)
    with storage_errors(place, needed_bytes=copied_bytes):
        made = _new_place(place.parent)
        try:
            stamps = _fill(package_dir, made / package_dir.name, manifest)
            (made / _COPIES_NAME).write_text(json.dumps(stamps), encoding="utf-8")
            shutil.rmtree(place, ignore_errors=True)
            try:
                made.rename(place)
            except OSError:
                if not _is_whole(package_dir, place, manifest):
                    raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
        _remove_older(place)


def _new_place(views_dir: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{_OPEN_PREFIX}{os.getpid()}-", dir=views_dir))


def _is_left_over(folder: Path) -> bool:
    """Of a process that ended without removing it."""
    number = folder.name.removeprefix(_OPEN_PREFIX).partition("-")[0]
    if not folder.name.startswith(_OPEN_PREFIX) or not number.isdigit() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _fill(package_dir: Path, folder: Path, manifest: Manifest) -> dict[str, str]:
    """Stamps of the copies."""
    stamps: dict[str, str] = {}
    for file, chunks in _contents(manifest):
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if len(chunks) == 1:
            path.symlink_to(chunk_path(package_dir.absolute(), chunks[0].sha256))
            continue
        with path.open("xb") as target:
            for chunk in chunks:
                _copy(package_dir, chunk, target.fileno())
            os.fsync(target.fileno())
        stamps[file.name] = stamp_of(path.stat())
    return stamps


def _is_whole(package_dir: Path, place: Path, manifest: Manifest) -> bool:
    folder = place / package_dir.name
    try:
        stamps = json.loads((place / _COPIES_NAME).read_bytes())
        return all(
            os.readlink(folder / file.name) == str(chunk_path(package_dir.absolute(), chunks[0].sha256))
            if len(chunks) == 1
            else stamp_of((folder / file.name).lstat()) == stamps[file.name]
            for file, chunks in _contents(manifest)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _remove_older(place: Path) -> None:
    """Views of other versions: who has one open has read it, or goes on with what it has open."""
    name = place.name.rpartition("-")[0]
    for other in place.parent.iterdir():
        if other != place and other.name.rpartition("-")[0] == name and not other.name.startswith("."):
            shutil.rmtree(other, ignore_errors=True)


def _copy(package_dir: Path, chunk: ChunkEntry, target: int) -> None:
    path, digest = chunk_path(package_dir, chunk.sha256), sha256()
    with path.open("rb", buffering=0) as source:
        while piece := source.read(SEGMENT_BYTES):
            digest.update(piece)
            write_all(target, piece)
    if digest.hexdigest() != chunk.sha256:
        raise damaged(str(path), "its bytes are not those of its name")


def _sealed_view(
    package_dir: Path,
    views_dir: Path,
    manifest: Manifest,
    part: SpeechPart,
    manifest_bytes: bytes,
    record: SealRecord,
    secret: Secret | None,
) -> PartView:
    with ExitStack() as undo:
        place = _new_place(views_dir)
        undo.callback(shutil.rmtree, place, ignore_errors=True)
        folder = place / package_dir.name
        seal = OpenedSeal.open(package_dir, manifest, manifest_bytes, record, secret)
        heavy: list[int] = []
        undo.callback(_close_all, heavy)
        try:
            for file, chunks in _contents(manifest):
                descriptor = _decrypted(seal, file, chunks)
                if "/" in file.name:
                    undo.callback(os.close, descriptor)
                else:
                    heavy.append(descriptor)
                (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
                (folder / file.name).symlink_to(path_of(descriptor))
        finally:
            seal.close()
        resources = undo.pop_all()
    return PartView(folder, part, resources, heavy)


def _decrypted(seal: OpenedSeal, file: PartFile, chunks: Sequence[ChunkEntry]) -> int:
    descriptor = memory_file(f"pocketseek {file.name.rpartition('/')[2]}")
    try:
        for chunk in chunks:
            with SealedReader(seal.chunk(CHUNKS_NAME, chunk.sha256)) as reader:
                while piece := reader.read(SEGMENT_BYTES):
                    write_all(descriptor, memoryview(piece))
    except BaseException:  # also Ctrl-C: what was decrypted does not stay, and it is raised again
        os.close(descriptor)
        raise
    return descriptor


def _close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())
