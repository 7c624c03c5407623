"""The weights of a model during a pass, wherever they are: mapped and kept in memory, or streamed through the ring.

What stays in memory is the package's own map, so a system that is short of memory can drop those pages at once without
asking (they are clean). Pages that it took come back by being used; the readers fetch them before where that is noticed
in time (loss_watch.py). Streamed units are read into the ring by threads; layers that are whole in memory run in one
call, the others unit by unit. Which is which changes in `set_bytes`, between two passes, and never changes a result.

A page that cannot be read ends the pass in an error and not the process (guarded_maps.py). After an error everything
is read anew, from the file that then has the chunk's name, if that one is good. If a file was written to during a pass
and is good, the pass has to be run again (`is_doubtful`).

Of a sealed package what stays is decrypted into anonymous memory, ahead of the pass that needs it: such a page does not
come back by being used, and the system cannot take it.

Kernels that cannot compute layers in parts (the reference) get everything mapped, whatever is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import IntegrityError, StorageError
from pocketseek.formats import MAX_CHUNK_BYTES
from pocketseek.kernels.contract import Floats, ModelKernels
from pocketseek.package.reader import Package
from pocketseek.runtime.residency.guarded_maps import GuardedMaps
from pocketseek.runtime.residency.loss_watch import LossWatch
from pocketseek.runtime.residency.model_parts import ModelParts
from pocketseek.runtime.residency.plan import Plan, make_plan, usual_cached_bytes, usual_ring_bytes
from pocketseek.runtime.residency.read_mode import DEFAULT_READ_MODE, ReadMode, beside_decrypting, turn_bytes
from pocketseek.runtime.residency.storage_pace import StoragePace
from pocketseek.runtime.residency.streamer import Streamer, WarmRange
from pocketseek.runtime.residency.table_rows import TableRows
from pocketseek.runtime.residency.units import HEAD, UNIT_BYTES, Unit, units_of
from pocketseek.runtime.residency.weight_files import WeightFiles, open_files

_SAMPLE_BYTES = 65_536  # pages are taken in long runs, and asking about all of them takes 20 ms for a GB


@dataclass(frozen=True)
class _Layer:
    """handle: the kernels' own. units: to be run one by one; none: all of the layer is in memory."""

    index: int
    handle: object
    units: tuple[Unit, ...]


