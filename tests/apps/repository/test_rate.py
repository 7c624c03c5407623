"""Rates are arithmetic over a clock."""

from threading import Event

import pytest

from pocketseek.apps.repository.rate import LeastRate, RateLimit


class Waits(Event):
    """Notes how long is waited for it, and lets the clock jump."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.now_s += timeout
        return False


def test_no_more_than_the_rate_comes_over_any_time() -> None:
    stop = Waits()
    limit = RateLimit(1000, clock=lambda: stop.now_s)
    for num_bytes in (100, 1, 899, 4000):
        limit.take(num_bytes, stop)
    assert stop.now_s == pytest.approx(5.0)


def test_time_that_was_not_used_is_not_saved_up() -> None:
    stop = Waits()
    limit = RateLimit(1000, clock=lambda: stop.now_s)
    stop.now_s = 100.0
    limit.take(1000, stop)
    assert stop.now_s == pytest.approx(101.0)


@pytest.mark.parametrize(("bytes_per_s", "piece_bytes"), [(1000, 1024), (100_000, 10_000), (10**9, 65536)])
def test_pieces_are_small_enough_for_an_even_rate(bytes_per_s: int, piece_bytes: int) -> None:
    assert RateLimit(bytes_per_s).piece_bytes == piece_bytes


def test_a_peer_is_too_slow_when_a_whole_window_of_waiting_brought_too_little() -> None:
    rate = LeastRate(100, window_s=10)
    assert rate.add(999, 9.9)
    assert not rate.add(0, 0.2)
    assert rate.add(1000, 10.0)
    assert rate.add(10**6, 0.0)  # what comes without waiting is never slow
