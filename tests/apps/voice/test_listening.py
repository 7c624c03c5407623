"""When sound was made, whenever it came. What listening decides is tested in test_endpoint.py and test_session.py."""

import pytest

from pocketseek.apps.voice.listening import SoundClock

BLOCK_S = 0.032


def ends(came: list[float]) -> list[float]:
    clock = SoundClock()
    return [clock.end_of(BLOCK_S, came_s) for came_s in came]


def test_sound_that_comes_in_time_was_made_when_it_came() -> None:
    came = [5.0 + BLOCK_S * number for number in range(100)]
    assert ends(came) == pytest.approx(came, abs=1e-3)


def test_a_burst_after_a_stall_was_made_when_it_was_spoken() -> None:
    on_time = [BLOCK_S * (number + 1) for number in range(60)]
    came = [
        max(moment, 0.96 if moment > 0.5 else 0.0) for moment in on_time
    ]  # nothing for half a second, then all of it
    assert ends(came) == pytest.approx(on_time, abs=2e-3)


def test_a_source_that_pauses_is_followed() -> None:
    came = [BLOCK_S * number for number in range(1, 31)] + [20.0 + BLOCK_S * number for number in range(1, 31)]
    assert ends(came) == pytest.approx(came, abs=2e-3)


def test_a_source_whose_clock_runs_slow_is_followed() -> None:
    came = [1.0002 * BLOCK_S * number for number in range(1, 100_000)]
    assert max(abs(end - moment) for end, moment in zip(ends(came), came, strict=True)) < 0.01
