"""An export's folder: made beside its destination, described by model.json, put in place at the end or not at all.

Constants of graphs lie in files of at most 100 MB beside them (`NAME.onnx.data-000`, ...), each at a multiple of 4 KiB,
so that they can be mapped. An export that stands at the destination is replaced; anything else there is refused.
A writer that was killed leaves hidden neighbours, which the next one at that destination clears: if it was killed just
when the old export had been moved away, that one is put back first.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import onnx
from onnx import TensorProto

from pocketseek.errors import FormatError, UsageError
from pocketseek.package.install import remove_tree
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import JsonValue
from pocketseek.package.paths import partial_path, trash_path
from pocketseek.package.storage import check_free_space, storage_errors, sync_dir, write_file

FORMAT = "pocketseek-onnx"
VERSION = 1
DESCRIPTION_NAME = "model.json"
MAX_DATA_BYTES = 100_000_000

_ALIGNMENT = 4096
_LEAST_EXTERNAL_BYTES = 1024
_MAX_DESCRIPTION_BYTES = 64 << 20
_HASH_PIECE_BYTES = 1 << 20


class ExportFolder:
    """Use in `with`; without `commit` nothing stays. path: where files go meanwhile.

    Raises on entering UsageError (the destination is something else), BusyError, StorageError.
    """

    def __init__(self, destination: Path, *, expected_bytes: int) -> None:
        self._destination = Path(os.path.realpath(destination))
        if not self._destination.name:
            raise UsageError(f"{destination} cannot be an export; name a directory to create")
        self.path = partial_path(self._destination)
        self._expected_bytes = expected_bytes
        self._resources = ExitStack()

    def __enter__(self) -> ExportFolder:
        with ExitStack() as undo, storage_errors(self._destination):
            self._destination.parent.mkdir(parents=True, exist_ok=True)
            check_replaceable(self._destination)
            undo.enter_context(destination_lock(self._destination))
            _put_back(self._destination)
            undo.callback(self._clear)
            self._clear()
            check_free_space(self._destination.parent, self._expected_bytes)
            self.path.mkdir()
            self._resources = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def add_file(self, name: str, data: bytes) -> None:
        """Raises FormatError for a name that the export has for something else."""
        if name == DESCRIPTION_NAME or (self.path / name).exists():
            raise FormatError(f"the package has a file called {name}, as the export has; convert the model again")
        with storage_errors(self._destination):
            write_file(self.path / name, data)

    def add_graph(self, name: str, model: onnx.ModelProto) -> list[str]:
        """Writes name and its data files, and returns all their names. The model's constants are taken out of it."""
        with storage_errors(self._destination):
            names = _move_constants_out(self.path, name, model)
            write_file(self.path / name, model.SerializeToString())
        return [name, *names]

    def remove(self, names: list[str]) -> None:
        with storage_errors(self._destination):
            for name in names:
                (self.path / name).unlink()

    def commit(self, description: dict[str, JsonValue]) -> None:
        with storage_errors(self._destination):
            files = {path.name: _settled(path) for path in sorted(self.path.iterdir())}
            whole = {"format": FORMAT, "version": VERSION} | description | {"files": files}
            write_file(self.path / DESCRIPTION_NAME, (json.dumps(whole, indent=1) + "\n").encode())
            sync_dir(self.path)
            _install(self.path, self._destination)

    def _clear(self) -> None:
        for path in (self.path, trash_path(self._destination)):
            if os.path.lexists(path):
                remove_tree(path)


def check_replaceable(destination: Path) -> None:
    """Raises UsageError unless the destination is free, empty, or an export."""
    if not os.path.lexists(destination) or _is_export(destination):
        return
    if destination.is_dir() and not any(destination.iterdir()):
        return
    raise UsageError(f"{destination} exists and is not an export; choose another destination or move it away")


def _is_export(path: Path) -> bool:
    description = path / DESCRIPTION_NAME
    if not description.is_file():
        return False
    with description.open("rb") as file:
        return f'"{FORMAT}"'.encode() in file.read(_MAX_DESCRIPTION_BYTES)


def _put_back(destination: Path) -> None:
    """The old export of a writer that was killed between the two renames of `_install`."""
    trash = trash_path(destination)
    if _is_export(trash) and not os.path.lexists(destination):
        os.rename(trash, destination)
        sync_dir(destination.parent)


def _install(partial: Path, destination: Path) -> None:
    """Two renames where an export stands: killed between them, the old one is in the trash beside it (`_put_back`)."""
    if destination.is_dir() and any(destination.iterdir()):
        os.rename(destination, trash_path(destination))
    os.rename(partial, destination)
    sync_dir(destination.parent)


def _move_constants_out(folder: Path, name: str, model: onnx.ModelProto) -> list[str]:
    names: list[str] = []
    data = bytearray()
    for constant in model.graph.initializer:
        raw = constant.raw_data
        if len(raw) < _LEAST_EXTERNAL_BYTES:
            continue
        start = -(-len(data) // _ALIGNMENT) * _ALIGNMENT
        if names and start + len(raw) > MAX_DATA_BYTES:
            write_file(folder / names[-1], bytes(data))
            data.clear()
            start = 0
        if not names or start == 0:
            names.append(f"{name}.data-{len(names):03d}")
        data.extend(bytes(start - len(data)))
        data.extend(raw)
        _point_to(constant, names[-1], start, len(raw))
    if names:
        write_file(folder / names[-1], bytes(data))
    return names


def _point_to(constant: TensorProto, file_name: str, offset: int, num_bytes: int) -> None:
    constant.ClearField("raw_data")
    constant.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file_name), ("offset", str(offset)), ("length", str(num_bytes))):
        constant.external_data.add(key=key, value=value)


def _settled(path: Path) -> dict[str, JsonValue]:
    """What a file is, once it is on the disk: ONNX Runtime leaves that to the system."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        os.fsync(file.fileno())
        while piece := file.read(_HASH_PIECE_BYTES):
            digest.update(piece)
    return {"sha256": digest.hexdigest(), "num_bytes": path.stat().st_size}
