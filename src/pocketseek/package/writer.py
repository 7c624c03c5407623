"""Writing a package: tensors in, one atomic change of the destination out.

Everything is written into a hidden directory beside the destination and synced; `commit` puts it in place (install.py).
Killed at any moment, a writer leaves the old package or the new one, and hidden leftovers that the next writer of the
same destination or `ModelStore.clean` removes. Memory: one piece, whatever the tensor or the model weighs.
Where tensors lie: chunk_series.py.

With a `resume_key` it can be gone on with: `keep` after whole stages makes them outlast an interruption (journal.py),
and the next writer with an equal key has them already.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from pocketseek.errors import MemoryLimitError, PocketseekError, StorageError, UsageError
from pocketseek.formats import MAX_CHUNK_BYTES, tensor_bytes
from pocketseek.package.chunk_series import ChunkSeries, Piece
from pocketseek.package.expert_layout import together_bytes
from pocketseek.package.install import check_replaceable, install, remove_tree, sweep
from pocketseek.package.journal import Floats, Journal, Refusal, ResumeKey, is_unfinished
from pocketseek.package.layout import check_tensor, cut_bytes
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import (
    AdapterBase,
    ChunkEntry,
    FileEntry,
    JsonValue,
    Manifest,
    TensorEntry,
    parse_manifest,
    render_manifest,
)
from pocketseek.package.marker import stamp_of, write_marker
from pocketseek.package.paths import CHUNKS_NAME, FILES_NAME, MANIFEST_NAME, chunk_path, file_path, partial_path
from pocketseek.package.reader import Package
from pocketseek.package.speech_part import PART_STAGE, PartFile, SpeechPart, check_file_name
from pocketseek.package.storage import check_free_space, own_dir, storage_errors, sync_dir, write_file
from pocketseek.types import ModelConfig

_MAY_PASS = (StorageError, MemoryLimitError)  # the same attempt may succeed another time, when there is more room


class PackageWriter:
    """Use in `with`: entering takes the lock and makes the partial directory, leaving removes what was not committed.

    Stages in the order of the pass, tensors in the order they shall lie on disk, then one `commit`. Not thread-safe.
    Raises on entering: UsageError (the destination is something else), BusyError (another writer), StorageError; later
    StorageError; ValueError for calls or piece sizes that are the caller's mistake.
    expected_bytes: the size of the package, if known: refused at once when the disk has less free.
    resume_key: what the package depends on, for one that can be gone on with. fresh: but not with what is there now.
    max_chunk_bytes: smaller only in tests.
    """

    def __init__(
        self,
        destination: Path,
        *,
        expected_bytes: int | None = None,
        resume_key: ResumeKey | None = None,
        fresh: bool = False,
        max_chunk_bytes: int = MAX_CHUNK_BYTES,
    ) -> None:
        self._destination = Path(os.path.realpath(destination))
        self._partial = partial_path(self._destination) if self._destination.name else self._destination
        self._expected_bytes = expected_bytes
        self._resources = ExitStack()
        self._journal = Journal(self._destination, resume_key) if resume_key and self._destination.name else None
        self._fresh = fresh
        self._is_kept = False
        self._refused: Refusal | None = None
        self._ready = False
        self._stage = ""
        self._chunks = ChunkSeries(
            self._partial / CHUNKS_NAME, min(max_chunk_bytes, MAX_CHUNK_BYTES), self._storage_errors
        )
        self._tensors: list[TensorEntry] = []
        self._files: dict[str, FileEntry] = {}
        self._part_files: list[PartFile] = []

    def __enter__(self) -> PackageWriter:
        if not self._destination.name:
            raise UsageError(f"{self._destination} cannot be a package; name a directory to create")
        with ExitStack() as undo, self._storage_errors():
            undo.callback(_remove_if_empty, _missing_parents(self._destination))
            self._destination.parent.mkdir(parents=True, exist_ok=True)
            check_replaceable(self._destination)
            undo.enter_context(destination_lock(self._destination))
            undo.callback(self._clear)
            self._find_unfinished()
            if self._expected_bytes is not None:
                self.require_space(self._expected_bytes)
            for folder in (self._partial, self._partial / CHUNKS_NAME, self._partial / FILES_NAME):
                own_dir(folder)
            self._resources = undo.pop_all()
        self._ready = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ready = False
        may_go_on = error is not None and (not isinstance(error, PocketseekError) or isinstance(error, _MAY_PASS))
        self._is_kept = self._is_kept and may_go_on
        self._resources.close()

    @property
    def is_kept(self) -> bool:
        """Whether there is something that the next writer goes on with; after leaving, too."""
        return self._is_kept

    @property
    def found_work(self) -> Mapping[str, JsonValue] | None:
        """What the last `keep` of an interrupted writer was given; its stages are in this package already."""
        return self._journal.work if self._journal is not None else None

    @property
    def refused(self) -> Refusal | None:
        """Why something that an interrupted writer left is not used."""
        return self._refused

    def found_array(self, name: str, shape: tuple[int, ...]) -> Floats:
        """One of the arrays that `found_work` came with. Raises FormatError if it is not there."""
        if self._journal is None:
            raise ValueError("this writer keeps nothing")
        with self._storage_errors():
            return self._journal.array(name, shape)

    def keep(self, work: Mapping[str, JsonValue], arrays: Mapping[str, Floats]) -> None:
        """The stages written so far shall outlast an interruption, with what the caller needs to go on; the stage begun
        last is over. Arrays of a name that was kept before are not written again. Without a resume_key nothing is done.
        """
        if self._journal is None:
            return
        self._check_ready()
        self._chunks.end_chunk()
        self._stage = ""
        with self._storage_errors():
            self._journal.keep(self._chunks.entries, self._tensors, work, arrays)
        self._is_kept = True

    def require_space(self, num_bytes: int) -> None:
        """num_bytes: what the package, and what is kept, take on the disk. Raises StorageError if that is not free."""
        self._expected_bytes = num_bytes
        there_bytes = self._journal.num_bytes if self._journal is not None else 0
        check_free_space(self._destination.parent, max(0, num_bytes - there_bytes))

    def begin_stage(self, stage: str) -> None:
        self._check_ready()
        self._chunks.begin_stage(stage)
        self._stage = stage

    def keep_together(self, tensors: Iterable[tuple[str, tuple[int, ...]]]) -> None:
        """The next tensors, of these formats and shapes, lie in one chunk: an expert (expert_layout.py)."""
        self._check_ready()
        self._chunks.keep_together(together_bytes(tensors))

    def add_tensor(self, name: str, format: str, shape: tuple[int, ...], pieces: Iterable[Piece]) -> None:
        """`pieces`, one after another, are the tensor's bytes; each is whole tile rows (a vector is one piece)."""
        self._check_ready()
        if not self._stage:
            raise ValueError("begin_stage comes before add_tensor")
        check_tensor(name, format, shape)
        self._ready = False  # until all of it is there: a tensor whose pieces failed cannot be committed
        extents = self._chunks.write(name, tensor_bytes(format, shape), cut_bytes(format, shape), pieces)
        self._tensors.append(TensorEntry(name, format, shape, self._stage, extents))
        self._ready = True

    def add_file(self, name: str, data: bytes) -> None:
        self._check_ready()
        entry = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
        with self._storage_errors():
            write_file(file_path(self._partial, entry.sha256), data)
        self._files[name] = entry

    def add_part_file(self, name: str, num_bytes: int, pieces: Iterable[Piece]) -> None:
        """A file of a speech part, in chunks of its own; `pieces` are its bytes. FormatError for a name that none can
        have."""
        self._check_ready()
        check_file_name(name)
        self._ready = False
        self._chunks.begin_stage(PART_STAGE)
        extents = self._chunks.write(name, num_bytes, 1, pieces) if num_bytes else ()
        self._part_files.append(PartFile(name, len(extents)))
        self._ready = True

    def preview(self, *, name: str, model: ModelConfig) -> Package:
        """What was added so far as an open package, for who wants to look at it before it is committed; close it first.
        All tensors have to be there; more files may follow. FormatError as of `commit`."""
        self._check_ready()
        self._chunks.end_chunk()
        self._put_manifest(self._manifest(name, model, {}, {}, {}))
        return Package.open(self._partial)

    def commit(
        self,
        *,
        name: str,
        model: ModelConfig,
        recipe: Mapping[str, JsonValue],
        quality: Mapping[str, JsonValue],
        provenance: Mapping[str, JsonValue],
        adapter: AdapterBase | None = None,
    ) -> None:
        """Put the package in place. FormatError, and no change, if what was added is no consistent package.

        adapter: of an adapter, whose base looks like `model`.
        """
        self._commit(lambda: self._manifest(name, model, recipe, quality, provenance, adapter))

    def commit_part(self, *, name: str, part: SpeechPart, provenance: Mapping[str, JsonValue]) -> None:
        """The same of a speech part, whose files were added. part: without its files."""
        whole = replace(part, files=tuple(self._part_files))
        self._commit(
            lambda: Manifest(
                name, None, {}, (), tuple(self._chunks.entries), self._files, provenance=provenance, part=whole
            )
        )

    def _commit(self, make_manifest: Callable[[], Manifest]) -> None:
        self._check_ready()
        self._chunks.end_chunk()
        self._ready = False
        self._put_manifest(make_manifest())
        with self._storage_errors():
            for folder in (self._partial / CHUNKS_NAME, self._partial / FILES_NAME, self._partial):
                sync_dir(folder)
            if self._journal is not None and self._destination.is_dir():  # then chunks are moved one by one
                self._journal.end()
                self._is_kept = False
            install(self._partial, self._destination)
        self._is_kept = False

    def _find_unfinished(self) -> None:
        """Take over what an interrupted writer left, or remove it."""
        if self._journal is not None and not self._fresh:
            self._is_kept = self._journal.open()
            self._refused = self._journal.refused
        elif not self._fresh and is_unfinished(self._destination):
            self._refused = "settings"
        sweep(self._destination, keep_unfinished=self._is_kept)
        if self._journal is None or not self._is_kept:
            return
        self._chunks.entries, self._tensors = list(self._journal.chunks), list(self._journal.tensors)
        wanted = {chunk.sha256 for chunk in self._journal.chunks}
        for path in [*self._partial.iterdir(), *(self._partial / CHUNKS_NAME).iterdir()]:
            if path.name != CHUNKS_NAME and path.name not in wanted:
                remove_tree(path)

    def _manifest(
        self,
        name: str,
        model: ModelConfig,
        recipe: Mapping[str, JsonValue],
        quality: Mapping[str, JsonValue],
        provenance: Mapping[str, JsonValue],
        adapter: AdapterBase | None = None,
    ) -> Manifest:
        tensors, chunks = tuple(self._tensors), tuple(self._chunks.entries)
        return Manifest(name, model, recipe, tensors, chunks, self._files, quality, provenance, adapter=adapter)

    def _put_manifest(self, manifest: Manifest) -> None:
        data = render_manifest(manifest)
        parse_manifest(data)  # no reader shall be the first to find a mistake
        with self._storage_errors():
            write_file(self._partial / MANIFEST_NAME, data)
            write_marker(self._partial, {entry.sha256: self._stamp(entry) for entry in manifest.chunks})

    def _stamp(self, entry: ChunkEntry) -> str:
        return stamp_of(chunk_path(self._partial, entry.sha256).stat())

    def _clear(self) -> None:
        self._chunks.abandon()
        if self._is_kept:
            return
        with suppress(OSError):  # the error that brought us here matters more; clean() removes the rest later
            sweep(self._destination)

    def _storage_errors(self) -> AbstractContextManager[None]:
        return storage_errors(self._destination, needed_bytes=self._expected_bytes)

    def _check_ready(self) -> None:
        if not self._ready:
            raise ValueError("the package writer is not open: not entered, failed before, or already committed")


def _missing_parents(path: Path) -> list[Path]:
    """The directories above `path` that do not exist yet, innermost first."""
    return [parent for parent in path.parents if not parent.exists()]


def _remove_if_empty(directories: list[Path]) -> None:
    """After a commit they are not."""
    with suppress(OSError):
        for directory in directories:
            directory.rmdir()
