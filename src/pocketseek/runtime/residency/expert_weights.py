"""The weights of a model with experts during a pass: what every token needs in memory, experts as memory allows.

If all of it fits, everything is used where the package maps it, and layers run whole once all experts have come. If
not, experts have slots (expert_slots.py), and a layer goes in steps:

    attention, router       whom the rows choose
    reads                   of all chosen ones that are not there, at once
    shared experts          meanwhile
    experts                 those that are there, then those that have arrived, in any order
    sum                     ascending, whatever came first

Which experts stay is a policy's business; it is told of every pass. While all layers run whole, every LEARN_EVERY-th
pass goes in steps nevertheless, so that the policy knows whom to keep once memory gets short. How many slots there are
changes in `set_bytes`, between two passes, and never changes a result.

Failing storage, damaged and changed files are met as in weights.py: an error ends the pass, nothing that was read near
it is used again, and a pass during which somebody wrote to a file is run again (`is_doubtful`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import IntegrityError, MemoryLimitError, StorageError
from pocketseek.kernels.contract import Floats, ModelKernels
from pocketseek.package.reader import Package
from pocketseek.runtime.residency.always_parts import HEAD_STAGE, AlwaysParts
from pocketseek.runtime.residency.expert_policies import DEFAULT_POLICY, ExpertPolicy, make_policy
from pocketseek.runtime.residency.expert_reader import ExpertReader
from pocketseek.runtime.residency.expert_slots import ExpertExtents, ExpertSlots, MappedExperts, least_slots
from pocketseek.runtime.residency.expert_store import ExpertStore
from pocketseek.runtime.residency.guarded_maps import GuardedMaps
from pocketseek.runtime.residency.loss_watch import LossWatch
from pocketseek.runtime.residency.model_parts import ModelParts
from pocketseek.runtime.residency.plan import CACHED_BYTES
from pocketseek.runtime.residency.read_mode import DEFAULT_READ_MODE, ReadMode, beside_decrypting
from pocketseek.runtime.residency.storage_pace import StoragePace
from pocketseek.runtime.residency.table_rows import TableRows
from pocketseek.runtime.residency.weight_files import WeightFiles, open_files

LEARN_EVERY = 16  # passes
_CACHED_SHARE = 16  # of all weights, at most, that the system keeps of what is read through its cache
_SAMPLE_BYTES = 65_536

RoutingObserver: TypeAlias = Callable[[int, NDArray[np.int32]], None]
"""(layer, chosen experts (rows, experts_per_token)), for each layer with experts of a pass, in order."""


class ExpertWeights:
    """Owned by the executor, used by one thread. Until `set_bytes` is called everything is mapped."""

    def __init__(
        self,
        package: Package,
        kernels: ModelKernels,
        *,
        read_mode: Callable[[], ReadMode] = lambda: DEFAULT_READ_MODE,
        files: WeightFiles | None = None,
        losses: LossWatch | None = None,
        policy: ExpertPolicy | None = None,
    ) -> None:
        """As `Weights`. policy: whom to keep; it may have learnt before."""
        self._package = package
        self._kernels = kernels
        self._config = package.manifest.model
        self._files = files or open_files(package)
        self._parts = ModelParts(package, kernels, self._files)
        self.head_norm, self.inv_freq = self._parts.head_norm, self._parts.inv_freq
        self._extents = ExpertExtents(package.manifest)
        self._reader = ExpertReader(self._files, DEFAULT_READ_MODE)
        self._always = AlwaysParts(package.manifest, self._files, self._reader)
        moe = self._config.moe
        assert moe is not None  # the caller has seen to it
        self.policy = policy or make_policy(DEFAULT_POLICY, self._extents.layers, moe.num_experts)
        self._least_slots = least_slots(moe.experts_per_token, self._extents.count)
        self._num_experts = moe.num_experts
        self._layers = [self._parts.layer(index, with_experts=False) for index in range(self._config.num_layers)]
        self._whole: list[object] = []  # the same with their experts, once they are all there
        self._slots: ExpertSlots | None = None  # None: everything is mapped
        self._store = self._mapped_store()
        self._pace = StoragePace(read_mode)
        self._maps = GuardedMaps(package, self._files)
        self._losses = losses or LossWatch()
        self._rows = TableRows(self._files, self._parts.table)
        self._num_passes = 0
        self._is_filled = not self._files.needs_filling
        self.num_warmings = 0  # times that something was not in memory that shall be
        self.is_doubtful = False  # files were touched during the last pass, which has to be run again
        self.on_routing: RoutingObserver | None = None
        self.on_pass_end: Callable[[], None] | None = None

    # -- how much of them is in memory ------------------------------------------------------------------------------

    @property
    def num_bytes(self) -> int:
        """Of all of them."""
        return self._always.num_bytes + self._extents.num_bytes

    @property
    def streaming_bytes(self) -> int:
        """The least that works."""
        return min(self.num_bytes, self._bytes_of(self._least_slots))

    @property
    def num_slots(self) -> int | None:
        """How many experts there may be in memory; None: all."""
        return None if self._slots is None else self._slots.num_slots

    @property
    def ring_bytes(self) -> int:
        """Memory that no file is behind: slots that were used, and what is decrypted beside them."""
        slots_bytes = 0 if self._slots is None else self._slots.anonymous_bytes
        return slots_bytes + min(self._files.filled_bytes, self.num_bytes)

    @property
    def memory_bytes(self) -> int:
        """What is kept in memory now, slots included."""
        return self.num_bytes if self._slots is None else self._bytes_of(self._slots.num_slots)

    def memory_bytes_for(self, num_bytes: int | None) -> int:
        """What would be kept in memory after set_bytes(num_bytes)."""
        num_slots = self._slots_for(num_bytes)
        return self.num_bytes if num_slots is None else self._bytes_of(num_slots)

    @property
    def beside_slots_bytes(self) -> int:
        """What is kept in memory of weights if hardly an expert fits, without its slots."""
        return self._bytes_of(0)

    @property
    def is_warm(self) -> bool:
        return self._reader.is_idle

    @property
    def storage_s(self) -> float:
        """Nothing is read in every pass; what a pass lacks is part of its time."""
        return 0.0

    @property
    def pass_kind(self) -> str:
        """How many of eight experts may be in memory, unless all may."""
        return "" if self._slots is None else f"{round(8 * self._slots.num_slots / self._extents.count)}/8 experts"

    @property
    def waited_s(self) -> float:
        """None that is not part of the time of a pass, which grows with the experts that its tokens choose."""
        return 0.0

    @property
    def storage_wait_s(self) -> float:
        """Of all passes so far, for experts."""
        return self._reader.waited_s

    @property
    def read_bytes(self) -> int:
        """From storage, so far."""
        return self._reader.read_bytes

    @property
    def store(self) -> ExpertStore:
        return self._store

    def set_bytes(self, num_bytes: int | None) -> None:
        """Keep so much in memory, slots included, from the next pass on; None: everything.

        Raises MemoryLimitError, and everything stays where it is, if the system refuses the slots.
        """
        num_slots = self._slots_for(num_bytes)
        if num_slots is not None and not self._pace.is_known:
            self._evict_experts()  # only what is not in memory tells about storage
            self._learn_read_mode()
            num_slots = self._slots_for(num_bytes)
        if num_slots == self.num_slots:
            return
        if num_slots is None:
            self._use_map()
        elif self._slots is None:
            self._use_slots(num_slots)
        else:
            self._resize(self._slots, num_slots)
        self._store.fill()

    def warm_all(self) -> None:
        """Begin to read what is to stay in memory, ahead of the first pass."""
        self._is_filled = True
        self._always.warm()
        self._store.fill()

    def _slots_for(self, num_bytes: int | None) -> int | None:
        if num_bytes is None or num_bytes >= self.num_bytes:
            return None
        room_bytes = num_bytes - self._bytes_of(0)
        return min(max(room_bytes // self._extents.slot_bytes, self._least_slots), self._extents.count)

    def _bytes_of(self, num_slots: int) -> int:
        cached_bytes = 0 if self._files.is_direct else min(CACHED_BYTES, self.num_bytes // _CACHED_SHARE)
        return self._always.num_bytes + num_slots * self._extents.slot_bytes + cached_bytes

    def _learn_read_mode(self) -> None:
        if (mode := self._pace.learn_read_mode()) is not None:
            self._files.use_direct(mode.direct)
            self._reader.use_mode(beside_decrypting(mode) if self._files.needs_filling else mode)

    def _use_slots(self, num_slots: int) -> None:
        slots = ExpertSlots(self._extents, self._kernels, is_secret=self._files.needs_filling)
        slots.set_num_slots(num_slots)  # may be refused; nothing has moved so far
        self._whole = []
        self._forget_reads()
        self._evict_experts()
        self._files.expect_streaming(True)
        self._slots = slots
        self._store = ExpertStore(self._extents, self._reader, self.policy, slots)
        self._always.warm()

    def _use_map(self) -> None:
        self._forget_reads()
        if self._slots is not None:
            self._slots.close()
        self._slots = None
        self._files.expect_streaming(False)
        self._store = self._mapped_store()
        self._always.warm()

    def _resize(self, slots: ExpertSlots, num_slots: int) -> None:
        is_less = num_slots < slots.num_slots
        slots.set_num_slots(num_slots)
        if is_less:
            self._forget_reads()
            while slots.num_taken > num_slots and self._store.drop_one():
                pass
            self._always.warm()

    def _mapped_store(self) -> ExpertStore:
        store = ExpertStore(self._extents, self._reader, self.policy, MappedExperts(self._parts.tensors, self._kernels))
        store.find_held(self._is_in_memory)
        return store

    def _is_in_memory(self, chunk: int, offset: int, num_bytes: int) -> bool:
        return self._files.is_in_memory(chunk, offset, num_bytes)

    def _evict_experts(self) -> None:
        """What of them is mapped and in memory, or in the system's cache."""
        for chunk in self._extents.chunks:
            self._files.drop(chunk, 0, self._package.manifest.chunks[chunk].num_bytes)

    def _forget_reads(self) -> None:
        """Nothing is on its way any more."""
        with self._reader.at_rest():
            self._store.abandon()
            self._always.abandon()

    # -- a pass -----------------------------------------------------------------------------------------------------

    @contextmanager
    def one_pass(self, token_ids: NDArray[np.int32], *, needs_head: bool) -> Iterator[None]:
        """Around all of a pass. Raises StorageError or IntegrityError if its results are worth nothing."""
        try:
            start_s, waited_s, read_bytes = perf_counter(), self._reader.waited_s, self._reader.read_bytes
            self._begin(token_ids)
            yield
            self._maps.raise_faults()
            self.is_doubtful = self._maps.were_touched()
            if self.is_doubtful:
                self._start_over()
            else:
                self._store.prove()
            self.policy.end_pass()
            if self._slots is not None and not self._config.tied_embeddings:
                self._rows.drop_if_many()
        except (StorageError, IntegrityError, MemoryLimitError, MemoryError):
            self.policy.end_pass()  # what it set aside for this pass is out of date
            self._start_over()
            raise
        self._losses.pass_ended()
        self._num_passes += 1
        if self._slots is not None:
            pass_s = perf_counter() - start_s
            self._pace.observe(self._reader.read_bytes - read_bytes, pass_s, self._reader.waited_s - waited_s)
        if self.on_pass_end is not None:
            self.on_pass_end()

    def _begin(self, token_ids: NDArray[np.int32]) -> None:
        if self._files.has_bad:
            with self._reader.at_rest():
                self._maps.heal()
                self._store.abandon()
                self._always.abandon()
            self.warm_all()
        if self._were_touched_in_a_pause():
            self._start_over()
        if not self._is_filled:  # what is not there does not come by being used
            self.warm_all()
        self._warm_again()
        if not self._config.tied_embeddings:
            self._rows.prefetch(token_ids)

    def _start_over(self) -> None:
        """Nothing that was read since the files were looked at is used again."""
        self._forget_reads()
        self._store.drop_unproven()
        self.warm_all()

    def _were_touched_in_a_pause(self) -> bool:
        """A file that was found damaged in the pause may have been replaced in it, too: then nobody's request fails."""
        try:
            return self._maps.were_touched_in_a_pause()
        except IntegrityError:
            with self._reader.at_rest():
                self._maps.heal()
                self._store.abandon()
                self._always.abandon()
            return True

    def _warm_again(self) -> None:
        """What the system took of what shall stay is read ahead of the pass, which would get it page by page."""
        if not (self._losses.is_due() and self.is_warm):
            return
        lost = self._always.warm(_SAMPLE_BYTES)
        if self._slots is None:
            lost = self._store.find_lost(self._is_in_memory, _SAMPLE_BYTES) or lost
            self._store.fill()
        if lost:
            self.num_warmings += 1
            self._losses.found()

    def embed(self, token_ids: NDArray[np.int32], hidden: Floats) -> None:
        if self._config.tied_embeddings:
            self._always.need(HEAD_STAGE)
        self._kernels.embed(self._parts.embed, token_ids, hidden)

    def run_layers(self, rows: object, hidden: Floats) -> None:
        if self._runs_whole():
            self._kernels.layers(self._whole, 0, rows, hidden)
            return
        dense: list[object] = []
        for index, layer in enumerate(self._layers):
            self._always.need(f"layer.{index}")
            if not self._config.has_experts(index):
                dense.append(layer)
                continue
            if dense:
                self._kernels.layers(dense, index - len(dense), rows, hidden)
                dense = []
            self._run_in_steps(index, layer, rows, hidden)
        if dense:
            self._kernels.layers(dense, len(self._layers) - len(dense), rows, hidden)

    def _runs_whole(self) -> bool:
        is_whole = self._slots is None and self._store.has_all and self._always.is_warm and self.on_routing is None
        if not is_whole or self._num_passes % LEARN_EVERY == 0:
            return False
        if not self._whole:
            self._whole = [self._parts.layer(index) for index in range(len(self._layers))]
        return True

    def _run_in_steps(self, index: int, layer: object, rows: object, hidden: Floats) -> None:
        kernels, store = self._kernels, self._store
        chosen = kernels.attend_and_route(layer, index, rows, hidden)
        experts = self._distinct(chosen)
        self.policy.used(index, experts)
        if self.on_routing is not None:
            self.on_routing(index, chosen)
        ready = store.begin(index, experts)
        kernels.shared_experts(layer)
        if ready:
            kernels.experts(ready)
        while not store.is_complete:
            kernels.experts(store.more())
        store.end()
        kernels.end_layer(hidden)

    def _distinct(self, chosen: NDArray[np.int32]) -> list[int]:
        """Ascending."""
        if len(chosen) == 1:
            numbers: list[int] = chosen[0].tolist()
        else:
            numbers = np.flatnonzero(np.bincount(chosen.reshape(-1), minlength=self._num_experts)).tolist()
        return numbers

    def run_head(self, hidden: Floats, chosen: NDArray[np.int32], logits: Floats) -> None:
        if len(chosen):
            self._always.need(HEAD_STAGE)
            self._kernels.head(self.head_norm, self._parts.head, hidden, chosen, logits)

    def close(self) -> None:
        """Let go of everything; of no use afterwards."""
        self._reader.close()
        self._layers, self._whole = [], []
        self._store.close()
        self._parts.close()
        self._maps.close()
        self._files.close()
