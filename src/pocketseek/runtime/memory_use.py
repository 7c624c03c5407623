"""What an engine takes of the memory and would like to take: measured and known figures for the governor.

The process besides weights and pages is measured, not guessed: its anonymous memory (interpreter, tokenizer, kernels'
workspace, whatever else the program does) without what the ring and the pages take of it. Two things are added before
they are there: the workspace of the passes that requests ask for now, so that weights make room ahead of a long prompt
and not while it is read; and the program's own code, which is file pages too and goes slowly when it has to be read
again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Protocol

from pocketseek.device.memory import process_memory
from pocketseek.device.memory_watch import MemoryFacts, MemoryWatch
from pocketseek.errors import MemoryLimitError
from pocketseek.govern.budget import MOST_KV_BYTES
from pocketseek.govern.governor import BASE_STEP_BYTES
from pocketseek.govern.split import Footprint
from pocketseek.runtime.counts import PageDemand
from pocketseek.runtime.executor import KEPT_ROWS
from pocketseek.runtime.guests import Guests
from pocketseek.runtime.residency.table_rows import KEPT_ROWS_BYTES
from pocketseek.runtime.work import Executor
from pocketseek.shapes import MoeShape
from pocketseek.types import ModelConfig

_M_ARENA_MAX = -8  # <malloc.h> of glibc
_M_PURGE = -101  # <malloc.h> of Android's C library
_NO_DEMAND = PageDemand(0, 0, 0)
GROWTH_BYTES = 12 << 20
"""What a process takes more once it has answered: heaps of its threads, what the interpreter and libraries keep. Seen
with the demo model and with 1.5B: 8 to 15 MB. Counted from the beginning, or a context that was promised could not be
had later."""
_TRIM_BYTES = 4 << 20  # that the process grew by since freed memory was given back last
_GROWTH_SHARE = 8  # an eighth more is worth it
_WAVE_ROWS = 512  # that go through experts together (native/expert_jobs.cpp)
FEWEST_TOKENS = 8  # of a pass, as far as its workspace is concerned: an answer and its drafts


class MeasuredWeights(Protocol):
    """What is asked of an executor's weights. streaming_bytes: the least of them that has to be in memory; ring_bytes:
    what of that is anonymous memory now."""

    @property
    def num_bytes(self) -> int: ...

    @property
    def streaming_bytes(self) -> int: ...

    @property
    def ring_bytes(self) -> int: ...

    @property
    def is_warm(self) -> bool: ...

    @property
    def num_warmings(self) -> int: ...


class MeasuredExecutor(Executor, Protocol):
    """An executor that says what it has."""

    @property
    def weights(self) -> MeasuredWeights: ...

    @property
    def kv_bytes_in_memory(self) -> int: ...


class MemoryUse:
    """`look` and `footprint` are the governor's questions, asked by one thread; make it before the weights are used."""

    def __init__(
        self,
        executor: MeasuredExecutor,
        config: ModelConfig,
        *,
        max_tokens_per_pass: int,
        watch: MemoryWatch | None = None,
    ) -> None:
        self.guests = Guests()
        """What else works in this process."""
        self._executor = executor
        self._watch = watch or MemoryWatch()
        give_back_freed_memory()
        process = process_memory()
        self._code_bytes = max(0, (process.rss_bytes or 0) - (process.anonymous_bytes or 0))
        self._opened_bytes = process.anonymous_bytes or 0
        self._trimmed_bytes = self._opened_bytes
        self._config = config
        self._max_tokens = max_tokens_per_pass
        self._anonymous_bytes = 0
        self._num_warmings = 0
        self._is_warming = True
        self.num_pages = 0
        """The most pages that the engine may have: as opened, and more when there is room for that many."""
        self.room_pages: Callable[[], int] = lambda: 0
        """How many pages an engine would get that is opened now; 0 where that does not matter any more."""
        self.demand: Callable[[], PageDemand] = lambda: _NO_DEMAND
        """What sequences hold and want; the scheduler's, once there is one."""
        self.has_adapters: Callable[[], bool] = lambda: False
        """Whether rows may have adapters, whose inputs are kept in f32, too."""

    def look(self) -> MemoryFacts:
        facts = self._watch.read()
        held_bytes = self._executor.weights.ring_bytes + self._executor.kv_bytes_in_memory
        if (facts.own_anonymous_bytes or 0) - held_bytes > self._trimmed_bytes + _TRIM_BYTES:
            give_back_freed_memory()
            facts = self._watch.read()
            self._trimmed_bytes = (facts.own_anonymous_bytes or 0) - held_bytes
        self._anonymous_bytes = max(0, (facts.own_anonymous_bytes or 0) - held_bytes)
        weights = self._executor.weights
        self._is_warming = not weights.is_warm or weights.num_warmings != self._num_warmings
        self._num_warmings = weights.num_warmings
        return facts

    @property
    def base_bytes(self) -> int:
        """With what is asked for now."""
        return self._base_bytes(min(self._max_tokens, max(FEWEST_TOKENS, self.demand().tokens_wanted)))

    def _base_bytes(self, num_tokens: int) -> int:
        guests = self.guests
        work_bytes = workspace_bytes(self._config, num_tokens, adapted=self.has_adapters())
        least_bytes = self._opened_bytes + GROWTH_BYTES + work_bytes + guests.here_bytes
        return max(self._anonymous_bytes, least_bytes) + guests.coming_bytes + self._code_bytes + KEPT_ROWS_BYTES

    @property
    def least_bytes(self) -> int:
        """With the longest pass, all weights streamed and one page."""
        return self.least_streaming_bytes + self._executor.page_bytes

    @property
    def least_streaming_bytes(self) -> int:
        """The process with the longest pass, and the ring that all weights stream through."""
        return self._base_bytes(self._max_tokens) + min(
            self._executor.weights.streaming_bytes, self._executor.weights.num_bytes
        )

    @property
    def all_weights_bytes(self) -> int:
        """The process, and all weights in memory."""
        return self._base_bytes(self._max_tokens) + self._executor.weights.num_bytes

    def footprint(self) -> Footprint:
        self._grow()
        demand = self.demand()
        weights = self._executor.weights
        return Footprint(
            base_bytes=self.base_bytes,
            weights_bytes=weights.num_bytes,
            ring_bytes=weights.streaming_bytes,
            page_bytes=self._executor.page_bytes,
            opened_pages=max(1, self.num_pages),
            pages_in_use=demand.pages_in_use,
            pages_wanted=demand.pages_wanted,
            idle_pages=demand.idle_pages,
            least_pages=demand.least_pages,
            warming=self._is_warming,
        )

    def _grow(self) -> None:
        """In steps, and never back: what there is less of now is the governor's to share out."""
        room_pages = self.room_pages()
        if room_pages * _GROWTH_SHARE >= self.num_pages * (_GROWTH_SHARE + 1):
            self.num_pages = room_pages


