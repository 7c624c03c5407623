"""Whether a stop helps, on temperatures that are told."""

import math
from collections.abc import Callable

from pocketseek.govern.stop_effect import CHIP_S, COARSE_SKIN_S, SKIN_S, StopEffect


def first_vain_s(skin: object, chip: object = None, *, by_skin: bool = True, most_s: int = 3600) -> int | None:
    """skin, chip: functions of time in seconds, or None."""

    def at(curve: object, time_s: float) -> float | None:
        return curve(time_s) if callable(curve) else None

    effect = StopEffect(at(skin, 0), at(chip, 0), 0.0)
    for second in range(1, most_s):
        if effect.is_vain(at(skin, second), at(chip, second), float(second), by_skin=by_skin):
            return second
    return None


def cooling(from_c: float, room_c: float, settle_s: float, step_c: float) -> Callable[[float], float]:
    return lambda s: math.floor((room_c + (from_c - room_c) * math.exp(-s / settle_s)) / step_c) * step_c


def test_a_phone_in_a_warm_room_cools_down_far_enough() -> None:
    for step_c in (0.1, 1.0):
        for settle_s in (300.0, 660.0, 1500.0):
            end_s = settle_s * math.log((48 - 38) / (44 - 38))  # to where work begins again
            assert first_vain_s(cooling(48.0, 38.0, settle_s, step_c), most_s=int(end_s)) is None


def test_one_in_the_sun_does_not() -> None:
    assert first_vain_s(lambda s: 48.3) == SKIN_S
    assert first_vain_s(lambda s: 48.0) == COARSE_SKIN_S
    assert first_vain_s(lambda s: 48.0 + s / 600) is not None


def test_a_chip_that_another_keeps_hot_does_not_either() -> None:
    found_s = first_vain_s(None, lambda s: 97.0 + s % 3, by_skin=False)
    assert found_s is not None
    assert CHIP_S <= found_s <= 3 * CHIP_S


def test_a_chip_that_was_ours_cools_at_once_and_then_with_the_phone() -> None:
    def chip(second: float) -> float:
        return 70.0 + 12.0 * math.exp(-second / 600) + 15.0 * math.exp(-second / 8)

    assert first_vain_s(None, chip, by_skin=False, most_s=200) is None


def test_a_battery_may_go_on_rising_for_some_minutes() -> None:
    for is_late, expected in ((False, True), (True, False)):
        effect = StopEffect(48.0, None, 0.0, is_late=is_late)
        vain = [
            effect.is_vain(48.0 + min(second, 150) / 300, None, float(second), by_skin=True) for second in range(400)
        ]
        assert any(vain) is expected
