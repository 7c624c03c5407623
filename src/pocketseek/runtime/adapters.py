"""The adapters of one engine: opened by name when first asked for, shared by all requests that name them.

An adapter is copied into memory of its own (anonymous, so that the governor measures it with the rest of the process)
and handed to the kernels once. It is known by the hash of its manifest: what is computed under one version is never
used for another, and a request finds the version that lies there when it is prepared. Those that were used longest ago
go when others need their room; who still runs on one keeps it until he is done.

Threads: any may call; one adapter is opened at a time.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import MemoryLimitError, NotFoundError, UnsupportedError, UsageError
from pocketseek.kernels.contract import LowRank, TensorData
from pocketseek.package.adapter_layout import SCALES, adapter_targets, is_for, matrix_name, scale_index
from pocketseek.package.manifest import Manifest, TensorEntry
from pocketseek.package.marker import stamp_of
from pocketseek.package.paths import MANIFEST_NAME
from pocketseek.package.reader import Package
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.storage import storage_errors
from pocketseek.package.verify import Admit
from pocketseek.runtime.prefix.owners import manifest_id
from pocketseek.runtime.residency.weight_files import WeightFiles, open_files

USUAL_BYTES = 512 << 20  # of adapters that nobody uses now, where nobody says how much memory there is
_SHARE = 8  # an eighth of the memory that there is


@dataclass(frozen=True, eq=False)
class LoadedAdapter:
    """version: of its manifest, which tells what it is. handle: the kernels'.

    may_leave_traces: what is computed with it may be written to disk as the model's own is: not that of a sealed
    adapter of a plain model.
    """

    name: str
    version: str
    num_bytes: int
    handle: object
    may_leave_traces: bool = True


class AdapterSource(Protocol):
    """Where requests get their adapters from."""

    def take(self, name: str) -> LoadedAdapter:
        """Raises NotFoundError, FormatError, IntegrityError, UsageError (for another model), MemoryLimitError,
        StorageError, SealError, TrustError."""
        ...


class AdapterShelf:
    """For one model. find: the package of a name. load: `ModelKernels.load_adapter` of the executor that will use it.
    is_sealed: the model is, so that nothing that is computed is left on disk in the clear anyway. secret_of: what opens
    a sealed package.

    room: how many bytes more the process may take now, and how many there are in all (None: unknown).
    """

    def __init__(
        self,
        model: Manifest,
        find: Callable[[str], Path],
        load: Callable[[Sequence[Mapping[str, LowRank]]], object],
        *,
        is_sealed: bool = False,
        secret_of: Callable[[Path], Secret | None] = lambda path: None,
        admit: Admit | None = None,
    ) -> None:
        self.room: Callable[[], tuple[int, int] | None] = lambda: None
        self._model = model
        self._is_sealed = is_sealed
        self._find = find
        self._load = load
        self._secret_of = secret_of
        self._admit = admit
        self._lock = Lock()
        self._loaded: OrderedDict[str, tuple[str, LoadedAdapter]] = OrderedDict()  # by name, with the manifest's stamp

    @property
    def num_bytes(self) -> int:
        """Of those that are loaded, whether anybody uses them or not."""
        return sum(adapter.num_bytes for _, adapter in list(self._loaded.values()))

    def take(self, name: str) -> LoadedAdapter:
        with self._lock:
            path = self._find(name)
            stamp = _stamp(path)
            known = self._loaded.pop(name, None)
            if known is None or known[0] != stamp:
                known = (stamp, self._open(name, path))
            self._loaded[name] = known
            return known[1]

    def _open(self, name: str, path: Path) -> LoadedAdapter:
        with Package.open(path, secret=self._secret_of(path), admit=self._admit) as package:
            _check_fits(name, package.manifest, self._model)
            num_bytes = sum(extent.num_bytes for tensor in package.manifest.tensors for extent in tensor.extents)
            self._make_room(name, num_bytes)
            files = open_files(package)
            try:
                handle = self._load(_layers(package.manifest, files))
                files.check_all()
            finally:
                files.close()
            may_leave_traces = package.seal is None or self._is_sealed
        return LoadedAdapter(name, manifest_id(package.manifest), num_bytes, handle, may_leave_traces)

    def _make_room(self, name: str, num_bytes: int) -> None:
        room = self.room()
        most_bytes = USUAL_BYTES if room is None else room[1] // _SHARE
        while self._loaded and self.num_bytes + num_bytes > most_bytes:
            self._loaded.popitem(last=False)
        if room is not None and num_bytes > room[0]:
            need_mb, there_mb = -(-num_bytes // 1_000_000), max(0, room[0]) // 1_000_000
            raise MemoryLimitError(
                f"the adapter {name} takes {need_mb} MB and {there_mb} MB are left beside the model; "
                "allow more memory or use an adapter of a lower rank"
            )


def no_adapters(name: str) -> UnsupportedError:
    """Where nobody can compute them."""
    return UnsupportedError(
        f"the adapter {name} cannot be used: ONNX Runtime computes models without adapters only; "
        "use --engine native, or merge it into the model (pocketseek adapt merge)"
    )


def _check_fits(name: str, adapter: Manifest, model: Manifest) -> None:
    if adapter.adapter is None:
        raise UsageError(f"{name} is a model, not an adapter; `pocketseek adapt list` shows the adapters")
    if not is_for(adapter, model):
        raise UsageError(
            f"the adapter {name} was made for {adapter.adapter.name}, not for {model.name}; use it with that model, "
            "or add it to this one with `pocketseek adapt add`"
        )


def _stamp(path: Path) -> str:
    with storage_errors(path):
        try:
            return stamp_of(os.stat(path / MANIFEST_NAME))
        except FileNotFoundError as error:
            raise NotFoundError(f"{path} is no adapter; `pocketseek adapt list` shows what is installed") from error


def _layers(manifest: Manifest, files: WeightFiles) -> list[dict[str, LowRank]]:
    entries = {entry.name: entry for entry in manifest.tensors}
    scales = _data(entries[SCALES], files)[0][1].view(np.float32)
    layers: list[dict[str, LowRank]] = []
    for index in range(manifest.model.num_layers):
        pairs = {}
        for target in adapter_targets(manifest.model, index):
            if (a := entries.get(matrix_name(index, target, "a"))) is not None:
                b = entries[matrix_name(index, target, "b")]
                scale = float(scales[scale_index(manifest.model.num_layers, index, target)])
                pairs[target] = LowRank(_tensor(a, files), _tensor(b, files), scale)
        layers.append(pairs)
    return layers


def _tensor(entry: TensorEntry, files: WeightFiles) -> TensorData:
    return TensorData(entry.format, entry.shape, _data(entry, files))


def _data(entry: TensorEntry, files: WeightFiles) -> tuple[tuple[int, NDArray[np.uint8]], ...]:
    return tuple(
        (one.first_tile, np.frombuffer(files.bytes_at(one.chunk, one.offset, one.num_bytes), np.uint8))
        for one in entry.extents
    )