def kv_budget_bytes(use: MemoryUse, budget_bytes: int, usual_bytes: int) -> int:
    """For the most pages that an engine may ever have: the usual share beside all weights, or else what streaming all
    of them leaves, of which the governor gives what requests want. Raises MemoryLimitError if that is not one page."""
    if use.all_weights_bytes + usual_bytes <= budget_bytes:
        return usual_bytes
    least_bytes = use.least_bytes
    if budget_bytes < least_bytes:
        least_mb, there_mb = -(-least_bytes // 1_000_000), budget_bytes // 1_000_000
        # The difference, too: what is there is less than a group's limit, so the least would be too small a limit.
        raise MemoryLimitError(
            f"this model needs at least {least_mb} MB of memory and {there_mb} MB are there for it; "
            f"allow {least_mb - there_mb} MB more, close other programs or choose a smaller model"
        )
    # The governor counts the process in steps, so that weights do not move for its flutter.
    room_bytes = budget_bytes - use.least_streaming_bytes - BASE_STEP_BYTES
    return min(MOST_KV_BYTES, max(room_bytes, least_bytes - use.least_streaming_bytes))


def give_back_freed_memory() -> None:
    """What the C library keeps of freed memory goes to the system: megabytes, after a tokenizer was read."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):  # glibc
        library.malloc_trim(0)
    elif hasattr(library, "mallopt"):  # Android's
        library.mallopt(_M_PURGE, 0)


def share_one_heap() -> None:
    """Threads that begin from now on take memory where all others do, so that what they free can be given back.

    glibc gives threads heaps of their own, and `malloc_trim` leaves up to 64 MB of free memory at the end of each: a
    voice's threads kept up to 50 MB more, other ones every time (docs/lab-notes.md). Call it before they begin; a
    process in which threads have many heaps already keeps those.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):  # glibc
        library.mallopt(_M_ARENA_MAX, 1)


def workspace_bytes(config: ModelConfig, max_tokens: int, *, adapted: bool = False) -> int:
    """About what the kernels and the rows of a pass take besides weights and pages, once it has max_tokens rows."""
    attention = config.num_heads * config.head_dim * 2 + config.num_kv_heads * config.head_dim * 2
    widest = max(config.intermediate_size, config.hidden_size)
    row_bytes = 4 * (config.hidden_size + attention + config.intermediate_size) + (6 if adapted else 2) * widest
    mixture = _mixture_bytes(config, config.moe, max_tokens) if config.moe is not None else 0
    return max_tokens * row_bytes + mixture + min(KEPT_ROWS, max_tokens) * config.vocab_size * 4


def _mixture_bytes(config: ModelConfig, moe: MoeShape, max_tokens: int) -> int:
    """Of a layer with experts (docs/kernels.md, "Memory")."""
    inner = max(moe.expert_size, moe.shared_size)
    mlp_rows = max_tokens * (moe.experts_per_token + bool(moe.shared_size))
    row_bytes = 6 * config.hidden_size + 4 * moe.num_experts
    wave_row_bytes = 7 * inner + 2 * (config.hidden_size + inner)
    return max_tokens * row_bytes + mlp_rows * 4 * config.hidden_size + min(_WAVE_ROWS, mlp_rows) * wave_row_bytes
