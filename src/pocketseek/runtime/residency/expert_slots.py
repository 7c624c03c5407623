"""Where experts are while they are used: in slots of one size, or where the package maps them.

    take()              a slot for an expert that is to be read; None if there is none left
    target(slot)        where its bytes go; None: they come to where they are mapped
    loaded(key, slot)   the kernels' own of the expert whose bytes are there now
    give_back(slot)     they are of no use any more

Slots are anonymous memory: the system cannot take them, so they are counted. Those that were never used, or were given
up by `set_num_slots`, take none.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import MemoryLimitError
from pocketseek.formats import TENSOR_ALIGNMENT_BYTES
from pocketseek.kernels.contract import ModelKernels, TensorData
from pocketseek.package.expert_layout import ExpertExtent, expert_extents
from pocketseek.package.layer_tensors import EXPERT_MATRICES
from pocketseek.package.manifest import Manifest, TensorEntry
from pocketseek.package.sealing.secret_memory import lock, secret_map, unlock
from pocketseek.runtime.residency.expert_policies import Key
from pocketseek.runtime.residency.tensor_places import TensorPlaces

_Layout: TypeAlias = tuple[tuple[str, int, tuple[int, ...]], ...]  # format, where in the slot it begins, shape
_SLAB_SLOTS = 16  # at least, that addresses are asked for at once


def least_slots(experts_per_token: int, num_experts: int) -> int:
    """As many as a token needs of a layer, for those that are computed, and again for those that are read meanwhile."""
    return min(num_experts, 2 * experts_per_token)


class ExpertExtents:
    """Of all experts of a model: where they lie, and what they consist of."""

    def __init__(self, manifest: Manifest) -> None:
        model = manifest.model
        self.layers = [layer for layer in range(model.num_layers) if model.has_experts(layer)]
        self._of_layer: Mapping[int, tuple[ExpertExtent, ...]] = {
            layer: expert_extents(manifest, layer) for layer in self.layers
        }
        self._entries = {tensor.name: tensor for tensor in manifest.tensors}
        sizes = [extent.num_bytes for extents in self._of_layer.values() for extent in extents]
        self.num_bytes = sum(sizes)
        self.count = len(sizes)
        self.slot_bytes = -(-max(sizes) // TENSOR_ALIGNMENT_BYTES) * TENSOR_ALIGNMENT_BYTES
        """Of a slot that holds any of them."""

    @property
    def chunks(self) -> list[int]:
        """Those that hold experts, and nothing else."""
        return sorted({extent.chunk for extents in self._of_layer.values() for extent in extents})

    def all_keys(self) -> Iterator[Key]:
        for layer, extents in self._of_layer.items():
            yield from ((layer, expert) for expert in range(len(extents)))

    def of(self, key: Key) -> ExpertExtent:
        layer, expert = key
        return self._of_layer[layer][expert]

    def matrices(self, key: Key) -> list[tuple[str, TensorEntry]]:
        layer, expert = key
        return [(name, self._entries[f"experts.{layer}.{expert}.{name}"]) for name in EXPERT_MATRICES]


class ExpertHome(Protocol):
    """See above. Used by one thread; readers write to targets."""

    @property
    def anonymous_bytes(self) -> int:
        """That slots take now."""
        ...

    def take(self) -> int | None: ...

    def target(self, slot: int) -> memoryview | None: ...

    def loaded(self, key: Key, slot: int) -> object: ...

    def give_back(self, slot: int) -> None: ...

    def close(self) -> None: ...


class MappedExperts:
    """All of them, where the package maps them."""

    anonymous_bytes = 0

    def __init__(self, places: TensorPlaces, kernels: ModelKernels) -> None:
        self._places = places
        self._kernels = kernels
        self._loaded: dict[Key, object] = {}

    def take(self) -> int | None:
        return 0

    def target(self, slot: int) -> memoryview | None:
        return None

    def loaded(self, key: Key, slot: int) -> object:
        one = self._loaded.get(key)
        if one is None:
            layer, expert = key
            tensors = {name: self._places.mapped(f"experts.{layer}.{expert}.{name}") for name in EXPERT_MATRICES}
            one = self._loaded[key] = self._kernels.load_expert(tensors)
        return one

    def give_back(self, slot: int) -> None:
        """Nothing is taken from the map."""

    def close(self) -> None:
        """No view of the package's maps is held any more."""
        self._loaded.clear()