class Weights:
    """Owned by the executor, used by one thread. Until `set_bytes` is called everything is mapped."""

    def __init__(
        self,
        package: Package,
        kernels: ModelKernels,
        *,
        read_mode: Callable[[], ReadMode] = lambda: DEFAULT_READ_MODE,
        unit_bytes: int = UNIT_BYTES,
        ring_bytes: int | None = None,
        files: WeightFiles | None = None,
        losses: LossWatch | None = None,
    ) -> None:
        """read_mode is asked when something is streamed for the first time. ring_bytes: by default room for several
        units. files: of the same package, closed with this. losses: when to look for pages that the system took.
        """
        self._package = package
        self._kernels = kernels
        self._config = package.manifest.model
        self._units = units_of(package.manifest, unit_bytes) if kernels.can_stream else ()
        self._files = files or open_files(package)
        if not self._units and self._files.needs_filling:  # they read everything when it is loaded
            for index, chunk in enumerate(package.manifest.chunks):
                self._files.warm(index, 0, chunk.num_bytes)
        self._parts = ModelParts(package, kernels, self._files)
        self._whole_layers = [self._parts.layer(index) for index in range(self._config.num_layers)]
        self.head_norm, self.inv_freq = self._parts.head_norm, self._parts.inv_freq
        self._streamer = Streamer(
            self._files.read,
            self._files.warm,
            self._files.forget,
            num_readers=DEFAULT_READ_MODE.num_readers,
            read_bytes=DEFAULT_READ_MODE.read_bytes,
            grid_bytes=self._files.read_grid_bytes,
            is_secret=self._files.needs_filling,
        )
        self._is_filled = not self._files.needs_filling
        self._pace = StoragePace(read_mode)
        self._maps = GuardedMaps(package, self._files)
        self._losses = losses or LossWatch()
        self.num_warmings = 0  # times that something was not in memory that shall be
        self._ring_bytes = ring_bytes if ring_bytes is not None else usual_ring_bytes(self._units) if self._units else 0
        self._cached_bytes = usual_cached_bytes(self._units)
        self._rows = TableRows(self._files, self._parts.table)
        self._pass_start_s = 0.0
        self.is_doubtful = False  # files were touched during the last pass, which has to be run again
        self._plan = make_plan(self._units, None, 0)
        self._order: list[_Layer] = []
        self._head = self._parts.head
        self._arrange(self._plan)

    # -- how much of them is in memory ------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        return self._plan

    @property
    def num_bytes(self) -> int:
        """Of all that a whole pass reads."""
        return sum(unit.num_bytes for unit in self._units)

    @property
    def streaming_bytes(self) -> int:
        """What the ring, and what is cached on the way into it, take when something is streamed."""
        return self._ring_bytes + self._cached_bytes

    @property
    def ring_bytes(self) -> int:
        """What the ring takes now, and what is decrypted beside it: memory that no file is behind."""
        return self._plan.ring_bytes + min(self._files.filled_bytes, self._plan.resident_bytes)

    @property
    def memory_bytes(self) -> int:
        """What is kept in memory now, ring included."""
        return self._plan.memory_bytes

    def memory_bytes_for(self, num_bytes: int | None) -> int:
        """What would be kept in memory after set_bytes(num_bytes)."""
        return self._plan_for(num_bytes).memory_bytes

    @property
    def is_warm(self) -> bool:
        return self._streamer.is_warm

    @property
    def storage_s(self) -> float:
        """How long storage is expected to take for a whole pass."""
        return self._plan.streamed_bytes / self._pace.bytes_per_s

    @property
    def pass_kind(self) -> str:
        """All passes take the longer of computing and `storage_s`."""
        return ""

    @property
    def waited_s(self) -> float:
        """For storage, in all passes so far."""
        return self._streamer.waited_s

    @property
    def read_bytes(self) -> int:
        """From storage into the ring, so far."""
        return self._streamer.read_bytes

    def set_bytes(self, num_bytes: int | None) -> None:
        """Keep so much in memory, ring included, from the next pass on; None: everything.

        Raises MemoryLimitError, and everything stays where it is, if the system refuses the ring.
        """
        plan = self._plan_for(num_bytes)
        if plan.slots and not self._pace.is_known:
            self._evict_all(self._plan.resident - plan.resident)  # only what is not in memory tells about storage
            self._learn_read_mode()
            plan = self._plan_for(num_bytes)
        if plan != self._plan:
            self._change(plan)

    def warm_all(self) -> None:
        """Begin to read what is to stay in memory, ahead of the first pass."""
        self._install(self._plan, self._plan.resident)

    def _change(self, plan: Plan) -> None:
        leaving = self._plan.resident - plan.resident
        coming = plan.resident - self._plan.resident if self.is_warm else plan.resident  # install forgets what waits
        self._streamer.install((), plan.ring_bytes, ())  # may be refused; nothing has moved so far
        self._order, self._head = [], self._parts.head  # no view of the ring is left
        self._evict_all(leaving)
        self._plan = plan
        self._is_filled = not self._files.needs_filling
        self._install(plan, coming)
        self._arrange(plan)

    def _plan_for(self, num_bytes: int | None) -> Plan:
        return make_plan(self._units, num_bytes, self._ring_bytes, self._cached_bytes)

    def _learn_read_mode(self) -> None:
        if (mode := self._pace.learn_read_mode()) is not None:
            self._files.use_direct(mode.direct)
            if self._files.needs_filling:
                mode = beside_decrypting(mode)
            self._streamer.num_readers = mode.num_readers
            self._streamer.bytes_per_read = max(mode.read_bytes, self._files.read_grid_bytes)
            self._streamer.turn_bytes = turn_bytes(mode, self._files.needs_filling)
            self._cached_bytes = 0 if self._files.is_direct else usual_cached_bytes(self._units)

    def _install(self, plan: Plan, coming: frozenset[int]) -> None:
        self._files.expect_streaming(bool(plan.slots))
        self._streamer.install(plan.slots, plan.ring_bytes, self._cold(coming))

    def _warm_again(self) -> None:
        """What the system took of what shall stay is read ahead of the pass, which would get it page by page."""
        if self._losses.is_due() and self.is_warm and (lost := self._cold(self._plan.resident, _SAMPLE_BYTES)):
            self._losses.found()
            self._streamer.warm(lost)

    def _cold(self, indices: frozenset[int], most_bytes: int = MAX_CHUNK_BYTES) -> list[WarmRange]:
        """What of these units is not in memory, as far as the first most_bytes of each piece show."""
        cold = [
            WarmRange(unit.index, piece.chunk, piece.offset, piece.num_bytes)
            for unit in self._units
            if unit.index in indices
            for piece in unit.pieces
            if not self._files.is_in_memory(piece.chunk, piece.offset, min(piece.num_bytes, most_bytes))
        ]
        self.num_warmings += bool(cold)
        return cold

    def _evict_all(self, indices: frozenset[int]) -> None:
        for place in self._places(indices):
            self._files.drop(*place)
        self._is_filled = not self._files.needs_filling

    def _fill(self) -> None:
        """What stays in memory is there before a pass begins, where using it would not bring it."""
        if self._is_filled:
            return
        self._streamer.wait_until_warm()
        for place in self._places(self._plan.resident):
            if not self._files.is_in_memory(*place):
                self._files.warm(*place)  # what could not be read ahead raises its error now
        self._is_filled = True

    def _places(self, indices: frozenset[int]) -> Iterator[tuple[int, int, int]]:
        """(chunk, offset, bytes) of all that these units consist of."""
        for unit in self._units:
            if unit.index in indices:
                yield from ((piece.chunk, piece.offset, piece.num_bytes) for piece in unit.pieces)

    def _were_touched_in_a_pause(self) -> bool:
        """A file that was found damaged in the pause may have been replaced in it, too: then nobody's request fails."""
        try:
            return self._maps.were_touched_in_a_pause()
        except IntegrityError:
            with self._streamer.at_rest():
                self._maps.heal()
            return True

    # -- a pass -----------------------------------------------------------------------------------------------------

    @contextmanager
    def one_pass(self, token_ids: NDArray[np.int32], *, needs_head: bool) -> Iterator[None]:
        """Around all of a pass. Raises StorageError or IntegrityError if its results are worth nothing."""
        try:
            self._pass_start_s = perf_counter()
            waited_s = self._streamer.waited_s
            if self._files.has_bad:
                with self._streamer.at_rest():  # readers that were ahead have met the bad file, and would say so later
                    self._maps.heal()
            if self._were_touched_in_a_pause():
                self._streamer.abandon()
            self._warm_again()
            self._fill()
            if self._plan.slots or not self._config.tied_embeddings:
                self._rows.prefetch(token_ids)
            self._streamer.begin_pass(len(self._plan.slots) if needs_head else self._num_layer_slots)
            yield
            self._streamer.end_pass()
            self._maps.raise_faults()
            self.is_doubtful = self._maps.were_touched()
            if self.is_doubtful:
                self._streamer.abandon()
            if self._plan.slots and self._rows.drop_if_many():
                self._is_filled = not self._files.needs_filling
        except (StorageError, IntegrityError, MemoryError):
            self._streamer.abandon()
            raise
        self._losses.pass_ended()
        if needs_head:
            pass_s = perf_counter() - self._pass_start_s
            self._pace.observe(self._plan.streamed_bytes, pass_s, self._streamer.waited_s - waited_s)

    def embed(self, token_ids: NDArray[np.int32], hidden: Floats) -> None:
        self._kernels.embed(self._parts.embed, token_ids, hidden)

    def run_layers(self, rows: object, hidden: Floats) -> None:
        run: list[object] = []
        for layer in self._order:
            if not layer.units:
                run.append(layer.handle)
                continue
            if run:
                self._kernels.layers(run, layer.index - len(run), rows, hidden)
                run = []
            for unit in layer.units:
                with self._in_memory(unit):
                    for part in unit.parts:
                        self._kernels.layer_part(layer.handle, layer.index, part, rows, hidden)
        if run:
            self._kernels.layers(run, self._config.num_layers - len(run), rows, hidden)

    def run_head(self, hidden: Floats, chosen: NDArray[np.int32], logits: Floats) -> None:
        if self._head is self._parts.head:
            self._kernels.head(self.head_norm, self._head, hidden, chosen, logits)
        elif len(chosen):
            for unit in self._units:
                if unit.layer is None:
                    with self._in_memory(unit):
                        self._kernels.head_part(self.head_norm, self._head, hidden, chosen, logits, *unit.tiles)

    @contextmanager
    def _in_memory(self, unit: Unit) -> Iterator[None]:
        index = self._slot_index.get(unit.index)
        if index is not None:
            self._streamer.acquire(index)
        yield
        if index is not None:
            self._streamer.release(index)

    # -- what the kernels get ---------------------------------------------------------------------------------------

    def _arrange(self, plan: Plan) -> None:
        """Layers and head, each made of what is mapped and what lies in the ring."""
        self._slot_index = {slot.unit.index: number for number, slot in enumerate(plan.slots)}
        self._num_layer_slots = sum(slot.unit.layer is not None for slot in plan.slots)
        streamed_layers = {slot.unit.layer for slot in plan.slots}
        by_layer: dict[int | None, list[Unit]] = {}
        for unit in plan.units:
            by_layer.setdefault(unit.layer, []).append(unit)
        self._order = [
            _Layer(index, self._load_layer(index, plan), tuple(by_layer[index]))
            if index in streamed_layers
            else _Layer(index, self._whole_layers[index], ())
            for index in range(self._config.num_layers)
        ]
        if None in streamed_layers:
            self._head = self._kernels.load_matrix(
                self._parts.tensors.assembled(HEAD, by_layer[None], plan, self._streamer.ring)
            )
        else:
            self._head = self._parts.head

    def _load_layer(self, index: int, plan: Plan) -> object:
        units = [unit for unit in plan.units if unit.layer == index]
        return self._parts.layer(
            index, lambda name: self._parts.tensors.assembled(name, units, plan, self._streamer.ring)
        )

    def close(self) -> None:
        """Let go of everything; of no use afterwards."""
        self._order, self._whole_layers = [], []
        self._head = None
        self._parts.close()
        self._streamer.close()
        self._maps.close()
        self._files.close()
