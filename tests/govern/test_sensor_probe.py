"""Dips in the work that show whether a sensor still moves."""

from pocketseek.device.plausible import STUCK_S
from pocketseek.govern.sensor_probe import DIP, LAG_S, LATE_LAG_S, MOST_WAIT, SensorProbe


class Bench:
    """A sensor that the test moves, under a load that obeys the probe; a look every second."""

    def __init__(self, reading_c: float, work: float = 1.0) -> None:
        self.probe = SensorProbe()
        self.reading_c = reading_c
        self.work = work
        self.now_s = 0.0

    def until_dip(self, most_s: float = 20_000.0) -> float:
        """Seconds until work is held down."""
        begun_s = self.now_s
        while self.probe.most_share == 1.0 and self.now_s - begun_s < most_s:
            assert not self.look()
        return self.now_s - begun_s

    def until_found(self, *, is_late: bool = False, age_s: float = 0.0) -> float:
        begun_s = self.now_s
        while not self.look(is_late=is_late, age_s=age_s):
            assert self.now_s - begun_s < 2000
        return self.now_s - begun_s

    def look(self, *, is_late: bool = False, age_s: float = 0.0) -> bool:
        self.now_s += 1.0
        work = min(self.work, self.probe.most_share)
        return self.probe.update(self.reading_c, work, self.now_s, is_late=is_late, age_s=age_s)


def test_a_reading_that_stays_under_load_is_tried_out() -> None:
    bench = Bench(38.4)
    assert STUCK_S["skin"] <= bench.until_dip() < STUCK_S["skin"] + 60
    assert abs(bench.probe.most_share - DIP) < 0.01
    assert bench.until_found() < 60
    assert bench.probe.most_share == 1.0


def test_whole_degrees_get_more_time_and_a_battery_more_still() -> None:
    fine, coarse, late = Bench(38.4), Bench(38.0), Bench(38.4)
    for bench in (fine, coarse, late):
        bench.until_dip()
    assert fine.until_found() < coarse.until_found() < 120
    assert late.until_found(is_late=True) >= LATE_LAG_S


def test_an_old_reading_is_not_blamed_for_what_it_could_not_see() -> None:
    bench = Bench(38.4)
    bench.until_dip()
    assert bench.until_found(age_s=30.0) >= LAG_S + 30.0


def test_a_sensor_that_moves_ends_the_dip_and_is_left_alone_for_longer_every_time() -> None:
    bench, waits = Bench(38.4), []
    for _ in range(6):
        waits.append(bench.until_dip())
        bench.reading_c -= 0.1
        assert not bench.look()
        assert bench.probe.most_share == 1.0
    assert waits[1] > 1.9 * waits[0]
    assert abs(waits[-1] - MOST_WAIT * STUCK_S["skin"]) < 60


def test_little_work_is_not_worth_a_trial() -> None:
    assert Bench(44.0, work=0.2).until_dip(7200) == 7200


def test_a_sensor_that_moves_by_itself_is_never_tried_out() -> None:
    bench = Bench(38.0)
    for number in range(7200):
        bench.reading_c = 38.0 + 0.1 * (number // 200 % 2)
        assert not bench.look()
        assert bench.probe.most_share == 1.0


def test_no_reading_is_no_constant() -> None:
    probe = SensorProbe()
    for second in range(3600):
        assert not probe.update(None, 1.0, float(second))
        assert probe.most_share == 1.0
