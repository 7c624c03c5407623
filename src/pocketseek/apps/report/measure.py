"""Measure one model for a report: at rest, loading, short and long answers, and a sustained load if asked for.

What was measured is kept as it comes, so that `record` is worth something whenever the run ends. Sensors are passed in;
what they do not say stays None.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pocketseek import __version__
from pocketseek.apps.bench_runs import Run, check_fits, first_token, run_once
from pocketseek.apps.report.reading import Look, heat_of_looks, look_at
from pocketseek.apps.report.record import (
    AnswerTime,
    Conditions,
    DeviceSeen,
    ModelSeen,
    Power,
    PowerGap,
    Record,
    Speed,
)
from pocketseek.apps.report.sustained import SAMPLE_S, Clock, SustainedRun, WallClock, power_of
from pocketseek.device.memory import process_memory
from pocketseek.device.sensor_facts import SensorFacts
from pocketseek.errors import UsageError
from pocketseek.runtime.engine import Engine

Phase = Literal["rest", "answers", "sustained"]
ShowPhase = Callable[[Phase, int, int], None]
SHORT_PROMPT_TOKENS, SHORT_NEW_TOKENS, _SHORT_REPEATS = 16, 8, 9
_LONGEST_S = 86_400
_SHORT_NUMBER = 500_000  # of made-up prompts: none that the longer answers have


@dataclass(frozen=True)
class Subject:
    """What is measured, and where."""

    device: DeviceSeen
    model: ModelSeen


class ReportRun:
    """One measurement. `run` may be left by any exception; `record` then says what is known."""

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        sensors: Callable[[], SensorFacts],
        subject: Subject,
        conditions: Conditions,
        *,
        clock: Clock | None = None,
        show: ShowPhase = lambda phase, done, total: None,
    ) -> None:
        """show(phase, done, total): seconds at rest and under load, answers in between. Raises UsageError."""
        _check(conditions)
        self._open_engine = open_engine
        self._sensors = sensors
        self._subject = subject
        self._conditions = conditions
        self._clock = clock or WallClock()
        self._show = show
        self._created = datetime.now(UTC).isoformat(timespec="seconds")
        self._at_rest: list[Look] = []
        self._between: list[Look] = []
        self._complaints: tuple[str, ...] = ()
        self._opening: tuple[float, float] | None = None
        self._short: list[Run] = []
        self._long: list[Run] = []
        self._sustained: SustainedRun | None = None
        self._complete = False

    def run(self) -> None:
        self._rest()
        start_s = time.perf_counter()
        with self._open_engine() as engine:
            load_s = time.perf_counter() - start_s
            first_token(engine)
            self._opening = (load_s, time.perf_counter() - start_s)
            self._answers(engine)
            if (heat := engine.thermal_status()) is not None and heat.holds_limit:  # slow programs have told by now
                self._conditions = dataclasses.replace(self._conditions, temperature_limit_c=heat.set_point_c)
            if self._conditions.sustained_s:
                self._load(engine)
        self._complete = True

    @property
    def has_figures(self) -> bool:
        return self._opening is not None

    @property
    def record(self) -> Record:
        samples = self._sustained.samples if self._sustained is not None else []
        looks = self._between + [sample.look for sample in samples]
        power = power_of(self._at_rest, samples)
        long = self._long
        return Record(
            created=self._created,
            program_version=__version__,
            device=self._subject.device,
            model=self._subject.model,
            conditions=self._conditions,
            cut_short=not self._complete,
            load_s=self._opening[0] if self._opening else None,
            load_to_first_token_s=self._opening[1] if self._opening else None,
            short_answer=_answer_time(self._short, SHORT_PROMPT_TOKENS, SHORT_NEW_TOKENS),
            long_answer=self._long_answer(),
            speed=_speed(long) if long else None,
            peak_rss_bytes=process_memory().peak_rss_bytes,
            heat=heat_of_looks(self._at_rest, looks),
            power=power,
            power_gap=self._power_gap(power, looks),
            sustained=self._sustained.result() if self._sustained is not None else None,
            complaints=self._complaints,
        )

    def _rest(self) -> None:
        """The first looks may come before slow sensors have said anything, so there is always one at the end."""
        start_s, idle_s = self._clock.now_s(), self._conditions.idle_s
        self._look()  # starts what has to run for a while; not at rest yet: this program was just loaded
        while (left_s := start_s + idle_s - self._clock.now_s()) > 0:
            self._show("rest", int(idle_s - left_s), max(1, round(idle_s)))
            self._clock.wait(min(SAMPLE_S, left_s))
            self._at_rest.append(self._look())

    def _answers(self, engine: Engine) -> None:
        conditions = self._conditions
        prompt_tokens, new_tokens = conditions.prompt_tokens, conditions.new_tokens
        check_fits(engine, prompt_tokens + new_tokens)
        total = _SHORT_REPEATS + conditions.repeats + 2
        for number in range(_SHORT_REPEATS + 1):
            self._show("answers", number, total)
            run = run_once(engine, _SHORT_NUMBER + number, SHORT_PROMPT_TOKENS, SHORT_NEW_TOKENS, 1)
            self._short += [run] if number else []  # the first warms up
        for number in range(conditions.repeats + 1):
            self._show("answers", _SHORT_REPEATS + 1 + number, total)
            run = run_once(engine, number, prompt_tokens, new_tokens, conditions.concurrency)
            self._long += [run] if number else []
        self._between.append(self._look())

    def _load(self, engine: Engine) -> None:
        conditions = self._conditions
        self._sustained = SustainedRun(
            engine, self._sensors, self._clock, concurrency=conditions.concurrency, seconds=conditions.sustained_s
        )
        total = max(1, round(conditions.sustained_s))
        self._show("sustained", 0, total)
        self._sustained.run(lambda elapsed_s: self._show("sustained", min(total, round(elapsed_s)), total))

    def _look(self) -> Look:
        facts = self._sensors()
        self._complaints = facts.complaints
        return look_at(facts)

    def _long_answer(self) -> AnswerTime | None:
        """Only at batch 1: with more sequences a run is no single answer."""
        if self._conditions.concurrency != 1:
            return None
        return _answer_time(self._long, self._conditions.prompt_tokens, self._conditions.new_tokens)

    def _power_gap(self, power: Power | None, looks: list[Look]) -> PowerGap | None:
        if power is not None:
            return None
        gaps = {look.power_gap for look in self._at_rest + looks}
        if "charging" in gaps:
            return "charging"
        if None not in gaps:  # no look at all had a power
            return "no sensor"
        return "cut short" if self._conditions.sustained_s and not self._complete else "no sustained load"


def _check(conditions: Conditions) -> None:
    if not 0 <= conditions.sustained_s <= _LONGEST_S:  # also refuses NaN
        raise UsageError(f"{conditions.sustained_s / 60:g} minutes make no measurement; use more than 0, at most 1440")
    if conditions.prompt_tokens < 1 or conditions.new_tokens < 2:
        raise UsageError("an answer to be timed needs a prompt of 1 token and 2 new tokens at least")
    if conditions.concurrency < 1 or conditions.repeats < 1:
        raise UsageError("concurrency and repeats must be 1 or more")


def _answer_time(runs: list[Run], prompt_tokens: int, new_tokens: int) -> AnswerTime | None:
    if not runs:
        return None
    times_s = [run.answer_s for run in runs]
    return AnswerTime(prompt_tokens, new_tokens, len(runs), statistics.median(times_s), min(times_s), max(times_s))


def _speed(runs: list[Run]) -> Speed:
    return Speed(
        first_token_s=statistics.median(run.first_token_s for run in runs),
        prefill_tokens_per_s=statistics.median(run.prefill_tokens_per_s for run in runs),
        decode_tokens_per_s=statistics.median(run.decode_tokens_per_s for run in runs),
    )
