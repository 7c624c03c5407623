"""The battery's policy by itself."""

from pocketseek.device.sensor_facts import Battery
from pocketseek.govern.governor import FixedGovernor
from pocketseek.govern.power_governor import POWER_LOOK_S, PowerGovernor

INNER = FixedGovernor(4)


class Device:
    """A battery, and how late it is."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.battery: Battery | None = None
        self.num_looks = 0

    def drain(self, level: float) -> None:
        self.battery = Battery(level, False, None, None, None, None, "test")

    def look(self) -> Battery | None:
        self.num_looks += 1
        return self.battery

    def governor(self, *, screen_off: bool = False) -> PowerGovernor:
        return PowerGovernor(INNER, self.look, screen_off=screen_off, clock=lambda: self.now_s)


def test_on_mains_nothing_is_changed() -> None:
    assert Device().governor().limits() == INNER.limits()


def test_a_battery_that_runs_low_is_noticed_at_the_next_look() -> None:
    device = Device()
    governor = device.governor()
    device.drain(0.5)
    assert (governor.limits().coalesce_s, governor.limits().duty) == (2.0, 1.0)
    device.drain(0.09)
    device.now_s = POWER_LOOK_S - 1
    assert governor.limits().duty == 1.0
    device.now_s = POWER_LOOK_S
    limits = governor.limits()
    assert (limits.duty, limits.duty * limits.background_duty, limits.coalesce_s) == (0.5, 0.25, 10.0)
    assert device.num_looks == 2


def test_with_the_screen_off_background_waits_and_runs_half_of_the_time_without_any_battery_too() -> None:
    limits = Device().governor(screen_off=True).limits()
    assert (limits.duty, limits.background_duty, limits.coalesce_s) == (1.0, 0.5, 15.0)


def test_while_nothing_changes_the_answer_is_the_same_object() -> None:
    device = Device()
    governor = device.governor(screen_off=True)
    first = governor.limits()
    device.now_s = 5 * POWER_LOOK_S
    assert governor.limits() is first
