"""What a sensor must do to be believed, and that no honest one is ever doubted."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.device.movement import FASTEST_C_PER_S
from pocketseek.device.plausible import HELD_S, RECOVER_S, STEP_C, STUCK_S, Judgement, Plausible
from pocketseek.device.sensor_facts import Kind

KINDS: tuple[Kind, ...] = ("skin", "battery", "soc", "other")


def run(sensor: Plausible, values_c: list[float | None], start_s: float = 0.0, step_s: float = 1.0) -> list[Judgement]:
    return [sensor.judge(value_c, start_s + number * step_s) for number, value_c in enumerate(values_c)]


def trembling(around_c: float, num: int) -> list[float | None]:
    return [around_c + 0.1 * (number % 3) for number in range(num)]


@pytest.mark.parametrize(
    ("value_c", "judgement"),
    [(None, "gone"), (-20.0, "out of range"), (127.0, "out of range"), (math.nan, "out of range"), (45.0, "good")],
)
def test_one_reading_is_judged_at_once(value_c: float | None, judgement: Judgement) -> None:
    assert Plausible().judge(value_c, 0.0) == judgement


def test_a_sensor_that_stands_still_under_load_is_stuck() -> None:
    judgements = run(Plausible("skin"), [38.25] * 302)
    assert judgements[: int(STUCK_S["skin"])] == ["good"] * 300
    assert judgements[-1] == "stuck"


def test_whole_degrees_may_stand_still_for_longer() -> None:
    judgements = run(Plausible("skin"), [45.0] * 901)
    assert (judgements[899], judgements[900]) == ("good", "stuck")


def test_nothing_is_stuck_while_nothing_should_move() -> None:
    sensor = Plausible("skin")
    assert {sensor.judge(31.7, float(time_s), should_move=False) for time_s in range(2000)} == {"good"}


def test_a_flicker_between_two_values_is_no_sign_of_life() -> None:
    judgements = run(Plausible("skin"), [38.3, 39.3] * 200)
    assert judgements[:300] == ["good"] * 300
    assert judgements[-1] == "stuck"


def test_what_a_battery_tells_may_be_some_minutes_old_and_no_older() -> None:
    most_c = STEP_C + FASTEST_C_PER_S["battery"] * (HELD_S + 10)
    for kind, further_c, expected in (
        ("battery", most_c, "good"),
        ("battery", most_c + 1, "jump"),
        ("skin", 9.0, "jump"),
    ):
        sensor = Plausible(kind)  # type: ignore[arg-type]  a Kind
        for number in range(41):
            assert sensor.judge(30.3, 10.0 * number, should_move=False) == "good"
        assert sensor.judge(30.2 + further_c, 410.0) == expected


def test_a_stuck_sensor_is_believed_again_once_it_has_moved_for_a_while() -> None:
    sensor = Plausible("skin")
    run(sensor, [38.25] * 301)
    judgements = run(sensor, trembling(38.3, 60), start_s=301.0)
    assert judgements == ["stuck"] * int(RECOVER_S) + ["good"] * 30


def test_a_glitch_is_a_jump_and_costs_half_a_minute_of_trust() -> None:
    sensor = Plausible("skin")
    run(sensor, trembling(40.0, 10))
    assert sensor.judge(90.0, 10.0) == "jump"
    assert run(sensor, trembling(40.0, 32), start_s=11.0) == ["jump"] * 30 + ["good"] * 2


def test_a_sensor_that_fell_to_a_lie_is_not_believed_before_physics_could_have_done_it() -> None:
    sensor = Plausible("skin")
    run(sensor, trembling(45.0, 10))
    judgements = run(sensor, trembling(20.0, 200), start_s=10.0)
    could_be_s = (25 - 2) / FASTEST_C_PER_S["skin"]
    first_good = judgements.index("good")
    assert first_good >= could_be_s + RECOVER_S - 5
    assert set(judgements[:first_good]) == {"jump"}


def test_trouble_that_changes_gets_the_newer_name() -> None:
    assert run(Plausible(), [40.0, 127.0, None, 40.0]) == ["good", "out of range", "gone", "gone"]


@given(
    kind=st.sampled_from(KINDS),
    start_c=st.floats(10, 60),
    shares=st.lists(st.floats(-1, 1), max_size=100),
    step_s=st.floats(0.1, 10),
    resolution_c=st.sampled_from([0.001, 0.1, 1.0]),
)
def test_a_sensor_that_obeys_physics_never_jumps(
    kind: Kind, start_c: float, shares: list[float], step_s: float, resolution_c: float
) -> None:
    sensor, true_c = Plausible(kind), start_c
    for number, share in enumerate(shares):
        true_c = min(max(true_c + share * FASTEST_C_PER_S[kind] * step_s, -15.0), 115.0)
        shown_c = round(true_c / resolution_c) * resolution_c
        assert sensor.judge(shown_c, number * step_s, should_move=False) == "good"


@given(
    kind=st.sampled_from(KINDS),
    rubbish=st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=50),
    good_c=st.floats(0, 90),
)
def test_whatever_happened_a_good_sensor_is_believed_in_the_end(
    kind: Kind, rubbish: list[float | None], good_c: float
) -> None:
    sensor = Plausible(kind)
    run(sensor, rubbish)
    longest_s = 140 / FASTEST_C_PER_S[kind] + RECOVER_S + 10
    judgements = run(sensor, trembling(good_c, int(longest_s / 5) + 3), start_s=len(rubbish) + 1.0, step_s=5.0)
    assert judgements[-1] == "good"


@given(values_c=st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=60))
def test_good_is_only_said_of_values_in_range(values_c: list[float | None]) -> None:
    for value_c, judgement in zip(values_c, run(Plausible("soc"), values_c), strict=True):
        if judgement == "good":
            assert value_c is not None
            assert -20 < value_c < 120
