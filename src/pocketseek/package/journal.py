"""What is needed to go on with an unfinished package, beside its partial directory: `.<name>.pocketseek-resume/`.

    state        SHA-256 of the rest in hexadecimal, a newline, one JSON document: key, package, arrays, work
    NAME.f32     arrays of float32 (little-endian) that the state names with their size and hash

The state is replaced in one step, and that is the commit point: chunks and arrays that it names are synced before, and
what it no longer names is removed afterwards. So a kill or a power cut at any moment leaves the last state whole.
`open` checks every byte of it, arrays and chunks included; what is damaged, was made for another key, or is a symbolic
link, is not used.
The caller holds the destination's lock. Not covered: what `work` means, which is the caller's own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import FormatError
from pocketseek.package.entries import ChunkEntry, TensorEntry
from pocketseek.package.manifest import MAX_MANIFEST_BYTES, parse_chunk_entry, parse_tensor_entry
from pocketseek.package.paths import (
    CHUNKS_NAME,
    DOWNLOAD_NAME,
    NAME_PATTERN,
    SHA256_PATTERN,
    partial_path,
    resume_path,
)
from pocketseek.package.storage import own_dir, sync_dir, write_all, write_file
from pocketseek.package.strict_json import Fields, JsonValue, format_error, load_object

Floats = NDArray[np.float32]
Refusal = Literal["version", "source", "settings", "damaged"]
ResumeKey: TypeAlias = Mapping[Literal["version", "source", "settings"], Mapping[str, JsonValue]]
"""What the work depends on. One part that differs, and what was kept is of no use."""

_STATE_NAME, _NEW_STATE_NAME = "state", "state.new"
_HASH_CHARS = 64
_HASH_PIECE_BYTES = 1 << 20
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_TOP = frozenset({"key", "package", "arrays", "work"})


def is_unfinished(destination: Path) -> bool:
    """Whether something is kept there that the same conversion would go on with."""
    return _is_kept(destination, _STATE_NAME)


def is_download(destination: Path) -> bool:
    """Whether what is kept there is what arrived of a download (apps/repository/receive.py)."""
    return _is_kept(destination, DOWNLOAD_NAME)


def _is_kept(destination: Path, sign: str) -> bool:
    """A folder that is a link is somebody else's: nothing in it is gone on with, and nothing removed."""
    resume, partial = resume_path(destination), partial_path(destination)
    folders = (resume, partial, partial / CHUNKS_NAME)
    return (resume / sign).is_file() and all(folder.is_dir() and not folder.is_symlink() for folder in folders)


