"""A model with an adapter as one package of its own: the same formats, W + scale * B A rounded anew.

Streaming: a slab of rows is dequantised, added to, rounded and written; what the adapter does not touch is copied byte
by byte. Memory is bounded by slabs and by the adapter's largest matrix. Base and adapter stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import pocketseek
from pocketseek.convert.encode import Loss, encode_rows
from pocketseek.convert.package_weights import PackageWeights
from pocketseek.convert.quality import relative_rms_error
from pocketseek.convert.slabs import slab_ranges
from pocketseek.errors import FormatError, SealError, UsageError
from pocketseek.kernels.adapter_lanes import plain_values
from pocketseek.kernels.contract import Floats, TensorData
from pocketseek.package.adapter_layout import SCALES, is_for, matrix_name, refuse_adapter, scale_index
from pocketseek.package.layer_tensors import EXPERT_MATRICES
from pocketseek.package.manifest import JsonValue, Manifest, TensorEntry, read_manifest, render_manifest, version_id
from pocketseek.package.reader import Package
from pocketseek.package.sealing.seal_record import read_record
from pocketseek.package.verify import Admit
from pocketseek.package.writer import PackageWriter

Progress = Callable[[int, int], None]
Change = Callable[[int, int], Floats]
_MARGIN_BYTES = 1 << 20  # manifest and alignment


def merge_adapter(
    base: Path,
    adapter: Path,
    destination: Path,
    *,
    name: str,
    progress: Progress = lambda done_bytes, total_bytes: None,
    admit: Admit | None = None,
    merged_on: date | None = None,
) -> float:
    """Write base + adapter to a new directory, a package called `name`. Returns by how much its merged weights differ
    from the exact sums, relative to their size (root of squares).

    Raises NotFoundError, FormatError, UsageError (not for each other; the destination is there), SealError (one of them
    is sealed), TrustError, IntegrityError, BusyError, StorageError.
    """
    if os.path.lexists(destination):
        raise UsageError(f"{destination} is there already; name a folder to create")
    _check_fit(base, adapter)
    with Package.open(base, admit=admit) as model, Package.open(adapter, admit=admit) as change:
        merge = _Merge(model, change, progress)
        expected_bytes = model.manifest.num_bytes + _MARGIN_BYTES
        with PackageWriter(destination, expected_bytes=expected_bytes) as writer:
            merge.write(writer)
            error = relative_rms_error(merge.loss)
            writer.commit(
                name=name,
                model=model.manifest.model,
                recipe=model.manifest.recipe,
                quality={**model.manifest.quality, "merge": {"relative_rms_error": float(f"{error:.4g}")}},
                provenance=_provenance(model.manifest, change.manifest, merged_on or date.today()),
            )
    return error


class _Merge:
    def __init__(self, model: Package, change: Package, progress: Progress) -> None:
        self.loss = Loss()
        self._model, self._change = model, change
        self._weights = PackageWeights(model)
        self._scales = change.tensor(SCALES).parts[0].data.view(np.float32)
        self._progress = progress
        self._total_bytes = sum(extent.num_bytes for one in model.manifest.tensors for extent in one.extents)
        self._done_bytes = 0

    def write(self, writer: PackageWriter) -> None:
        stage, number = "", 0
        for entry in self._model.manifest.tensors:
            number = number + 1 if entry.stage == stage else 0
            if entry.stage != stage:
                stage = entry.stage
                writer.begin_stage(stage)
            if stage.startswith("experts.") and number % len(EXPERT_MATRICES) == 0:
                writer.keep_together(self._expert(entry))
            writer.add_tensor(entry.name, entry.format, entry.shape, self._pieces(entry))
        for name in self._model.manifest.files:
            writer.add_file(name, self._model.file(name))

    def _expert(self, first: TensorEntry) -> list[tuple[str, tuple[int, ...]]]:
        """Formats and shapes of the expert that begins there."""
        tensors = self._model.manifest.tensors
        start = tensors.index(first)
        return [(one.format, one.shape) for one in tensors[start : start + len(EXPERT_MATRICES)]]

    def _pieces(self, entry: TensorEntry) -> Iterator[NDArray[np.uint8]]:
        stored = self._model.tensor(entry.name)
        change = self._change_of(entry.name)
        if change is None:
            for part in stored.parts:
                yield part.data
                self._advance(part.data.nbytes)
            return
        for start, stop in slab_ranges(entry.shape):
            values = self._weights.rows(entry.name, np.arange(start, stop, dtype=np.int32))
            values += change(start, stop)
            try:
                rows = encode_rows("F32", entry.format, np.ascontiguousarray(values, "<f4").view(np.uint8))
            except FormatError as error:
                raise FormatError(f"{self._model.path}: the sum for {entry.name} {error}") from error
            self.loss += rows.loss
            packed = rows.packed.reshape(-1)
            yield packed
            self._advance(packed.nbytes)

    def _change_of(self, tensor_name: str) -> Change | None:
        """What is added to rows start..stop-1; None: the adapter leaves this tensor alone."""
        parts = tensor_name.split(".")
        if len(parts) != 3 or parts[0] != "layer":
            return None
        model, name = self._model.manifest.model, parts[2]
        is_half = model.mla is not None and name in ("k_b", "v_b")
        layer, target = int(parts[1]), "kv_b" if is_half else name
        names = [matrix_name(layer, target, part) for part in ("a", "b")]
        if not self._change.has_tensor(names[0]):
            return None
        a, b = (plain_values(self._tensor(name)) for name in names)
        b *= self._scales[scale_index(model.num_layers, layer, target)]
        if model.mla is None or not is_half:
            return lambda start, stop: b[:, start:stop].T @ a
        heads = b.reshape(len(b), model.num_heads, -1)
        if name == "k_b":
            return partial(_transposed_rows, a, heads[:, :, : model.mla.nope_dim])
        values = heads[:, :, model.mla.nope_dim :].reshape(len(b), -1)
        return lambda start, stop: values[:, start:stop].T @ a

    def _tensor(self, name: str) -> TensorData:
        stored = self._change.tensor(name)
        return TensorData(stored.format, stored.shape, tuple((part.first_tile, part.data) for part in stored.parts))

    def _advance(self, num_bytes: int) -> None:
        self._done_bytes += num_bytes
        self._progress(self._done_bytes, self._total_bytes)


def _transposed_rows(a: Floats, keys: Floats, start: int, stop: int) -> Floats:
    """Of k_b, which has for each head (latents, nope_dim). a (rank, latents), keys (rank, heads, nope_dim)."""
    size = a.shape[1]
    parts = [
        a[:, max(0, start - head * size) : stop - head * size].T @ keys[:, head]
        for head in range(start // size, -(-stop // size))
    ]
    return np.concatenate(parts)


def _check_fit(base: Path, adapter: Path) -> None:
    for path in (base, adapter):
        if read_record(path) is not None:
            raise SealError(f"{path} is sealed; `pocketseek unseal` it before it is merged")
    model, change = read_manifest(base), read_manifest(adapter)
    refuse_adapter(model, str(base), "name the model first and the adapter second")
    if change.adapter is None:
        raise UsageError(f"{adapter} is a model, not an adapter; name the model first and the adapter second")
    if not is_for(change, model):
        raise UsageError(
            f"{adapter} was made for {change.adapter.name}, not for {model.name}; merge it with that model"
        )


def _provenance(model: Manifest, adapter: Manifest, merged_on: date) -> dict[str, JsonValue]:
    parts: dict[str, JsonValue] = {
        name: {"name": one.name, "manifest": version_id(render_manifest(one)), "provenance": one.provenance}
        for name, one in (("base", model), ("adapter", adapter))
    }
    return {
        "converter": f"pocketseek {pocketseek.__version__}",
        "date": merged_on.isoformat(),
        "source": {"kind": "merge", **parts},
    }
