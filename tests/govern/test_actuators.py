"""How a share of heat becomes clock, threads and pauses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.govern.actuators import Actuation, actuate, heat_of, sequences_within

SHARES = st.floats(0.0, 1.0)


@given(st.lists(SHARES, min_size=1, max_size=20), st.integers(1, 8), st.booleans())
def test_the_heat_is_never_above_what_was_asked_for(shares: list[float], num_threads: int, caps_clock: bool) -> None:
    before: Actuation | None = None
    for share in shares:
        before = actuate(share, num_threads, before, caps_clock=caps_clock)
        heat = before.duty * before.heat(num_threads)
        assert heat <= share + 1e-9
        assert heat == pytest.approx(share, abs=1e-6) or before.duty == 1.0
        assert 1 <= before.threads <= num_threads
        assert 0.0 <= before.duty <= 1.0


def test_full_share_is_full_speed_whatever_was_before() -> None:
    before = actuate(0.1, 4, None, caps_clock=True)
    assert actuate(1.0, 4, before, caps_clock=True) == Actuation(4, 1.0, 1.0)


def test_clocks_are_lowered_before_threads_and_threads_before_pauses_get_long() -> None:
    assert actuate(0.44, 4, None, caps_clock=True).threads == 4
    assert actuate(0.44, 4, None, caps_clock=True).frequency_share == 0.7
    assert actuate(0.45, 4, None, caps_clock=False) == Actuation(2, 1.0, pytest.approx(0.45 / heat_of(2, 4, 1.0)))
    assert actuate(0.2, 4, None, caps_clock=False).threads == 1


def test_a_share_that_flutters_does_not_change_the_threads() -> None:
    border = heat_of(2, 4, 1.0)
    before, seen = actuate(border * 0.8, 4, None, caps_clock=False), set()
    for step in range(20):
        before = actuate(border * (0.97 + 0.02 * (step % 2)), 4, before, caps_clock=False)
        seen.add(before.threads)
    assert seen == {2}


def test_one_thread_only_pauses() -> None:
    assert actuate(0.3, 1, None, caps_clock=False) == Actuation(1, 1.0, 0.3)


@given(SHARES, st.integers(1, 8))
def test_threads_that_cannot_be_changed_are_no_rung_also_after_they_could_be(share: float, num_threads: int) -> None:
    before = actuate(0.1, num_threads, None, caps_clock=False)
    actuation = actuate(share, num_threads, before, caps_clock=False, changes_threads=False)
    assert actuation == Actuation(num_threads, 1.0, share)


def test_a_clock_that_is_refused_is_given_up_for_the_same_heat() -> None:
    before = actuate(0.3, 4, None, caps_clock=True)
    assert before.frequency_share < 1.0
    after = actuate(0.3, 4, before, caps_clock=False)
    assert after.frequency_share == 1.0
    assert after.duty * after.heat(4) == pytest.approx(0.3)


def test_fewer_sequences_at_a_low_pace() -> None:
    assert [sequences_within(share, 16) for share in (1.0, 0.5, 0.4, 0.1)] == [16, 16, 8, 4]
    assert sequences_within(0.0, 1) == 1
