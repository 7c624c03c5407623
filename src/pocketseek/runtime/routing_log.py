"""Whom the rows of an engine's passes choose, gathered while it runs: what a routing trace is made of.

The executor tells it of every pass; `load(routing_log=...)` hands it over. While it listens, layers with experts go in
steps even if all experts are in memory, which costs a few percent of a pass.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from pocketseek.package.entries import Manifest, TensorEntry
from pocketseek.runtime.prefix.owners import manifest_id
from pocketseek.runtime.residency.expert_slots import ExpertExtents
from pocketseek.runtime.residency.expert_weights import ExpertWeights
from pocketseek.runtime.residency.routing_trace import TraceHeader, TracePass


class RoutingLog:
    """Filled by the engine's worker; read it once the engine is closed, or rests."""

    def __init__(self) -> None:
        self.passes: list[TracePass] = []
        self.base_bytes = 0
        """What the process takes besides weights, K and V."""
        self._manifest: Manifest | None = None
        self._weights: ExpertWeights | None = None
        self._beside_slots_bytes = 0
        self._most_kv_bytes = 0
        self._chosen: list[NDArray[np.int32]] = []
        self._start = (0.0, 0.0, 0)

    def watch(self, manifest: Manifest, weights: ExpertWeights) -> None:
        """From its next pass on."""
        self._manifest, self._weights = manifest, weights
        self._beside_slots_bytes = weights.beside_slots_bytes
        weights.on_routing = self._chose

    @property
    def num_slots(self) -> int | None:
        """How many experts there may be in memory; None: all."""
        return None if self._weights is None else self._weights.num_slots

    def begin_pass(self) -> None:
        """Also again, where one is repeated."""
        self._chosen = []
        self._start = self._now()

    def _chose(self, layer: int, chosen: NDArray[np.int32]) -> None:
        self._chosen.append(chosen.copy())

    def end_pass(self, answered: int, kv_bytes: int) -> None:
        """It counts."""
        pass_s, waited_s, misses = (now - then for now, then in zip(self._now(), self._start, strict=True))
        compute_s = max(0.0, pass_s - waited_s)
        self.passes.append(TracePass(np.stack(self._chosen), answered, round(misses), compute_s, waited_s))
        self._most_kv_bytes = max(self._most_kv_bytes, kv_bytes)

    def _now(self) -> tuple[float, float, int]:
        """Seconds, seconds of waiting for storage, misses, all from some beginning on."""
        weights = self._weights
        if weights is None:
            raise ValueError("a pass of a model that nobody watches")
        return perf_counter(), weights.storage_wait_s, weights.store.num_misses

    def header(self) -> TraceHeader:
        manifest = self._manifest
        moe = None if manifest is None else manifest.model.moe
        if manifest is None or moe is None:
            raise ValueError("no model with experts was opened with this log")
        extents = ExpertExtents(manifest)
        passed = {tensor.name: _num_bytes(tensor) for tensor in manifest.tensors if _is_always_read(tensor, manifest)}
        return TraceHeader(
            model=manifest.name,
            manifest_sha256=manifest_id(manifest),
            layers=tuple(extents.layers),
            num_experts=moe.num_experts,
            experts_per_token=moe.experts_per_token,
            slot_bytes=extents.slot_bytes,
            slot_read_bytes=max(extents.of((layer, 0)).num_bytes for layer in extents.layers),
            shared_bytes=sum(size for name, size in passed.items() if ".shared_" in name),
            always_bytes=sum(passed.values()),
            beside_bytes=self.base_bytes + self._beside_slots_bytes + self._most_kv_bytes,
        )


def _num_bytes(tensor: TensorEntry) -> int:
    return sum(extent.num_bytes for extent in tensor.extents)


def _is_always_read(tensor: TensorEntry, manifest: Manifest) -> bool:
    """Of an embedding that is not the head, too, only a row is read."""
    if tensor.name == "embed.weight":
        return manifest.model.tied_embeddings
    return not tensor.stage.startswith("experts.")
