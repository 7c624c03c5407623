"""The engine at full load for a while, looked at once a second: how long does it keep its speed?

So many sequences as asked for write made-up answers all the time, each a new one when its last is complete. Nothing is
driven but the engine's front door, so whatever holds the engine back (memory, heat, another program) is in the curve.
The caller's thread looks at the clock, the engine's counts and the sensors; a thread for each sequence reads answers.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from pocketseek.apps.bench_runs import check_fits, made_up_request
from pocketseek.apps.report.reading import Look, look_at
from pocketseek.apps.report.record import Power, PowerSource, Samples, Sustained
from pocketseek.device.sensor_facts import SensorFacts
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.token_stream import TokenStream

ANSWER_PROMPT_TOKENS, ANSWER_NEW_TOKENS, _LEAST_NEW_TOKENS = 16, 256, 8
SAMPLE_S = 1.0
_END_SHARE, _END_S = 0.1, 60.0  # what counts as the beginning and the end of the load
_FIRST_NUMBER = 1_000_000  # of made-up prompts: none that the short measurements had


class Clock(Protocol):
    def now_s(self) -> float: ...

    def wait(self, seconds: float) -> None: ...


class WallClock:
    def now_s(self) -> float:
        return time.perf_counter()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True)
class Sample:
    """Of the time since the sample before; see `record.Samples`. busy_s: of the passes that ended in it, which may have
    begun before. heat_share: that the governor allowed at its end, None if nobody watches."""

    time_s: float
    num_tokens: int
    tokens_per_s: float
    busy_s: float
    look: Look
    heat_share: float | None = None


class SustainedRun:
    """samples: what was seen so far, also while `run` works and after it was interrupted."""

    def __init__(
        self, engine: Engine, sensors: Callable[[], SensorFacts], clock: Clock, *, concurrency: int, seconds: float
    ) -> None:
        """Answers are shorter where the context is short. Raises UsageError where it is too short for any."""
        check_fits(engine, ANSWER_PROMPT_TOKENS + _LEAST_NEW_TOKENS)
        self._new_tokens = min(ANSWER_NEW_TOKENS, engine.context_length - ANSWER_PROMPT_TOKENS)
        self.samples: list[Sample] = []
        self._engine = engine
        self._sensors = sensors
        self._clock = clock
        self._concurrency = concurrency
        self._seconds = seconds

    def run(self, show: Callable[[float], None]) -> None:
        """show(elapsed_s) is called with every sample. Raises what an answer ends with, also KeyboardInterrupt."""
        with _busy(self._engine, self._concurrency, self._new_tokens) as answering:
            start_s = self._clock.now_s()
            last_s, last = start_s, self._engine.statistics()
            while (left_s := start_s + self._seconds - last_s) > 0:
                self._clock.wait(min(SAMPLE_S, left_s))
                for answer in answering:
                    if answer.done():
                        answer.result()
                now_s, now = self._clock.now_s(), self._engine.statistics()
                num_tokens = now.load.num_tokens - last.load.num_tokens
                span_s = max(now_s - last_s, 1e-6)
                busy_s = max(0.0, now.executor_s - last.executor_s)
                look = look_at(self._sensors())
                share = now.thermal.share if now.thermal is not None else None
                self.samples.append(Sample(now_s - start_s, num_tokens, num_tokens / span_s, busy_s, look, share))
                last_s, last = now_s, now
                show(now_s - start_s)
        for answer in answering:  # one may have failed since the last look
            answer.result()

    def result(self) -> Sustained | None:
        """Of the samples so far."""
        return summarise(self.samples, self._new_tokens) if self.samples else None


@contextmanager
def _busy(engine: Engine, concurrency: int, new_tokens: int) -> Iterator[Sequence[Future[None]]]:
    """Answers are written meanwhile. Leaving ends them at the next border between passes."""
    over = threading.Event()
    numbers = itertools.count(_FIRST_NUMBER)  # next() of it is atomic
    streams: list[TokenStream | None] = [None] * concurrency

    def answer(place: int) -> None:
        while not over.is_set():
            request = made_up_request(engine, next(numbers), ANSWER_PROMPT_TOKENS, new_tokens)
            with engine.stream(request) as stream:
                streams[place] = stream
                if over.is_set():
                    return
                for _ in stream:
                    pass

    with ThreadPoolExecutor(concurrency, thread_name_prefix="pocketseek-load") as threads:
        try:
            yield [threads.submit(answer, place) for place in range(concurrency)]
        finally:
            over.set()
            for stream in streams:
                if stream is not None:
                    stream.close()


def summarise(samples: Sequence[Sample], new_tokens: int = ANSWER_NEW_TOKENS) -> Sustained:
    """samples: one or more. new_tokens: of every answer."""
    measured_s = samples[-1].time_s
    end_s = min(_END_SHARE * measured_s, _END_S)
    first = [sample for sample in samples if sample.time_s <= end_s] or samples[:1]
    last = [sample for sample in samples if sample.time_s > measured_s - end_s]
    before_s = samples[-len(last) - 1].time_s if len(last) < len(samples) else 0.0
    num_tokens = sum(sample.num_tokens for sample in samples)
    looks = [sample.look for sample in samples]
    return Sustained(
        measured_s=measured_s,
        num_tokens=num_tokens,
        tokens_per_s=num_tokens / measured_s,
        first_tokens_per_s=sum(sample.num_tokens for sample in first) / first[-1].time_s,
        last_tokens_per_s=sum(sample.num_tokens for sample in last) / (measured_s - before_s),
        answer_prompt_tokens=ANSWER_PROMPT_TOKENS,
        answer_new_tokens=new_tokens,
        samples=Samples(
            time_s=tuple(round(sample.time_s, 3) for sample in samples),
            tokens_per_s=tuple(round(sample.tokens_per_s, 3) for sample in samples),
            duty=tuple(round(share, 4) for share in duties(samples)),
            heat_share=tuple(sample.heat_share for sample in samples),
            skin_c=tuple(look.skin_c for look in looks),
            battery_c=tuple(look.battery_c for look in looks),
            soc_c=tuple(look.soc_c for look in looks),
            frequency_hz=tuple(look.frequency_hz for look in looks),
            power_w=tuple(look.power_w for look in looks),
        ),
    )


def duties(samples: Sequence[Sample]) -> list[float]:
    """The share of each sample's time in which passes ran. A pass is counted when it ends: what is more than the time
    of its sample was spent in those before it."""
    spans_s = [end_s - start_s for start_s, end_s in pairwise([0.0, *(sample.time_s for sample in samples)])]
    busy_s = [sample.busy_s for sample in samples]
    for number in range(len(samples) - 1, 0, -1):
        before_s = max(0.0, busy_s[number] - spans_s[number])
        busy_s[number] -= before_s
        busy_s[number - 1] += before_s
    return [min(1.0, busy / max(span, 1e-6)) for busy, span in zip(busy_s, spans_s, strict=True)]


def power_of(at_rest: Sequence[Look], samples: Sequence[Sample]) -> Power | None:
    """By the source that was there at rest; samples without it (a charger was plugged in) do not count."""
    source = next((look.power_source for look in at_rest if look.power_source is not None), None)
    rest = [look.power_w for look in at_rest if look.power_source == source and look.power_w is not None]
    starts_s = [0.0, *(sample.time_s for sample in samples)]
    busy = [
        (sample.time_s - start_s, sample.num_tokens, sample.look.power_w)
        for start_s, sample in zip(starts_s, samples, strict=False)
        if sample.look.power_source == source and sample.look.power_w is not None
    ]
    if source is None or not busy:
        return None
    return _power(source, sum(rest) / len(rest), busy)


def _power(source: PowerSource, idle_w: float, busy: Sequence[tuple[float, int, float]]) -> Power | None:
    """busy: (seconds, tokens, watts)."""
    busy_s = sum(seconds for seconds, _, _ in busy)
    num_tokens = sum(tokens for _, tokens, _ in busy)
    energy_j = sum(seconds * watts for seconds, _, watts in busy)
    added_j = energy_j - idle_w * busy_s
    if energy_j <= 0:
        return None
    return Power(
        source=source,
        idle_w=idle_w,
        busy_w=energy_j / busy_s,
        tokens_per_joule=num_tokens / energy_j,
        tokens_per_added_joule=num_tokens / added_j if added_j > 0 else None,
    )
