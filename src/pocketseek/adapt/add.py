"""An adapter becomes a package (format 4, package/adapter_layout.py) among the installed ones, for one base model."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import pocketseek
from pocketseek.adapt.peft import AdapterPair, Floats, PeftAdapter
from pocketseek.convert.encode import Loss, loss_of
from pocketseek.convert.pack import pack_values
from pocketseek.convert.provenance import rotary_pairs
from pocketseek.convert.sources.byte_file import read_small
from pocketseek.errors import FormatError
from pocketseek.package.adapter_layout import (
    ADAPTER_STAGE,
    SCALES,
    base_of,
    matrix_name,
    num_scales,
    refuse_adapter,
    scale_index,
)
from pocketseek.package.manifest import JsonValue, parse_manifest_of, read_manifest_bytes
from pocketseek.package.writer import PackageWriter

_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE")
_MAX_LICENCE_BYTES = 4 << 20
_CONFIG_BYTES = 4 << 20


def add_adapter(source: Path, base: Path, destination: Path, *, added_on: date | None = None) -> float:
    """Write the adapter of a PEFT folder as a package for the model at `base`. Returns its loss: by how much A and B
    differ in f16, relative to their size (root of squares, every matrix counting as if its largest value were 1 to 2).

    Raises NotFoundError, FormatError, UnsupportedError, UsageError (for another model; a model lies at the
    destination), BusyError, StorageError.
    """
    data = read_manifest_bytes(base)
    manifest = parse_manifest_of(base, data)
    refuse_adapter(manifest, str(base), "name the model that both are for")
    with (
        PeftAdapter.open(source, manifest.model, rotary_pairs(manifest.provenance)) as adapter,
        PackageWriter(destination) as writer,
    ):
        writer.begin_stage(ADAPTER_STAGE)
        num_layers = manifest.model.num_layers
        scales = np.zeros(num_scales(num_layers, (pair.target for pair in adapter.pairs)), np.float32)
        loss = Loss()
        for pair in adapter.pairs:
            scales[scale_index(num_layers, pair.layer, pair.target)], of_pair = _add_pair(writer, adapter, pair)
            loss += of_pair
        writer.add_tensor(SCALES, "f32", scales.shape, [scales.view(np.uint8).reshape(1, -1)])
        for name in _LICENCES:
            if (source / name).is_file():
                writer.add_file(name, read_small(source / name, _MAX_LICENCE_BYTES))
        relative = float(np.sqrt(loss.squared_error / loss.squared_values)) if loss.squared_values else 0.0
        writer.commit(
            name=destination.name,
            model=manifest.model,
            recipe={"format": "f16", "rank": max(pair.rank for pair in adapter.pairs)},
            quality={"relative_error": relative},
            provenance=_provenance(adapter, added_on or date.today()),
            adapter=base_of(manifest, data),
        )
    return relative


def _add_pair(writer: PackageWriter, adapter: PeftAdapter, pair: AdapterPair) -> tuple[float, Loss]:
    """Returns its scale and its loss."""
    scale, total = pair.scale, Loss()
    for part, values in (("a", adapter.a(pair)), ("b", adapter.b(pair).T)):
        halves, exponent = scaled_halves(values)
        scale = float(np.ldexp(scale, exponent))
        total += loss_of(halves.astype(np.float32), np.ascontiguousarray(np.ldexp(values, -exponent)))
        writer.add_tensor(matrix_name(pair.layer, pair.target, part), "f16", values.shape, [pack_values("f16", halves)])
    if not np.isfinite(np.float32(scale)):
        raise FormatError(f"{adapter.path}: layer.{pair.layer}.{pair.target} is too large; its training failed")
    return scale, total


def scaled_halves(values: Floats) -> tuple[NDArray[np.float16], int]:
    """values = halves * 2^exponent up to rounding, the largest of them from 1 to 2: so small values keep 11 bits."""
    peak = float(np.abs(values).max(initial=0.0))
    exponent = int(np.frexp(peak)[1]) - 1 if peak else 0
    return np.ldexp(values, -exponent).astype(np.float16), exponent


def _provenance(adapter: PeftAdapter, added_on: date) -> dict[str, JsonValue]:
    files: list[JsonValue] = []
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        path = adapter.path / name
        entry: dict[str, JsonValue] = {"name": name, "bytes": path.stat().st_size}
        if name.endswith(".json"):
            entry["sha256"] = hashlib.sha256(read_small(path, _CONFIG_BYTES)).hexdigest()
        files.append(entry)
    return {
        "converter": f"pocketseek {pocketseek.__version__}",
        "date": added_on.isoformat(),
        "source": {"kind": "peft", "files": files, "base_model": adapter.config.base},
    }
