"""A measurement goes from rest to load, says how far it is, and is worth what it has whenever it is ended."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from fakes import FakeExecutor, fake_engine
from sample_reports import CONDITIONS, DEVICE, MODEL

from pocketseek.apps.report.measure import ReportRun, Subject
from pocketseek.apps.report.record import Conditions, Record
from pocketseek.device.sensor_facts import Battery, SensorFacts, Temperature
from pocketseek.errors import UsageError
from pocketseek.runtime.engine import Engine

QUICK = replace(CONDITIONS, prompt_tokens=20, new_tokens=4, repeats=2, idle_s=3.0, sustained_s=5.0)
Step = tuple[str, int, int]


class JumpClock:
    """Waiting is a jump, and `at` is called with the time after it."""

    def __init__(self, at: Callable[[float], object] = lambda now_s: None) -> None:
        self.time_s = 0.0
        self._at = at

    def now_s(self) -> float:
        return self.time_s

    def wait(self, seconds: float) -> None:
        self.time_s += seconds
        self._at(self.time_s)


class Phone:
    """Sensors: 1 W and 30 °C at rest (the first three seconds), 4 W and a degree more every second under load."""

    def __init__(self, clock: JumpClock, *, charging: bool = False) -> None:
        self._clock = clock
        self._charging = charging

    def __call__(self) -> SensorFacts:
        busy_s = max(0.0, self._clock.now_s() - 3.0)
        battery = Battery(0.8, self._charging, 4.0 if busy_s else 1.0, None, None, None, "test")
        return SensorFacts(0.0, (Temperature("a", "skin", 30 + busy_s, "a"),), battery, complaints=("b is stuck",))


def run_of(
    conditions: Conditions = QUICK,
    *,
    at: Callable[[float], object] = lambda now_s: None,
    sensors: Callable[[JumpClock], Callable[[], SensorFacts]] = Phone,
    open_engine: Callable[[], Engine] | None = None,
    steps: list[Step] | None = None,
) -> ReportRun:
    clock, seen = JumpClock(at), [] if steps is None else steps
    return ReportRun(
        open_engine or (lambda: fake_engine(FakeExecutor())),
        sensors(clock),
        Subject(DEVICE, MODEL),
        conditions,
        clock=clock,
        show=lambda *step: seen.append(step),
    )


def measured(conditions: Conditions = QUICK, **how: object) -> Record:
    run = run_of(conditions, **how)  # type: ignore[arg-type]  # the arguments of run_of
    run.run()
    return run.record


def test_a_report_has_every_figure() -> None:
    record = measured()
    assert not record.cut_short
    assert record.load_s is not None
    assert record.load_to_first_token_s is not None
    assert 0 <= record.load_s <= record.load_to_first_token_s
    assert record.short_answer is not None
    assert record.long_answer is not None
    assert (record.short_answer.prompt_tokens, record.short_answer.new_tokens) == (16, 8)
    assert (record.long_answer.prompt_tokens, record.long_answer.new_tokens, record.long_answer.count) == (20, 4, 2)
    assert 0 < record.short_answer.fastest_s <= record.short_answer.median_s <= record.short_answer.slowest_s
    assert record.speed is not None
    assert record.speed.decode_tokens_per_s > 0
    assert record.sustained is not None
    assert record.sustained.measured_s == 5.0
    assert record.complaints == ("b is stuck",)


def test_power_and_heat_are_compared_with_rest() -> None:
    record = measured()
    assert record.power is not None
    assert (record.power.idle_w, record.power.busy_w) == (1.0, 4.0)
    assert record.power_gap is None
    skin = record.heat_of("skin")
    assert skin is not None
    assert (skin.idle_c, skin.peak_c, skin.end_c) == (30.0, 35.0, 35.0)
    assert record.heat_of("soc") is None


@pytest.mark.parametrize(
    ("conditions", "sensors", "gap"),
    [
        (QUICK, lambda clock: lambda: SensorFacts(0.0), "no sensor"),
        (QUICK, lambda clock: Phone(clock, charging=True), "charging"),
        (replace(QUICK, sustained_s=0.0), Phone, "no sustained load"),
    ],
)
def test_a_power_that_was_not_measured_has_a_reason(conditions: Conditions, sensors: object, gap: str) -> None:
    record = measured(conditions, sensors=sensors)
    assert record.power is None
    assert record.power_gap == gap


def test_without_minutes_there_is_no_sustained_load_but_the_rest() -> None:
    record = measured(replace(QUICK, sustained_s=0.0))
    assert record.sustained is None
    assert record.speed is not None
    assert not record.cut_short


def test_several_sequences_have_no_long_answer_but_a_short_one_alone() -> None:
    record = measured(replace(QUICK, concurrency=3, new_tokens=100, prompt_tokens=5))
    assert record.long_answer is None
    assert record.short_answer is not None


@pytest.mark.parametrize(("at_s", "has_figures", "has_samples"), [(2.0, False, False), (6.0, True, True)])
def test_what_was_measured_until_an_interruption_is_there(at_s: float, has_figures: bool, has_samples: bool) -> None:
    opened: list[Engine] = []

    def interrupt(now_s: float) -> None:
        if now_s >= at_s:
            raise KeyboardInterrupt

    def open_engine() -> Engine:
        opened.append(fake_engine(FakeExecutor()))
        return opened[-1]

    run = run_of(at=interrupt, open_engine=open_engine)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert run.has_figures == has_figures
    record = run.record
    assert record.cut_short
    assert (record.speed is not None) == has_figures
    assert (record.sustained is not None) == has_samples
    assert record.power_gap == (None if has_samples else "cut short")
    for engine in opened:
        with pytest.raises(Exception, match="closed"):
            engine.score([1, 2])


def test_progress_goes_through_the_phases_and_never_beyond_an_end() -> None:
    steps: list[Step] = []
    measured(steps=steps)
    assert list(dict.fromkeys(phase for phase, _, _ in steps)) == ["rest", "answers", "sustained"]
    assert all(0 <= done <= total for _, done, total in steps)
    assert steps[-1] == ("sustained", 5, 5)


@pytest.mark.parametrize(
    "wrong",
    [{"sustained_s": -1.0}, {"sustained_s": float("nan")}, {"prompt_tokens": 0}, {"new_tokens": 1}, {"repeats": 0}],
)
def test_senseless_conditions_are_refused_before_anything_is_loaded(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        run_of(replace(QUICK, **wrong))  # type: ignore[arg-type]  # wrong on purpose
