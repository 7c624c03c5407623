"""The control law on temperatures that are told to it, without a phone."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pocketseek.govern.thermal_control import (
    BLIND_SHARE,
    LEAST_SHARE,
    RISE_PER_S,
    ThermalControl,
    ThermalDecision,
)


def told(
    control: ThermalControl, skin_c: float | None, seconds: int, *, begin_s: int = 0, chip_c: float | None = None
) -> ThermalDecision:
    """The same readings for so long, with as much work as was allowed."""
    decision = control.update(skin_c, chip_c, float(begin_s), 0.0)
    for second in range(1, seconds):
        decision = control.update(skin_c, chip_c, float(begin_s + second), decision.share)
    return decision


def test_a_cool_phone_is_free() -> None:
    decision = told(ThermalControl(), 30.0, 60)
    assert (decision.state, decision.share, decision.reason) == ("free", 1.0, "cool")


def test_above_the_set_point_it_slows_down_and_says_why() -> None:
    decision = told(ThermalControl(), 46.0, 120)
    assert (decision.state, decision.reason) == ("holding", "skin")
    assert LEAST_SHARE <= decision.share < 0.5


def test_three_degrees_above_nothing_runs_until_it_is_a_degree_below() -> None:
    control = ThermalControl()
    assert told(control, 48.0, 5).share == 0.0
    assert told(control, 44.5, 5, begin_s=10).state == "emergency"
    after = told(control, 43.9, 5, begin_s=20)
    assert after.state == "holding"
    assert 0.0 < after.share <= 10 * RISE_PER_S


def test_one_reading_that_is_told_again_counts_once() -> None:
    """A program is asked every ten seconds, and one of its readings may be a slip as well as any other."""
    for slip in ((48.5, None), (40.0, 96.0)):
        control = ThermalControl()
        told(control, 40.0, 5, chip_c=60.0)
        states = set()
        for second in range(10):
            is_new = second == 0
            decision = control.update(*slip, 5.0 + second, 0.5, skin_is_new=is_new, chip_is_new=is_new)
            states.add(decision.state)
        assert "emergency" not in states
        for second in range(3):
            decision = control.update(*slip, 15.0 + second, 0.5)
        assert decision.state == "emergency"


def test_the_chip_has_a_limit_of_its_own() -> None:
    slow = told(ThermalControl(), 30.0, 60, chip_c=90.0)
    assert (slow.state, slow.reason) == ("holding", "chip")
    assert slow.share < 0.2
    assert told(ThermalControl(), 30.0, 60, chip_c=84.0).share == 1.0
    assert told(ThermalControl(), 30.0, 3, chip_c=95.0).share == 0.0


def test_a_chip_that_is_all_there_was_and_is_gone_makes_it_careful_after_a_while() -> None:
    control = ThermalControl()
    assert told(control, None, 60, chip_c=60.0).state == "free"
    assert told(control, None, 20, begin_s=60).share == 1.0
    blind = told(control, None, 60, begin_s=80)
    assert (blind.state, blind.share, blind.reason) == ("blind", BLIND_SHARE, "no sensor")
    assert told(control, None, 120, begin_s=140, chip_c=60.0).share == 1.0


def test_where_there_never_was_any_sensor_nothing_is_held_back() -> None:
    assert told(ThermalControl(), None, 300).state == "free"


def test_where_there_never_was_a_skin_sensor_only_the_chip_counts() -> None:
    assert told(ThermalControl(), None, 60, chip_c=70.0).state == "free"
    assert told(ThermalControl(), None, 60, chip_c=89.0).reason == "chip"


def test_without_the_sensor_that_there_was_it_goes_on_carefully_and_comes_back() -> None:
    control = ThermalControl()
    told(control, 35.0, 60)
    blind = told(control, None, 60, begin_s=60)
    assert (blind.state, blind.reason, blind.share) == ("blind", "no sensor", BLIND_SHARE)
    seeing = told(control, 35.0, 120, begin_s=120)
    assert (seeing.state, seeing.share) == ("free", 1.0)


def test_blind_it_does_less_than_what_held_the_set_point() -> None:
    control = ThermalControl()
    for second in range(600):  # hot surroundings: little work holds it at 44.8
        control.update(44.8, None, float(second), 0.1)
    for second in range(600, 660):
        blind = control.update(None, None, float(second), 0.1)
    assert blind.share < 0.1


def test_nothing_winds_up_while_nobody_asks_for_anything() -> None:
    control = ThermalControl()
    for second in range(3600):
        control.update(44.0, None, float(second), 0.0)
    for second in range(3600, 3660):
        decision = control.update(46.0, None, float(second), 1.0)
    assert decision.share < 0.3


def test_full_speed_is_free_only_when_it_has_lasted() -> None:
    control = ThermalControl()
    told(control, 46.0, 60)
    states = [control.update(30.0, None, 60.0 + second, 0.0).state for second in range(200)]
    assert states[-1] == "free"
    assert states.index("free") > 50
    assert states == sorted(states, key=("holding", "free").index)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(-20, 120)),
            st.one_of(st.none(), st.floats(-20, 120)),
            st.floats(0, 100),
            st.floats(0, 1),
        ),
        max_size=80,
    )
)
@settings(deadline=None)
def test_for_every_history_the_share_is_a_share_and_rises_slowly(
    history: list[tuple[float | None, float | None, float, float]],
) -> None:
    control, time_s, before = ThermalControl(), 0.0, 1.0
    for skin_c, chip_c, seconds, work in history:
        time_s += seconds
        decision = control.update(skin_c, chip_c, time_s, work)
        assert 0.0 <= decision.share <= 1.0
        assert decision.share <= before + RISE_PER_S * seconds + 1e-9
        assert decision.share == 0.0 or decision.state != "emergency"
        before = decision.share
