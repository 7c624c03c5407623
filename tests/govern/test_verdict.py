"""KV pages from a byte budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.errors import MemoryLimitError
from pocketseek.govern.verdict import judge_kv_pages


@given(st.integers(1, 10**12), st.integers(1, 10**8), st.integers(1, 3000), st.integers(1, 64))
def test_pages_fit_the_budget_and_none_is_useless(
    budget_bytes: int, page_bytes: int, pages_per_context: int, max_sequences: int
) -> None:
    if budget_bytes < page_bytes:
        with pytest.raises(MemoryLimitError, match="allow more memory"):
            judge(budget_bytes, page_bytes, pages_per_context, max_sequences)
        return
    verdict = judge(budget_bytes, page_bytes, pages_per_context, max_sequences)
    assert 1 <= verdict.num_pages <= pages_per_context * max_sequences
    assert verdict.num_bytes <= budget_bytes
    one_more_fits = verdict.num_bytes + page_bytes <= budget_bytes
    assert verdict.num_pages == pages_per_context * max_sequences or not one_more_fits


def judge(budget_bytes: int, page_bytes: int, pages_per_context: int, max_sequences: int):  # type: ignore[no-untyped-def]
    return judge_kv_pages(
        budget_bytes, page_bytes=page_bytes, pages_per_context=pages_per_context, max_sequences=max_sequences
    )


def test_reason_names_what_decided() -> None:
    assert "the budget of 100 bytes holds 10 pages" in judge(100, 10, 8, 2).reason
    assert "16 pages serve 2 sequences" in judge(1000, 10, 8, 2).reason
