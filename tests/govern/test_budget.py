"""How much K and V may take when nobody said so."""

from __future__ import annotations

import pytest

from pocketseek.govern.budget import default_kv_budget_bytes


@pytest.mark.parametrize(("available_bytes", "budget_bytes"), [(4 << 30, 1 << 30), (64 << 30, 2 << 30), (0, 0)])
def test_a_quarter_of_what_is_free_up_to_two_gib(available_bytes: int, budget_bytes: int) -> None:
    assert default_kv_budget_bytes(available_bytes) == budget_bytes


def test_unknown_memory_gets_a_modest_share() -> None:
    assert 0 < default_kv_budget_bytes(None) < 1 << 30
