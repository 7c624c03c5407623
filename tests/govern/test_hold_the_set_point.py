"""The governor closed with the simulated phone: half an hour of full load, phones of all kinds, sensors of all kinds.

`benchmarks/heat_loop.py` does the same for all phones; here is one of each kind, so that it takes seconds.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from simulated_phone import FULL_PACE, Governed, OnOff, Pace, PhoneParts, SimulatedPhone, best_constant, no_control, run

from pocketseek.device.sensor_facts import SensorFacts
from pocketseek.govern.thermal_control import BLIND_SHARE

LIMIT_C = 45.5
PHONES = {  # power, resistance, capacity
    "usual": (1.0, 1.0, 1.0),
    "hot": (1.5, 1.5, 1.0),
    "hot and light": (1.5, 1.5, 0.5),
    "hot and heavy": (1.5, 1.5, 1.5),
    "light": (1.0, 1.0, 0.5),
    "well cooled and light": (1.5, 0.5, 0.5),
}
SENSORS = {  # resolution, lag, rounds
    "fine": (0.1, 5.0, False),
    "fine and late": (0.1, 15.0, False),
    "whole degrees": (1.0, 5.0, False),
    "whole degrees, rounded, late": (1.0, 10.0, True),
}


def parts_of(name: str) -> PhoneParts:
    power, resistance, capacity = PHONES[name]
    return PhoneParts().scaled(power=power, resistance=resistance, capacity=capacity)


@pytest.mark.parametrize("ambient_c", [25.0, 35.0])
@pytest.mark.parametrize("name", PHONES)
def test_it_holds_the_set_point_and_is_as_fast_as_the_best_constant_pace(name: str, ambient_c: float) -> None:
    parts = parts_of(name)
    needed = 0.9 * best_constant(parts, ambient_c, LIMIT_C, FULL_PACE)
    for resolution_c, lag_s, rounds in SENSORS.values():
        phone = SimulatedPhone(parts, ambient_c, resolution_c=resolution_c, lag_s=lag_s, rounds=rounds)
        run(phone, Governed(phone))
        assert phone.hottest_c <= LIMIT_C
        assert phone.work_s / phone.time_s >= needed


def test_a_battery_a_minute_behind_the_skin_will_do() -> None:
    phone = SimulatedPhone(lag_s=60.0)

    def facts() -> SensorFacts:
        skin, *rest = phone.facts().temperatures
        return SensorFacts(phone.time_s, (replace(skin, kind="battery"), *rest))

    governed = Governed(phone, facts)
    run(phone, governed)
    assert governed.status.sensor == "battery"
    assert phone.hottest_c <= LIMIT_C
    assert phone.work_s / phone.time_s >= 0.9 * best_constant(PhoneParts(), 25.0, LIMIT_C, FULL_PACE)


def test_a_phone_that_stays_cool_is_never_slowed() -> None:
    parts = PhoneParts().scaled(power=0.5)
    phone = SimulatedPhone(parts)
    run(phone, Governed(phone))
    assert phone.work_s == pytest.approx(phone.time_s)


def test_it_neither_gets_as_warm_as_without_nor_swings_as_on_and_off() -> None:
    def swing(policy: Callable[[SimulatedPhone], object], phone: SimulatedPhone) -> float:
        late = [skin_c for time_s, skin_c in run(phone, policy) if time_s > 1200]  # type: ignore[arg-type]  a Policy
        return max(late) - min(late)

    free, stepped, held = SimulatedPhone(), SimulatedPhone(), SimulatedPhone()
    run(free, no_control)
    assert free.hottest_c > 55
    assert swing(OnOff(Pace(duty=0.0)), stepped) > 1.5
    assert swing(Governed(held), held) < 0.3


def test_capped_clocks_bring_more_than_pauses() -> None:
    paused, clocked = SimulatedPhone(), SimulatedPhone()
    run(paused, Governed(paused))
    run(clocked, Governed(clocked, caps_clock=True))
    assert clocked.hottest_c <= LIMIT_C
    assert clocked.work_s > 1.1 * paused.work_s


def test_the_sun_comes_out_and_goes() -> None:
    phone = SimulatedPhone()
    governed = Governed(phone)
    run(phone, governed, 20)
    phone.ambient_c = 33.0
    run(phone, governed, 20)
    assert phone.hottest_c <= LIMIT_C
    phone.ambient_c = 5.0
    run(phone, governed, 60)
    assert governed.status.share > 0.9


def test_in_surroundings_too_hot_for_anything_it_stops() -> None:
    phone = SimulatedPhone(ambient_c=50.0)
    governed = Governed(phone)
    run(phone, governed, 10)
    assert governed.status.state == "emergency"
    assert phone.work_s < 10


Lie = Callable[[SensorFacts, float], SensorFacts]


def _without(facts: SensorFacts, time_s: float) -> SensorFacts:
    return replace(facts, temperatures=facts.temperatures[1:])


def _cold(facts: SensorFacts, time_s: float) -> SensorFacts:
    skin, *rest = facts.temperatures
    return replace(facts, temperatures=(replace(skin, celsius=20.0), *rest))


def _absurd(facts: SensorFacts, time_s: float) -> SensorFacts:
    skin, *rest = facts.temperatures
    return replace(facts, temperatures=(replace(skin, celsius=127.0), *rest))


@pytest.mark.parametrize("lie", [_without, _cold, _absurd])
@pytest.mark.parametrize("after_s", [0.0, 900.0])
def test_a_sensor_that_vanishes_or_lies_leads_to_a_careful_pace_that_is_told(lie: Lie, after_s: float) -> None:
    phone = SimulatedPhone()

    def facts() -> SensorFacts:
        told = phone.facts()
        return lie(told, phone.time_s) if phone.time_s > after_s else told

    governed = Governed(phone, facts)
    run(phone, governed)
    assert governed.status.state == "blind"
    assert governed.status.reason == "no sensor"
    assert governed.status.share <= BLIND_SHARE
    assert dict(governed.status.distrusted)
    assert phone.hottest_c < 48.0


def test_a_sensor_that_sticks_is_noticed() -> None:
    phone = SimulatedPhone(ambient_c=30.0)
    stuck = replace(phone.facts().temperatures[0], celsius=35.7)

    def facts() -> SensorFacts:
        skin, *rest = phone.facts().temperatures
        return SensorFacts(phone.time_s, (skin if skin.celsius < stuck.celsius else stuck, *rest))

    governed = Governed(phone, facts)
    run(phone, governed)
    assert governed.status.state == "blind"
    assert dict(governed.status.distrusted) == {stuck.source: "stuck"}
