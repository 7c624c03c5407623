"""The governor closed with the simulated phone: half an hour of full load, phones of all kinds, sensors of all kinds.

`benchmarks/heat_loop.py` does the same for all phones; here is one of each kind, so that it takes seconds.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from simulated_phone import (
    FULL_PACE,
    Governed,
    OnOff,
    Pace,
    PhoneParts,
    SimulatedPhone,
    ToldNowAndThen,
    best_constant,
    no_control,
    run,
)

from pocketseek.device.sensor_facts import SensorFacts
from pocketseek.govern.thermal_control import BLIND_SHARE, LEAST_SHARE

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


@pytest.mark.parametrize(
    ("name", "ambient_c", "lag_s", "held_s"),
    [("usual", 25.0, 60.0, 0.0), ("hot and light", 35.0, 120.0, 0.0), ("light", 35.0, 30.0, 60.0)],
)
def test_a_skin_that_only_a_late_battery_tells_of_is_held(
    name: str, ambient_c: float, lag_s: float, held_s: float
) -> None:
    phone = SimulatedPhone(parts_of(name), ambient_c, lag_s=lag_s)
    governed = Governed(phone, ToldNowAndThen(phone, 10.0, "battery", held_s=held_s, has_chip=False))
    run(phone, governed)
    assert governed.status.sensor == "battery"
    assert phone.hottest_c <= LIMIT_C
    assert phone.work_s / phone.time_s >= 0.9 * best_constant(parts_of(name), ambient_c, LIMIT_C, FULL_PACE)


@pytest.mark.parametrize("name", ["light", "hot and heavy"])
def test_a_skin_that_a_program_tells_every_ten_seconds_will_do(name: str) -> None:
    phone = SimulatedPhone(parts_of(name), lag_s=15.0)
    run(phone, Governed(phone, ToldNowAndThen(phone, 10.0)))
    assert phone.hottest_c <= LIMIT_C
    assert phone.work_s / phone.time_s >= 0.9 * best_constant(parts_of(name), 25.0, LIMIT_C, FULL_PACE)


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


@pytest.mark.parametrize("name", ["usual", "hot", "well cooled and light"])
def test_where_threads_stay_as_they_are_pauses_hold_it(name: str) -> None:
    """As with ONNX Runtime. The margin for whole degrees costs more there, where nothing is won by fewer threads."""
    parts = parts_of(name)
    best = best_constant(parts, 35.0, LIMIT_C, FULL_PACE)
    for resolution_c, lag_s, rounds in SENSORS.values():
        phone = SimulatedPhone(parts, 35.0, resolution_c=resolution_c, lag_s=lag_s, rounds=rounds)
        run(phone, Governed(phone, changes_threads=False, obeys_threads=False))
        assert phone.hottest_c <= LIMIT_C
        assert resolution_c == 1.0 or phone.work_s / phone.time_s >= 0.9 * best


@pytest.mark.parametrize("name", ["usual", "hot and light"])
def test_clocks_that_are_refused_are_not_counted_on(name: str) -> None:
    phone = SimulatedPhone(parts_of(name))
    governed = Governed(phone, caps_clock=True, clock_acts=lambda: False, obeys_clock=False)
    run(phone, governed)
    assert phone.hottest_c <= LIMIT_C
    assert governed.status.frequency_share == 1.0


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


def test_in_surroundings_too_hot_for_anything_it_stops_and_then_crawls_since_stopping_does_not_help() -> None:
    phone = SimulatedPhone(ambient_c=50.0)
    governed = Governed(phone)
    run(phone, governed, 2)
    assert governed.status.state == "emergency"
    assert phone.work_s < 2  # the looks that it took
    run(phone, governed, 10)
    assert (governed.status.state, governed.status.share) == ("unreachable", LEAST_SHARE)
    assert phone.hottest_c < 50.0 + phone.parts.rest_w * phone.parts.skin_k_per_w + 1.0
    phone.ambient_c = 20.0
    run(phone, governed, 15)
    assert governed.status.state in ("free", "holding")


@pytest.mark.parametrize("has_chip", [True, False])
def test_a_sensor_at_rest_while_the_work_crawls_is_still_believed(has_chip: bool) -> None:
    phone = SimulatedPhone(ambient_c=50.0)
    governed = Governed(phone, phone.facts if has_chip else lambda: _without_chip(phone.facts()))
    run(phone, governed, 10)
    for _ in range(60):
        run(phone, governed, 1)
        assert governed.status.state == "unreachable"
    assert not governed.status.distrusted


def test_a_limit_below_the_temperature_of_the_room_is_no_end() -> None:
    phone = SimulatedPhone(ambient_c=30.0)
    governed = Governed(phone, set_point_c=25.0)
    run(phone, governed, 10)
    assert governed.status.state == "unreachable"
    assert phone.work_s > 5


Lie = Callable[[SensorFacts, float], SensorFacts]


def _without(facts: SensorFacts, time_s: float) -> SensorFacts:
    return replace(facts, temperatures=facts.temperatures[1:])


def _cold(facts: SensorFacts, time_s: float) -> SensorFacts:
    skin, *rest = facts.temperatures
    return replace(facts, temperatures=(replace(skin, celsius=20.0), *rest))


def _absurd(facts: SensorFacts, time_s: float) -> SensorFacts:
    skin, *rest = facts.temperatures
    return replace(facts, temperatures=(replace(skin, celsius=127.0), *rest))


def _without_chip(facts: SensorFacts) -> SensorFacts:
    return replace(facts, temperatures=facts.temperatures[:1])


# Without a chip and without a skin nothing was ever seen, and nobody watches.
@pytest.mark.parametrize(
    ("lie", "after_s", "has_chip"),
    [(_without, 0.0, True), (_without, 900.0, True), (_without, 900.0, False)]
    + [(lie, after_s, has_chip) for lie in (_cold, _absurd) for after_s in (0.0, 900.0) for has_chip in (True, False)],
)
def test_a_sensor_that_vanishes_or_lies_leads_to_a_careful_pace_that_is_told(
    lie: Lie, after_s: float, has_chip: bool
) -> None:
    phone = SimulatedPhone()

    def facts() -> SensorFacts:
        told = phone.facts() if has_chip else _without_chip(phone.facts())
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


@pytest.mark.parametrize("resolution_c", [0.1, 1.0])
@pytest.mark.parametrize("stuck_c", [27.0, 33.0, 40.0, 44.0])
def test_without_a_chip_sensor_one_that_sticks_under_a_steady_load_is_found_out(
    stuck_c: float, resolution_c: float
) -> None:
    phone = SimulatedPhone(resolution_c=resolution_c)
    is_stuck = False

    def facts() -> SensorFacts:
        nonlocal is_stuck
        (skin,) = _without_chip(phone.facts()).temperatures
        is_stuck = is_stuck or skin.celsius >= stuck_c
        return SensorFacts(phone.time_s, (replace(skin, celsius=stuck_c) if is_stuck else skin,))

    governed = Governed(phone, facts)
    run(phone, governed)
    assert governed.status.state == "blind"
    assert list(dict(governed.status.distrusted).values()) == ["stuck"]
    assert phone.hottest_c < 51.0  # 6.5 minutes at full load from 44 °C on; without control it is 60 °C
    assert phone.skin_c < 46.0
    run(phone, lambda _: Pace(duty=0.0), 1)
    run(phone, governed, 5)
    assert governed.status.state == "blind", "a rest makes no constant a temperature"


@pytest.mark.parametrize("gap_c", [0.3, 1.0])
def test_without_a_chip_sensor_one_that_begins_to_flicker_is_found_out_too(gap_c: float) -> None:
    phone = SimulatedPhone()

    def facts() -> SensorFacts:
        (skin,) = _without_chip(phone.facts()).temperatures
        lie_c = 40.0 + gap_c * (round(phone.time_s) % 2)
        return SensorFacts(phone.time_s, (replace(skin, celsius=lie_c) if skin.celsius >= 40.0 else skin,))

    governed = Governed(phone, facts)
    run(phone, governed)
    assert (governed.status.state, governed.status.share) == ("blind", BLIND_SHARE)
    assert list(dict(governed.status.distrusted).values()) == ["stuck"]
    assert phone.hottest_c < 51.0


@pytest.mark.parametrize("resolution_c", [0.1, 1.0])
def test_a_phone_at_rest_with_its_load_is_tried_out_now_and_then_and_never_slowed_else(resolution_c: float) -> None:
    phone = SimulatedPhone(PhoneParts().scaled(power=0.5), resolution_c=resolution_c)
    governed = Governed(phone, lambda: _without_chip(phone.facts()))
    run(phone, governed, 240)
    assert governed.status.state == "free"
    assert phone.work_s > 0.98 * phone.time_s


@pytest.mark.parametrize("lying_c", [96.0, 110.0, 96.4])
def test_a_chip_that_always_lies_hot_does_not_end_the_work(lying_c: float) -> None:
    phone = SimulatedPhone()

    def facts() -> SensorFacts:
        skin, chip = phone.facts().temperatures
        return SensorFacts(phone.time_s, (skin, replace(chip, celsius=lying_c)))

    governed = Governed(phone, facts)
    run(phone, governed, 10)
    assert governed.status.state in ("free", "holding")
    assert list(dict(governed.status.distrusted).values()) == ["stuck"]
    assert phone.work_s > 80  # at a quarter of full heat at least


def test_a_chip_that_something_else_keeps_hot_does_not_end_the_work_either() -> None:
    phone = SimulatedPhone()

    def facts() -> SensorFacts:
        skin, chip = phone.facts().temperatures
        return SensorFacts(phone.time_s, (skin, replace(chip, celsius=97.0 + phone.time_s % 3)))

    governed = Governed(phone, facts)
    run(phone, governed, 10)
    assert (governed.status.state, governed.status.share) == ("unreachable", LEAST_SHARE)


def test_one_slip_of_the_chip_sensor_stops_nothing() -> None:
    phone = SimulatedPhone()

    def facts() -> SensorFacts:
        skin, chip = phone.facts().temperatures
        return SensorFacts(phone.time_s, (skin, replace(chip, celsius=97.0) if phone.time_s == 30 else chip))

    governed = Governed(phone, facts)
    run(phone, governed, 1)
    assert phone.work_s > 55


@pytest.mark.parametrize("has_chip", [True, False])
@pytest.mark.parametrize("resolution_c", [0.1, 1.0])
def test_a_skin_sensor_that_lies_hot_from_the_first_reading_leads_to_the_careful_pace(
    resolution_c: float, has_chip: bool
) -> None:
    phone = SimulatedPhone()
    lie_c = 49.3 if resolution_c < 1.0 else 49.0

    def facts() -> SensorFacts:
        skin, *rest = (phone.facts() if has_chip else _without_chip(phone.facts())).temperatures
        return SensorFacts(phone.time_s, (replace(skin, celsius=lie_c), *rest))

    governed = Governed(phone, facts)
    run(phone, governed, 30)
    assert (governed.status.state, governed.status.share) == ("blind", BLIND_SHARE)
