"""What fits into a given number of bytes. Pure arithmetic: the caller says how many there are and what things take."""

from __future__ import annotations

from dataclasses import dataclass

from pocketseek.errors import MemoryLimitError


@dataclass(frozen=True)
class KvVerdict:
    """How many KV pages an engine gets, and why not more (or fewer): `reason` is one sentence for people."""

    num_pages: int
    page_bytes: int
    reason: str

    @property
    def num_bytes(self) -> int:
        return self.num_pages * self.page_bytes


def judge_kv_pages(budget_bytes: int, *, page_bytes: int, pages_per_context: int, max_sequences: int) -> KvVerdict:
    """As many pages as the budget holds, but no more than max_sequences full contexts can ever use.

    page_bytes: K and V of one page over all layers; pages_per_context: what a sequence of full context length takes.
    Raises MemoryLimitError if not even one page fits.
    """
    num_affordable = budget_bytes // page_bytes
    num_useful = max_sequences * pages_per_context
    if num_affordable < 1:
        raise MemoryLimitError(
            f"one page of this model's KV cache takes {page_bytes} bytes and the budget is {budget_bytes}; "
            "allow more memory or choose a smaller model"
        )
    if num_affordable < num_useful:
        reason = f"the budget of {budget_bytes} bytes holds {num_affordable} pages of {page_bytes} bytes"
        return KvVerdict(num_affordable, page_bytes, reason)
    reason = f"{num_useful} pages serve {max_sequences} sequences of full context length; the budget would hold more"
    return KvVerdict(num_useful, page_bytes, reason)
