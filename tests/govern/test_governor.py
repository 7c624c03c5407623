"""Limits that do not change, and are sensible."""

import pytest

from pocketseek.errors import UsageError
from pocketseek.govern.governor import FixedGovernor
from pocketseek.types import Limits


def test_one_thread_for_every_core_unless_the_user_says_otherwise() -> None:
    assert FixedGovernor(4).limits().num_threads == 4
    assert FixedGovernor(4, num_threads=2).limits().num_threads == 2


def test_limits_are_those_passed_in_and_stay() -> None:
    governor = FixedGovernor(1, max_tokens_per_pass=8, max_sequences=2)
    assert governor.limits() == governor.limits() == Limits(1, 8, 2)


def test_defaults_are_those_of_the_limits() -> None:
    assert FixedGovernor(1).limits() == Limits(num_threads=1)


@pytest.mark.parametrize("name", ["num_threads", "max_tokens_per_pass", "max_sequences"])
@pytest.mark.parametrize("value", [0, -1])
def test_less_than_one_is_refused(name: str, value: int) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        FixedGovernor(1, **{name: value})


def test_no_core_is_refused() -> None:
    with pytest.raises(UsageError, match="threads"):
        FixedGovernor(0)