class Journal:
    """chunks, tensors: of the whole stages in the partial directory; work: what the caller kept with them, None if
    there is nothing to go on with. refused: why what is there is not used. OSErrors are the caller's."""

    def __init__(self, destination: Path, key: ResumeKey) -> None:
        self.chunks: tuple[ChunkEntry, ...] = ()
        self.tensors: tuple[TensorEntry, ...] = ()
        self.work: Mapping[str, JsonValue] | None = None
        self.refused: Refusal | None = None
        self._directory = resume_path(destination)
        self._chunks_dir = partial_path(destination) / CHUNKS_NAME
        self._destination = destination
        self._key = key
        self._arrays: dict[str, dict[str, JsonValue]] = {}

    def open(self) -> bool:
        """Look for a state that can be gone on with."""
        if not is_unfinished(self._destination):
            return False
        try:
            self._read(_checked((self._directory / _STATE_NAME).read_bytes(), str(self._directory)))
        except FormatError:
            self.refused = "damaged"
        if self.refused is not None:
            self._forget()
        return self.work is not None

    @property
    def num_bytes(self) -> int:
        """On the disk already."""
        arrays = (size for facts in self._arrays.values() if isinstance(size := facts["num_bytes"], int))
        return sum(chunk.num_bytes for chunk in self.chunks) + sum(arrays)

    def array(self, name: str, shape: tuple[int, ...]) -> Floats:
        """One that was kept. Raises FormatError if there is none of that size."""
        values = np.empty(shape, "<f4")
        facts = self._arrays.get(name)
        if facts is None or facts["num_bytes"] != values.nbytes:
            raise format_error(str(self._directory), f"no array {name!r} of {values.nbytes} bytes")
        with self._array_path(name).open("rb") as file:
            if file.readinto(values.reshape(-1).view(np.uint8).data) != values.nbytes:
                raise format_error(str(self._directory), f"the array {name!r} has become shorter")
        return values

    def keep(
        self,
        chunks: Sequence[ChunkEntry],
        tensors: Sequence[TensorEntry],
        work: Mapping[str, JsonValue],
        arrays: Mapping[str, Floats],
    ) -> None:
        """From now on this is what is gone on with. An array whose name was kept already is the same and stays."""
        if self._directory.is_symlink() or not self._directory.is_dir():
            own_dir(self._directory)
            sync_dir(self._directory.parent)  # its own name and that of the partial directory
        facts = {name: self._arrays.get(name) or self._write_array(name, values) for name, values in arrays.items()}
        package = {"chunks": [asdict(chunk) for chunk in chunks], "tensors": [asdict(tensor) for tensor in tensors]}
        state = {"key": self._key, "package": package, "arrays": facts, "work": work}
        body = json.dumps(state, allow_nan=False, separators=(",", ":")).encode("ascii")
        write_file(self._directory / _NEW_STATE_NAME, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        sync_dir(self._chunks_dir)
        os.replace(self._directory / _NEW_STATE_NAME, self._directory / _STATE_NAME)
        sync_dir(self._directory)
        self.work, self._arrays = work, facts
        self._tidy()

    def end(self) -> None:
        """There is nothing to go on with any more."""
        (self._directory / _STATE_NAME).unlink(missing_ok=True)
        self._forget()

    def _read(self, state: Mapping[str, JsonValue]) -> None:
        top = Fields(state, str(self._directory), _TOP)
        self.refused = _difference(top.mapping("key"), self._key)
        if self.refused is not None:
            return
        package = Fields(top.raw("package"), top.where, frozenset({"chunks", "tensors"}))
        self.chunks = tuple(parse_chunk_entry(item, index) for index, item in enumerate(package.items("chunks")))
        self.tensors = tuple(parse_tensor_entry(item, index) for index, item in enumerate(package.items("tensors")))
        for chunk in self.chunks:
            _check_file(self._chunks_dir / chunk.sha256, chunk.num_bytes, chunk.sha256)
        for name, value in top.mapping("arrays").items():
            self._arrays[name] = self._checked_array(name, value)
        self.work = top.mapping("work")

    def _checked_array(self, name: str, value: JsonValue) -> dict[str, JsonValue]:
        where = str(self._directory)
        if not NAME_PATTERN.fullmatch(name):
            raise format_error(where, f"the name {name[:80]!r} is not allowed")
        fields = Fields(value, where, frozenset({"sha256", "num_bytes"}))
        sha256, num_bytes = fields.text("sha256", SHA256_PATTERN), fields.integer("num_bytes", 0, 2**48)
        _check_file(self._array_path(name), num_bytes, sha256)
        return {"sha256": sha256, "num_bytes": num_bytes}

    def _write_array(self, name: str, values: Floats) -> dict[str, JsonValue]:
        data = np.ascontiguousarray(values, "<f4").reshape(-1).view(np.uint8).data
        descriptor = os.open(self._array_path(name), _WRITE_FLAGS, 0o644)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return {"sha256": hashlib.sha256(data).hexdigest(), "num_bytes": len(data)}

    def _tidy(self) -> None:
        named = {_STATE_NAME, *(self._array_path(name).name for name in self._arrays)}
        for path in list(self._directory.iterdir()):
            if path.name not in named:
                path.unlink()

    def _forget(self) -> None:
        self.chunks, self.tensors, self.work, self._arrays = (), (), None, {}

    def _array_path(self, name: str) -> Path:
        return self._directory / f"{name}.f32"


def _checked(data: bytes, where: str) -> Mapping[str, JsonValue]:
    body = data[_HASH_CHARS + 1 :]
    if data[: _HASH_CHARS + 1] != hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise format_error(where, "its hash is another")
    return load_object(body, where, max_bytes=MAX_MANIFEST_BYTES)


def _difference(found: Mapping[str, JsonValue], wanted: ResumeKey) -> Refusal | None:
    """The first part that differs; the version comes first, since another one may have another idea of the rest."""
    parts: tuple[Literal["version", "source", "settings"], ...] = ("version", "source", "settings")
    return next((part for part in parts if found.get(part) != _as_read(wanted[part])), None)


def _as_read(value: Mapping[str, JsonValue]) -> JsonValue:
    """As JSON gives it back: lists, no tuples."""
    read: JsonValue = json.loads(json.dumps(value))
    return read


def _check_file(path: Path, num_bytes: int, sha256: str) -> None:
    """Raises FormatError."""
    digest = hashlib.sha256()
    if path.is_symlink():
        raise format_error(str(path), "is a symbolic link")
    try:
        with path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            while size_bytes == num_bytes and (piece := file.read(_HASH_PIECE_BYTES)):
                digest.update(piece)
    except FileNotFoundError as error:
        raise format_error(str(path), "is missing") from error
    if size_bytes != num_bytes or digest.hexdigest() != sha256:
        raise format_error(str(path), "is not what was written")
