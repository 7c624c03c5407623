"""Which tensors an adapter package (format 4) has. All are in one stage, `adapter`.

    layer.<i>.<target>.a    (rank, inputs) f16     target: a matrix of that layer of the base, of docs/adapt.md
    layer.<i>.<target>.b    (rank, outputs) f16    B as its rows lie in memory: transposed
    adapter.scales          (num_layers * 7) f32   what each pair is multiplied by, 0 where there is none; twice as many
                                                   where one of SPARSE_TARGETS is there: those of all layers follow

Outputs are in the order of the base's own matrix: rotary rows of q, q_b and kv_a are halves. `kv_b` is what checkpoints
have in place of k_b and v_b: for each head nope_dim outputs, then value_dim.

A and B are scaled by powers of two to values near 1, which scales take back: so f16 keeps the precision of small ones,
and nothing is out of its range.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from pocketseek.errors import FormatError
from pocketseek.package.entries import AdapterBase, Manifest, TensorEntry
from pocketseek.package.layer_tensors import Shape, layer_tensors
from pocketseek.package.strict_json import format_error
from pocketseek.types import ModelConfig

ADAPTER_STAGE = "adapter"
SCALES = "adapter.scales"
DENSE_TARGETS = ("q", "k", "v", "o", "gate", "up", "down")
SPARSE_TARGETS = ("q_a", "q_b", "kv_a", "kv_b", "shared_gate", "shared_up", "shared_down")
ADAPTER_TARGETS = DENSE_TARGETS + SPARSE_TARGETS
MAX_RANK = 256


def adapter_targets(model: ModelConfig, layer: int) -> dict[str, Shape]:
    """The matrices of a layer that an adapter may raise the outputs of, (outputs, inputs); of experts none."""
    tensors = layer_tensors(model, layer)
    if (mla := model.mla) is not None:
        tensors["kv_b"] = (model.num_heads * (mla.nope_dim + mla.value_dim), mla.rank)
    return {name: tensors[name] for name in ADAPTER_TARGETS if name in tensors}


def matrix_name(layer: int, target: str, part: str) -> str:
    """part: "a" or "b"."""
    return f"layer.{layer}.{target}.{part}"


def num_scales(num_layers: int, targets: Iterable[str]) -> int:
    """Values of `adapter.scales`; targets: those that are there."""
    is_sparse = not set(targets).isdisjoint(SPARSE_TARGETS)
    return num_layers * len(ADAPTER_TARGETS if is_sparse else DENSE_TARGETS)


def scale_index(num_layers: int, layer: int, target: str) -> int:
    """Where its scale is in `adapter.scales`."""
    if target in DENSE_TARGETS:
        return layer * len(DENSE_TARGETS) + DENSE_TARGETS.index(target)
    return num_layers * len(DENSE_TARGETS) + layer * len(SPARSE_TARGETS) + SPARSE_TARGETS.index(target)


def check_adapter(manifest: Manifest) -> None:
    """Raises FormatError unless the tensors are those of an adapter for this model. They are well formed one by one."""
    by_name = {tensor.name: tensor for tensor in manifest.tensors}
    scales = by_name.pop(SCALES, None)
    targets = {name.split(".")[2] for name in by_name if name.count(".") == 3}
    if scales is None or scales.shape != (num_scales(manifest.model.num_layers, targets),):
        raise format_error("manifest.json: tensors", f"{SCALES} is missing or of another size")
    num_known = 0
    for layer in range(manifest.model.num_layers):
        for target, (outputs, inputs) in adapter_targets(manifest.model, layer).items():
            a, b = (by_name.get(matrix_name(layer, target, part)) for part in ("a", "b"))
            if a is None and b is None:
                continue
            if a is None or b is None:
                raise format_error("manifest.json: tensors", f"layer.{layer}.{target} has only one of A and B")
            _check_pair(a, b, outputs, inputs)
            num_known += 2
    if not num_known or num_known != len(by_name):
        raise format_error("manifest.json: tensors", "not those of an adapter for this model")


def _check_pair(a: TensorEntry, b: TensorEntry, outputs: int, inputs: int) -> None:
    for entry, width in ((a, inputs), (b, outputs)):
        if entry.format != "f16" or len(entry.shape) != 2 or entry.shape[1] != width:
            raise format_error(f"manifest.json: tensor {entry.name}", f"{entry.format} {entry.shape} does not fit")
    if a.shape[0] != b.shape[0] or not 1 <= a.shape[0] <= MAX_RANK:
        raise format_error(f"manifest.json: tensor {a.name}", f"ranks {a.shape[0]} and {b.shape[0]}")


def source_id(manifest: Manifest) -> str:
    """Of the checkpoint that a model was converted from, in whatever format: equal for its q4 and q8 packages."""
    text = json.dumps(manifest.provenance.get("source"), sort_keys=True, default=list)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def base_of(manifest: Manifest, manifest_bytes: bytes) -> AdapterBase:
    """What an adapter for this model remembers of it."""
    return AdapterBase(manifest.name, hashlib.sha256(manifest_bytes).hexdigest(), source_id(manifest))


def is_for(adapter: Manifest, model: Manifest) -> bool:
    """Whether an adapter can be used with this model: it has the same shape, and the name or the checkpoint is that of
    what it was made for. (A model may have been updated, or converted again, since.)"""
    base = adapter.adapter
    if base is None or _shape_of(adapter.model) != _shape_of(model.model):
        return False
    return base.name == model.name or base.source_sha256 == source_id(model)


def _shape_of(model: ModelConfig) -> tuple[object, ...]:
    return (
        *(model.family, model.num_layers, model.hidden_size, model.intermediate_size),
        *(model.num_heads, model.num_kv_heads, model.head_dim, model.moe, model.mla),
    )


def refuse_adapter(manifest: Manifest, where: str, instead: str) -> None:
    """Raises FormatError for an adapter where a model is wanted."""
    if manifest.adapter is not None:
        raise FormatError(f"{where} is an adapter for {manifest.adapter.name}, not a model; {instead}")
