"""Where experts lie: each as one run of bytes in one chunk, so that it can be read alone, with one read.

The stage experts.<layer> has the matrices gate, up and down of expert 0, then of expert 1 and so on. The three lie in
the same chunk, and nothing but the zeros up to the next multiple of 16 KiB is between them. As many experts are in a
chunk as fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pocketseek.formats import TENSOR_ALIGNMENT_BYTES, tensor_bytes
from pocketseek.package.entries import Manifest, TensorEntry
from pocketseek.package.layer_tensors import EXPERT_MATRICES
from pocketseek.package.strict_json import format_error


@dataclass(frozen=True)
class ExpertExtent:
    """num_bytes at `offset`, a multiple of 16 KiB, of the manifest's chunk number `chunk`."""

    chunk: int
    offset: int
    num_bytes: int


def expert_extents(manifest: Manifest, layer: int) -> tuple[ExpertExtent, ...]:
    """Of a layer's experts, in order; none if it has no experts. The manifest has passed `check_experts`."""
    tensors = [tensor for tensor in manifest.tensors if tensor.stage == f"experts.{layer}"]
    step = len(EXPERT_MATRICES)
    return tuple(_extent(tensors[first : first + step]) for first in range(0, len(tensors), step))


def together_bytes(tensors: Iterable[tuple[str, tuple[int, ...]]]) -> int:
    """What tensors of these formats and shapes take, one after another at multiples of 16 KiB."""
    end = 0
    for format_name, shape in tensors:
        end = -(-end // TENSOR_ALIGNMENT_BYTES) * TENSOR_ALIGNMENT_BYTES + tensor_bytes(format_name, shape)
    return end


def check_experts(manifest: Manifest) -> None:
    """Raises FormatError unless every expert can be read alone. What `check_layout` checks has been checked."""
    place = 0
    stage = ""
    chunk = 0
    for tensor in manifest.tensors:
        if not tensor.stage.startswith("experts."):
            continue
        place = place + 1 if tensor.stage == stage else 0
        stage = tensor.stage
        expert, part = divmod(place, len(EXPERT_MATRICES))
        where = f"manifest.json: tensor {tensor.name}"
        if tensor.name != f"{stage}.{expert}.{EXPERT_MATRICES[part]}":
            raise format_error(where, f"where {stage}.{expert}.{EXPERT_MATRICES[part]} belongs")
        if len(tensor.extents) != 1 or (part and tensor.extents[0].chunk != chunk):
            raise format_error(where, "its expert is cut into several chunks")
        chunk = tensor.extents[0].chunk


def _extent(tensors: list[TensorEntry]) -> ExpertExtent:
    first, last = tensors[0].extents[0], tensors[-1].extents[0]
    return ExpertExtent(first.chunk, first.offset, last.offset + last.num_bytes - first.offset)
