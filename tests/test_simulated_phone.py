"""The made-up phone behaves as one: what the tests that use it rest on."""

import pytest
from simulated_phone import FULL_PACE, STEPS, OnOff, Pace, PhoneParts, SimulatedPhone, best_constant, no_control, run


def test_full_load_takes_the_skin_far_above_the_set_point() -> None:
    phone = SimulatedPhone()
    run(phone, no_control)
    assert 55 < phone.hottest_c < 65


def test_at_rest_it_stays_as_it_is() -> None:
    phone = SimulatedPhone(ambient_c=30.0)
    phone.advance(1800.0, 0.0)
    assert phone.skin_c == pytest.approx(30.0 + phone.parts.rest_w * phone.parts.skin_k_per_w, abs=0.3)


def test_the_chip_follows_in_seconds_and_the_skin_in_minutes() -> None:
    phone = SimulatedPhone()
    before_c = phone.skin_c
    phone.advance(30.0, 1.0)
    assert phone.chip_c > before_c + 20
    assert phone.skin_c < before_c + 2


def test_energy_goes_into_heat_or_out() -> None:
    phone = SimulatedPhone(ambient_c=25.0)
    begun_c = phone.skin_c
    out_j = 0.0
    for _ in range(1200):
        out_j += 0.5 * (phone.skin_c - 25.0) / phone.parts.skin_k_per_w
        phone.advance(0.5, 0.7)
    kept_j = (phone.skin_c - begun_c) * phone.parts.skin_j_per_k + (phone.chip_c - begun_c) * phone.parts.chip_j_per_k
    assert phone.energy_j == pytest.approx(out_j + kept_j, rel=1e-6)


def test_leakage_grows_with_temperature() -> None:
    cold, hot = SimulatedPhone(ambient_c=10.0), SimulatedPhone(ambient_c=40.0)
    assert hot.power_w(FULL_PACE) > cold.power_w(FULL_PACE)


def test_its_own_throttle_keeps_the_chip_near_its_limit() -> None:
    phone = SimulatedPhone(PhoneParts().scaled(power=1.5, resistance=1.5), ambient_c=35.0)
    run(phone, no_control)
    assert phone.chip_c < phone.parts.throttle_c + 2
    assert phone.speed(FULL_PACE) < 1.0


def test_half_the_clock_brings_more_for_its_power_than_half_the_time() -> None:
    phone = SimulatedPhone()
    slow = Pace(frequency=0.5)
    assert phone.speed(slow) / phone.power_w(slow) > phone.speed(FULL_PACE) / phone.power_w(FULL_PACE)
    assert [share for share, _ in STEPS] == sorted(share for share, _ in STEPS)


@pytest.mark.parametrize(("rounds", "shown_c"), [(False, 44.0), (True, 45.0)])
def test_the_sensor_shows_whole_steps_and_comes_late(rounds: bool, shown_c: float) -> None:
    phone = SimulatedPhone(resolution_c=1.0, lag_s=60.0, rounds=rounds)
    phone._sensor_c = 44.7
    assert phone.skin_sensor_c() == shown_c
    late = SimulatedPhone(lag_s=60.0)
    late.advance(120.0, 1.0)
    assert late.skin_sensor_c() < late.skin_c - 1


def test_the_best_constant_pace_is_just_below_the_limit() -> None:
    speed = best_constant(PhoneParts(), 25.0, 45.5, FULL_PACE)
    phone = SimulatedPhone()
    run(phone, lambda _: Pace(duty=speed), every_s=10.0)
    assert 45.3 < phone.hottest_c <= 45.5


def test_on_and_off_goes_back_and_forth() -> None:
    phone = SimulatedPhone()
    curve = run(phone, OnOff(Pace(duty=0.0)))
    late = [skin_c for time_s, skin_c in curve if time_s > 1200]
    assert min(late) < 43.2
    assert max(late) > 44.8
