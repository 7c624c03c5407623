"""What one pass over the weights is asked to do, and who can do it. Data only; no decisions.

A `Work` is a ragged batch: each `Slice` is a run of consecutive tokens of one sequence, a decode row being a slice of
one token, or of more with a draft behind it. Whatever else is in the pass, the logits of a row depend only on the
tokens of its own sequence up to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pocketseek.kernels.contract import LogitsMath
from pocketseek.runtime.kv_pool import PAGE_TOKENS
from pocketseek.runtime.pooling import States

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Slice:
    """Consecutive tokens of one sequence, and where their K and V go.

    token_ids: what stands at positions first_position, first_position + 1, ... (never empty).
    pages: ids of the pages that cover positions 0 .. first_position + len(token_ids) - 1 in order, PAGE_TOKENS each:
        position p lies in slot p % PAGE_TOKENS of pages[p // PAGE_TOKENS]. Earlier passes wrote the earlier positions.
        They may have written some of these, too, with the wrong tokens of a draft: write them anew.
    num_logits: logits are wanted for the last num_logits rows; 0 for a prompt chunk that is not the last.
    wants_states: the hidden states of all its rows are wanted, see `Executor.states`.
    adapter: what the executor loaded, for all its rows; None: without.
    """

    request_id: int
    token_ids: tuple[int, ...]
    first_position: int
    pages: tuple[int, ...]
    num_logits: int
    wants_states: bool = False
    adapter: object | None = None

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)

    @property
    def end_position(self) -> int:
        """The position after the last token."""
        return self.first_position + len(self.token_ids)


@dataclass(frozen=True)
class Work:
    """The slices that share one pass; never empty, at most one slice per request."""

    slices: tuple[Slice, ...]

    @property
    def num_tokens(self) -> int:
        return sum(part.num_tokens for part in self.slices)

    @property
    def num_logits(self) -> int:
        return sum(part.num_logits for part in self.slices)

    @property
    def num_states(self) -> int:
        return sum(part.num_tokens for part in self.slices if part.wants_states)


class PageMemory(Protocol):
    """The K and V of pages as bytes. Used between passes."""

    def read_page(self, page_id: int) -> memoryview:
        """The bytes of a page as they lie in memory, every page as long as the others; not copied. Between passes."""
        ...

    def write_page(self, page_id: int, data: memoryview) -> None:
        """Put back what `read_page` gave, here or in an earlier process with the same model and kernels."""
        ...


class Executor(PageMemory, Protocol):
    """Runs passes and owns the KV memory by page id. Used by one thread at a time (the engine's worker)."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def context_length(self) -> int: ...

    @property
    def logits_math(self) -> LogitsMath:
        """What its logits are to be sampled with."""
        ...

    def reserve_pages(self, num_pages: int) -> None:
        """Make page ids 0 .. num_pages - 1 usable. Called before the first pass, and again with more to grow."""
        ...

    def release_pages(self, page_ids: Iterable[int]) -> None:
        """Nobody uses these pages: give their memory back. Their contents are lost; the ids stay usable."""
        ...

    def set_threads(self, num_threads: int) -> None:
        """Takes effect with the next pass; never changes a result."""
        ...

    @property
    def changes_threads(self) -> bool:
        """Whether `set_threads` has an effect."""
        ...

    def set_cores(self, cores: tuple[int, ...]) -> None:
        """Compute on these cores from the next pass on, on any if empty; never changes a result.

        Raises UsageError, and changes nothing, for a core that is offline or forbidden.
        """
        ...

    def set_weight_bytes(self, num_bytes: int | None) -> None:
        """Keep so many bytes of weights in memory from now on, buffers for the rest included; None: all of them.

        Between passes; never changes a result. Raises MemoryLimitError, and changes nothing, if that cannot be.
        """
        ...

    @property
    def weight_bytes(self) -> int:
        """What weights and buffers take now."""
        ...

    def weight_bytes_for(self, num_bytes: int | None) -> int:
        """What they would take after set_weight_bytes(num_bytes)."""
        ...

    @property
    def page_bytes(self) -> int:
        """Memory of one page of K and V over all layers."""
        ...

    @property
    def storage_s(self) -> float:
        """How long storage is expected to take for what a pass reads from it; 0.0 if all weights are in memory."""
        ...

    @property
    def waited_s(self) -> float:
        """How long the last `run` waited for storage."""
        ...

    @property
    def pass_kind(self) -> str:
        """What the time of a pass depends on besides threads, cores and tokens, in a word: "" for most models. With
        experts on demand it is how many are in memory; what a pass lacks is read in its own time, not in waited_s."""
        ...

    @property
    def is_typical(self) -> bool:
        """Whether the rest of the last `run` tells how long such a pass takes to compute: no page came from storage by
        a fault, none was being read in meanwhile, and nothing was computed twice."""
        ...

    def run(self, work: Work) -> Logits:
        """One pass. Returns float32 [work.num_logits, vocab_size]: slices in order, rows ascending.

        The array may be reused by the next call; the caller copies what it keeps. Raises StorageError or IntegrityError
        if weights cannot be read or are not what they were: then K and V of this pass's positions are undefined, those
        of earlier passes are not touched, and the executor can go on with the same work or with another.
        """
        ...

    @property
    def states(self) -> States:
        """Of the last `run`: float32 [work.num_states, hidden size], what the head would get (after the final norm), of
        the slices that want them in order. They depend on what the logits depend on, to the bit.
        """
        ...

    def close(self) -> None:
        """Free the KV memory and the weights; calling it again does nothing."""
        ...


def pages_for(num_tokens: int) -> int:
    """How many pages hold num_tokens positions."""
    return -(-num_tokens // PAGE_TOKENS)
