"""Sensors that stick, lie and vanish, on readings that are told."""

from pocketseek.device.sensor_facts import SensorFacts, Temperature
from pocketseek.govern.sensor_trust import DEAF_S, SensorTrust


def facts(time_s: float, skin_c: float | None, chip_c: float | None = None) -> SensorFacts:
    skin = [Temperature("skin-therm", "skin", skin_c, "skin")] if skin_c is not None else []
    chip = [Temperature("cpu-0-0", "soc", chip_c, "chip")] if chip_c is not None else []
    return SensorFacts(time_s, (*skin, *chip))


def test_a_sensor_that_moves_is_believed() -> None:
    trust = SensorTrust()
    for second in range(1200):
        judged = trust.judge(facts(second, 25 + second / 100, 30 + second / 40), 1.0, float(second))
    assert judged == {"skin": "good", "chip": "good"}


def test_one_that_rests_with_everything_else_is_believed() -> None:
    trust = SensorTrust()
    for second in range(3600):
        judged = trust.judge(facts(second, 25.0, 31.0), 0.0, float(second))
    assert judged["skin"] == "good"


def test_one_that_never_moves_although_the_chip_got_hot_is_stuck() -> None:
    trust, found_s = SensorTrust(), None
    for second in range(1200):
        judged = trust.judge(facts(second, 20.0, 30.0 if second < 60 else 70.0), 1.0, float(second))
        if judged["skin"] == "stuck" and found_s is None:
            found_s = second
    assert found_s is not None
    assert 60 + DEAF_S < found_s < 60 + DEAF_S + 120


def test_without_a_chip_sensor_work_that_changed_is_enough() -> None:
    trust = SensorTrust()
    for second in range(1200):
        judged = trust.judge(facts(second, 20.5), 0.0 if second < 60 else 1.0, float(second))
    assert judged["skin"] == "stuck"


def test_nonsense_is_not_believed_and_what_is_gone_is_remembered() -> None:
    trust = SensorTrust()
    trust.judge(facts(0, 30.0), 0.0, 0.0)
    assert trust.judge(facts(1, 127.0), 0.0, 1.0) == {"skin": "out of range"}
    assert trust.judge(facts(2, None), 0.0, 2.0) == {"skin": "gone"}
    for second in range(3, 60):
        judged = trust.judge(facts(second, 30.0), 0.0, float(second))
    assert judged == {"skin": "good"}


def test_one_that_jumped_to_a_constant_is_not_believed_however_long_it_says_so() -> None:
    trust = SensorTrust()
    trust.judge(facts(0, 44.0), 0.3, 0.0)
    for second in range(1, 900):
        judged = trust.judge(facts(second, 20.0), 0.3, float(second))
    assert judged == {"skin": "jump"}
    for second in range(900, 960):
        judged = trust.judge(facts(second, 20.5), 0.3, float(second))
    assert judged == {"skin": "good"}


def test_a_chip_may_stand_still() -> None:
    trust = SensorTrust()
    for second in range(600):
        judged = trust.judge(facts(second, 30 + second / 50, 65.0), min(1.0, second / 100), float(second))
    assert judged["chip"] == "good"


def test_when_work_stops_a_sensor_has_to_move_once_and_may_rest_then() -> None:
    for moved_c, expected in ((0.0, "stuck"), (0.1, "good")):
        trust = SensorTrust()
        for second in range(900):
            skin_c = 52.5 + (moved_c if second > 100 else 0.0)
            judged = trust.judge(facts(second, skin_c, 60.0), 0.0, float(second), is_stopped=second > 60)
        assert judged["skin"] == expected
        assert judged["chip"] == "stuck"


def test_a_reading_that_is_told_again_is_judged_by_the_time_when_it_was_read() -> None:
    """From 30 to 36 °C in a minute is possible; in the second in which the program answered it would not be."""
    trust = SensorTrust()
    for second in range(120):
        age_s = float(second % 60)
        skin = Temperature("skin", "skin", 30.0 if second < 60 else 36.0, "skin", age_s)
        judged = trust.judge(SensorFacts(float(second), (skin,)), 1.0, float(second))
        assert judged == {"skin": "good"}


def test_a_flicker_between_two_values_is_stuck_when_work_changed_and_stays_so() -> None:
    """30.5 and 31.5 °C in turns: a battery cannot go there and back within two seconds."""
    trust = SensorTrust()
    for second in range(1500):
        battery = Temperature("battery", "battery", 30.5 + second % 2, "battery")
        work = 0.0 if second < 60 else 1.0
        judged = trust.judge(SensorFacts(float(second), (battery,)), work, float(second))
        if second > 60 + 600 + 30:
            assert judged == {"battery": "stuck"}
    for second in range(1500, 1600):
        battery = Temperature("battery", "battery", 32.5 + (second - 1500) // 10 / 10, "battery")
        judged = trust.judge(SensorFacts(float(second), (battery,)), 1.0, float(second))
    assert judged == {"battery": "good"}


def test_a_flicker_is_no_answer_to_a_stop() -> None:
    trust = SensorTrust()
    for second in range(900):
        told = facts(second, 52.5 + 0.5 * (second % 2))
        judged = trust.judge(told, 0.0, float(second), is_stopped=second > 60)
    assert judged["skin"] == "stuck"