class ExpertSlots:
    """Memory for as many experts at a time as the budget allows."""

    def __init__(self, extents: ExpertExtents, kernels: ModelKernels, *, is_secret: bool) -> None:
        """is_secret: what is there is in no core dump and, if the system lets us, not in swap."""
        self._extents = extents
        self._kernels = kernels
        self._is_secret = is_secret
        self._slots: list[NDArray[np.uint8]] = []  # all that there are addresses for
        self._places: list[tuple[mmap.mmap, int]] = []  # of each
        self._free: list[int] = []  # the last is taken first
        self._touched: set[int] = set()
        self._loaded: dict[tuple[int, _Layout], object] = {}
        self._layouts: dict[Key, _Layout] = {}
        self.num_slots = 0

    @property
    def anonymous_bytes(self) -> int:
        return len(self._touched) * self._extents.slot_bytes

    def set_num_slots(self, num_slots: int) -> None:
        """Of those in use at most so many. Raises MemoryLimitError, and changes nothing, if the system refuses."""
        if num_slots > len(self._slots):
            self._grow(max(num_slots - len(self._slots), min(_SLAB_SLOTS, self._extents.count - len(self._slots))))
        self.num_slots = num_slots
        num_taken = len(self._slots) - len(self._free)
        for slot in self._free[: max(0, len(self._free) - max(0, num_slots - num_taken))]:
            self._release(slot)

    @property
    def num_free(self) -> int:
        """That may be taken."""
        return max(0, self.num_slots - self.num_taken)

    @property
    def num_taken(self) -> int:
        return len(self._slots) - len(self._free)

    def take(self) -> int | None:
        if not self.num_free:
            return None
        slot = self._free.pop()
        if slot not in self._touched:
            self._touched.add(slot)
            if self._is_secret:
                lock(self._slots[slot], 0, self._extents.slot_bytes)
        return slot

    def target(self, slot: int) -> memoryview | None:
        slab, start = self._places[slot]
        return memoryview(slab)[start : start + self._extents.slot_bytes]

    def give_back(self, slot: int) -> None:
        self._free.append(slot)
        if self.num_taken >= self.num_slots:  # there shall be fewer
            self._release(slot)

    def loaded(self, key: Key, slot: int) -> object:
        """Experts of equal formats and sizes share it, since it is only a way to look at the slot."""
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = self._layout_of(key)
        one = self._loaded.get((slot, layout))
        if one is None:
            data = self._slots[slot]
            tensors = {
                name: TensorData(entry.format, entry.shape, ((0, data[start : start + entry.extents[0].num_bytes]),))
                for (name, entry), (_, start, _) in zip(self._extents.matrices(key), layout, strict=True)
            }
            one = self._loaded[slot, layout] = self._kernels.load_expert(tensors)
        return one

    def _layout_of(self, key: Key) -> _Layout:
        offset = self._extents.of(key).offset
        entries = [entry for _, entry in self._extents.matrices(key)]
        return tuple((entry.format, entry.extents[0].offset - offset, entry.shape) for entry in entries)

    def close(self) -> None:
        """All of it is given back once no view of it is held."""
        self._loaded.clear()
        self._slots, self._places, self._free = [], [], []
        self._touched.clear()
        self.num_slots = 0

    def _grow(self, count: int) -> None:
        slot_bytes = self._extents.slot_bytes
        if self._is_secret:
            slab = secret_map(count * slot_bytes)
        else:
            try:
                slab = mmap.mmap(-1, count * slot_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            except (OSError, MemoryError) as error:
                raise MemoryLimitError(
                    f"{count * slot_bytes} bytes for experts are refused by the system; "
                    "raise its limit for this process (ulimit -v) or choose a smaller model"
                ) from error
        first = len(self._slots)
        self._slots.extend(np.frombuffer(slab, np.uint8).reshape(count, slot_bytes))
        self._places.extend((slab, number * slot_bytes) for number in range(count))
        self._free[:0] = range(first + count - 1, first - 1, -1)

    def _release(self, slot: int) -> None:
        """Its memory goes back to the system."""
        if slot not in self._touched:
            return
        self._touched.discard(slot)
        slab, start = self._places[slot]
        slot_bytes = self._extents.slot_bytes
        if self._is_secret:
            unlock(self._slots[slot], 0, slot_bytes)  # or the system keeps it
        with suppress(OSError):
            slab.madvise(mmap.MADV_DONTNEED, start, slot_bytes)
