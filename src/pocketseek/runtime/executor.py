"""One pass over a package's weights: embedding, layers in order, head for the rows that need logits.

Where the weights are is the business of residency/weights.py. K and V live here, by page id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import StorageError, UsageError
from pocketseek.kernels.choose import KernelChoice
from pocketseek.kernels.contract import Floats, LogitsMath, LowRank, RowSpan
from pocketseek.kernels.kv_memory import DEFAULT_KV_FORMAT, PAGE_TOKENS, KvFormat, KvMemory
from pocketseek.package.reader import Package
from pocketseek.runtime.pooling import NO_STATES, States, normed
from pocketseek.runtime.residency.expert_policies import ExpertPolicy
from pocketseek.runtime.residency.expert_weights import ExpertWeights, RoutingObserver
from pocketseek.runtime.residency.loss_watch import major_faults
from pocketseek.runtime.residency.read_mode import DEFAULT_READ_MODE, ReadMode
from pocketseek.runtime.residency.weights import Weights
from pocketseek.runtime.routing_log import RoutingLog
from pocketseek.runtime.work import Work

KEPT_ROWS = 16
_MOST_RUNS = 3  # of a pass during which somebody writes to the files


class KernelExecutor:
    """Runs `Work` with the chosen kernels. Used by one thread at a time; closing the package is the caller's part."""

    def __init__(
        self,
        package: Package,
        choice: KernelChoice,
        *,
        num_threads: int,
        num_pages: int = 0,
        kv_format: KvFormat = DEFAULT_KV_FORMAT,
        read_mode: Callable[[], ReadMode] = lambda: DEFAULT_READ_MODE,
        expert_policy: ExpertPolicy | None = None,
    ) -> None:
        """read_mode: how storage is read best; asked once there are weights to be streamed. expert_policy: which
        experts to keep where not all fit, of a model that has some."""
        config = package.manifest.model
        self._path = package.path
        self._package = package
        self._config = config
        self._kernels = choice.open(config, num_threads)
        self._memory = KvMemory(config, num_pages, kv_format)
        self._experts: ExpertWeights | None = None
        if any(config.has_experts(layer) for layer in range(config.num_layers)):
            self._experts = ExpertWeights(package, self._kernels, read_mode=read_mode, policy=expert_policy)
        self._weights: Weights | ExpertWeights = self._experts or Weights(package, self._kernels, read_mode=read_mode)
        self._log: RoutingLog | None = None
        self._waited_s = 0.0
        self._is_typical = True
        self._states = NO_STATES
        self._touched_pages: set[int] = set()
        self._hidden = _RowBuffer(config.hidden_size)
        self._logits = _RowBuffer(config.vocab_size)

    @property
    def vocab_size(self) -> int:
        return self._config.vocab_size

    @property
    def context_length(self) -> int:
        return self._config.context_length

    @property
    def kernels_name(self) -> str:
        return self._kernels.name

    @property
    def logits_math(self) -> LogitsMath:
        return self._kernels.logits_math

    def reserve_pages(self, num_pages: int) -> None:
        """Make page ids 0 .. num_pages - 1 usable; never takes pages away."""
        if num_pages > self._memory.num_pages:
            self._memory.grow(num_pages - self._memory.num_pages)

    def release_pages(self, page_ids: Iterable[int]) -> None:
        """Give the memory behind these pages back to the system; their contents are lost, the ids stay usable."""
        released = set(page_ids)
        self._touched_pages -= released
        self._memory.release(released)

    @property
    def kv_bytes_in_memory(self) -> int:
        """What pages take that were written to and not released since."""
        return len(self._touched_pages) * self._memory.page_bytes

    @property
    def page_bytes(self) -> int:
        return self._memory.page_bytes

    @property
    def weights(self) -> Weights | ExpertWeights:
        return self._weights

    @property
    def storage_s(self) -> float:
        return self._weights.storage_s

    @property
    def waited_s(self) -> float:
        return self._waited_s

    @property
    def pass_kind(self) -> str:
        return self._weights.pass_kind

    @property
    def is_typical(self) -> bool:
        return self._is_typical

    def set_weight_bytes(self, num_bytes: int | None) -> None:
        self._weights.set_bytes(num_bytes)

    @property
    def weight_bytes(self) -> int:
        return self._weights.memory_bytes

    def weight_bytes_for(self, num_bytes: int | None) -> int:
        return self._weights.memory_bytes_for(num_bytes)

    @property
    def on_routing(self) -> RoutingObserver | None:
        """Told whom the rows of a pass choose, layer by layer. While it is set, no layer runs whole. Raises UsageError
        for a model without experts."""
        return self._expert_weights.on_routing

    @on_routing.setter
    def on_routing(self, observer: RoutingObserver | None) -> None:
        self._expert_weights.on_routing = observer

    @property
    def on_pass_end(self) -> Callable[[], None] | None:
        """Called when a pass is done; its results count. Raises as above."""
        return self._expert_weights.on_pass_end

    @on_pass_end.setter
    def on_pass_end(self, observer: Callable[[], None] | None) -> None:
        self._expert_weights.on_pass_end = observer

    @property
    def _expert_weights(self) -> ExpertWeights:
        if self._experts is None:
            raise UsageError(f"{self._path.name} has no experts; take a model that has some")
        return self._experts

    def log_routing(self, log: RoutingLog) -> None:
        """Tell it of every pass from now on. Raises UsageError for a model without experts."""
        log.watch(self._package.manifest, self._expert_weights)
        self._log = log

    def set_threads(self, num_threads: int) -> None:
        self._kernels.set_num_threads(num_threads)

    @property
    def changes_threads(self) -> bool:
        return True

    def set_cores(self, cores: tuple[int, ...]) -> None:
        self._kernels.set_cores(cores)

    def load_adapter(self, layers: Sequence[Mapping[str, LowRank]]) -> object:
        """For `Slice.adapter`. May be called while a pass runs."""
        return self._kernels.load_adapter(layers)

    def run(self, work: Work) -> Floats:
        """One pass; returns logits float32 (work.num_logits, vocab_size), which the next pass overwrites."""
        weights, before_s = self._weights, self._weights.waited_s
        was_warm, before = weights.is_warm, (weights.num_warmings, major_faults())
        for part in work.slices:
            self._touched_pages.update(part.pages[part.first_position // PAGE_TOKENS :])
        spans = [RowSpan(part.first_position, part.num_tokens, part.pages, part.adapter) for part in work.slices]
        rows = self._kernels.begin(spans, weights.inv_freq, self._memory)
        token_ids = np.array([token for part in work.slices for token in part.token_ids], np.int32)
        hidden = self._hidden.rows(len(token_ids))
        chosen = _rows_with_logits(work)  # before the layers, which leave nothing of the interpreter in the caches
        logits = self._logits.rows(len(chosen))
        num_doubtful = 0
        while True:
            if self._log is not None:
                self._log.begin_pass()
            with weights.one_pass(token_ids, needs_head=len(chosen) > 0):
                weights.embed(token_ids, hidden)
                weights.run_layers(rows, hidden)
                weights.run_head(hidden, chosen, logits)
            if not weights.is_doubtful:
                break
            num_doubtful += 1
            if num_doubtful == _MOST_RUNS:
                raise StorageError(f"{self._path}: its files are being written to; stop the program that does so")
        self._states = self._final_states(work, hidden) if work.num_states else NO_STATES
        self._waited_s = weights.waited_s - before_s
        self._is_typical = was_warm and before == (weights.num_warmings, major_faults()) and not num_doubtful
        if self._log is not None:
            self._log.end_pass(answered=len(chosen), kv_bytes=self.kv_bytes_in_memory)
        return logits

    @property
    def states(self) -> States:
        return self._states

    def _final_states(self, work: Work, hidden: Floats) -> States:
        """The head's input, which the kernels keep to themselves."""
        wanted = [part.wants_states for part in work.slices for _ in part.token_ids]
        return normed(hidden[wanted], self._weights.head_norm, self._config.rms_norm_eps)

    @property
    def kv_format(self) -> KvFormat:
        return self._memory.kv_format

    def read_page(self, page_id: int) -> memoryview:
        return self._memory.page(page_id).data

    def write_page(self, page_id: int, data: memoryview) -> None:
        self._touched_pages.add(page_id)
        self._memory.page(page_id)[:] = np.frombuffer(data, np.uint8)

    def close(self) -> None:
        """Let go of weights and KV memory. The executor is of no use afterwards."""
        self._weights.close()
        self._memory, self._touched_pages = KvMemory(self._config), set()
        self._hidden, self._logits = _RowBuffer(self._config.hidden_size), _RowBuffer(self._config.vocab_size)


class _RowBuffer:
    """Rows that every pass writes anew. Fresh memory of this size would cost a page fault for every 4 kB of it.

    Only as many rows as sequences usually run are kept: scoring may ask for 64 rows of logits, which are 39 MB.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._kept: Floats = np.empty((0, width), np.float32)

    def rows(self, count: int) -> Floats:
        if count > KEPT_ROWS:
            return np.empty((count, self._width), np.float32)
        if count > len(self._kept):
            self._kept = np.empty((count, self._width), np.float32)
        return self._kept[:count]


def _rows_with_logits(work: Work) -> NDArray[np.int32]:
    """Indices of the rows whose logits are wanted: the last num_logits of each slice."""
    chosen: list[int] = []
    end = 0
    for part in work.slices:
        end += part.num_tokens
        chosen.extend(range(end - part.num_logits, end))
    return np.array(chosen, np.int32)
