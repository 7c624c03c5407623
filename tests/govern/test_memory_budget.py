"""Leases never exceed the total, whatever is asked for and whoever asks at the same time."""

from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pocketseek.errors import MemoryLimitError, UsageError
from pocketseek.govern.memory_budget import MemoryBudget

AMOUNTS = st.integers(0, 200)
NAMES = st.sampled_from(["weights", "pages", "workspace"])


def test_a_lease_is_set_not_added() -> None:
    budget = MemoryBudget(100)
    budget.lease("pages", 60)
    budget.lease("pages", 70)
    assert (budget.of("pages"), budget.leased_bytes, budget.free_bytes) == (70, 70, 30)


def test_what_does_not_fit_is_refused_with_a_remedy_and_changes_nothing() -> None:
    budget = MemoryBudget(100)
    budget.lease("pages", 60)
    with pytest.raises(
        MemoryLimitError, match=r"weights needs 41 bytes and 40 of the budget of 100.*allow more memory"
    ):
        budget.lease("weights", 41)
    assert budget.leases() == {"pages": 60}


def test_a_released_name_leaves_its_bytes_to_others() -> None:
    budget = MemoryBudget(100)
    budget.lease("pages", 60)
    budget.release("pages")
    budget.release("pages")
    budget.lease("weights", 100)
    assert budget.of("pages") == 0


def test_a_total_that_is_approached_follows_the_leases_down() -> None:
    budget = MemoryBudget(100)
    budget.lease("pages", 60)
    budget.lease("weights", 30)
    assert budget.approach(50) == 90
    budget.lease("pages", 40)
    assert (budget.total_bytes, budget.free_bytes, budget.over_bytes) == (70, 0, 20)
    with pytest.raises(MemoryLimitError):
        budget.lease("weights", 31)
    budget.release("pages")
    assert (budget.total_bytes, budget.free_bytes, budget.over_bytes) == (50, 20, 0)


@pytest.mark.parametrize("call", ["lease", "approach"])
def test_negative_bytes_are_refused(call: str) -> None:
    budget = MemoryBudget(1)
    with pytest.raises(UsageError, match="0 or more"):
        budget.lease("x", -1) if call == "lease" else getattr(budget, call)(-1)


@given(AMOUNTS)
def test_a_new_budget_is_all_free(total_bytes: int) -> None:
    assert MemoryBudget(total_bytes).free_bytes == total_bytes


class AnyHistory(RuleBasedStateMachine):
    """Against a dict and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = MemoryBudget(100)
        self.leases: dict[str, int] = {}
        self.wanted_bytes = 100

    @rule(name=NAMES, num_bytes=AMOUNTS)
    def lease(self, name: str, num_bytes: int) -> None:
        others_bytes = sum(value for key, value in self.leases.items() if key != name)
        total_bytes = max(self.wanted_bytes, sum(self.leases.values()))
        if others_bytes + num_bytes <= total_bytes:
            self.budget.lease(name, num_bytes)
            self.leases[name] = num_bytes
        else:
            with pytest.raises(MemoryLimitError):
                self.budget.lease(name, num_bytes)

    @rule(name=NAMES)
    def release(self, name: str) -> None:
        self.budget.release(name)
        self.leases.pop(name, None)

    @rule(num_bytes=AMOUNTS)
    def approach(self, num_bytes: int) -> None:
        self.budget.approach(num_bytes)
        self.wanted_bytes = num_bytes

    @invariant()
    def counts_agree_and_fit(self) -> None:
        leased_bytes = sum(self.leases.values())
        assert self.budget.leased_bytes == leased_bytes
        assert self.budget.total_bytes == max(self.wanted_bytes, leased_bytes)
        assert self.budget.free_bytes == self.budget.total_bytes - leased_bytes >= 0
        assert self.budget.over_bytes == max(0, leased_bytes - self.wanted_bytes)


TestAnyHistory = AnyHistory.TestCase


def test_threads_that_lease_at_the_same_time_never_get_more_than_there_is() -> None:
    budget = MemoryBudget(100)
    overdrafts: list[int] = []

    def take_and_give(name: str) -> None:
        for round_number in range(300):
            try:
                budget.lease(name, round_number % 60)
            except MemoryLimitError:
                budget.release(name)
            leased_bytes = sum(budget.leases().values())
            if leased_bytes > 100:
                overdrafts.append(leased_bytes)

    threads = [Thread(target=take_and_give, args=(f"holder {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not overdrafts
