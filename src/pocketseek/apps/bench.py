"""How fast one model is here and what it takes: load, prefill, decode, memory.

A run of a given number of sequences reads made-up prompts and then writes tokens, greedily and without an end token, so
that every run does the same work. The first run is not measured (it warms the caches); of the others the median counts.
Memory is that of the whole process, Python included: peak RSS as the kernel keeps it, anonymous memory sampled.
Bytes are those of writing (decoding): from storage as the kernel counts them for this process, weights read from memory
as the passes need them. The joules are an estimate, see `energy`.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pocketseek.apps.bench_runs import RequestMaker, Run, check_fits, first_token, run_once
from pocketseek.apps.energy import ModelWork, joules
from pocketseek.device.memory import process_memory
from pocketseek.errors import UsageError
from pocketseek.runtime.engine import Engine

_SAMPLE_INTERVAL_S = 0.02


@dataclass(frozen=True)
class TokenCost:
    """Of a token that is written. storage_bytes: None where the system does not tell (Android); counts as 0 then.

    weight_bytes: read from memory; a pass with several tokens in it reads once for all.
    estimated_joules: unmeasured on a device, see `energy`.
    """

    storage_bytes: float | None
    weight_bytes: float
    estimated_joules: float


@dataclass(frozen=True)
class BenchReport:
    """first_token_s: from asking to the first token of a warm run. load_to_first_token_s: from nothing, a short prompt.

    Rates are tokens per second over all sequences together. Memory is None where the system does not tell.
    """

    load_s: float
    load_to_first_token_s: float
    first_token_s: float
    prompt_tokens: int
    prefill_tokens_per_s: float
    new_tokens: int
    decode_tokens_per_s: float
    concurrency: int
    peak_rss_bytes: int | None
    peak_anonymous_bytes: int | None
    per_token: TokenCost


def bench_model(
    open_engine: Callable[[], Engine],
    work: ModelWork,
    *,
    prompt_tokens: int = 512,
    new_tokens: int = 128,
    concurrency: int = 1,
    repeats: int = 3,
    make_request: RequestMaker | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BenchReport:
    """Measure. make_request: instead of made-up ones. progress(done, total) counts runs.

    Raises UsageError for figures that make no sense or do not fit.
    """
    for name, value, least in (("prompt tokens", prompt_tokens, 1), ("new tokens", new_tokens, 2)):
        if value < least:
            raise UsageError(f"the number of {name} is {value}; use {least} or more")
    if concurrency < 1 or repeats < 1:
        raise UsageError("concurrency and repeats must be 1 or more")
    with _AnonymousPeak() as peak:
        start_s = time.perf_counter()
        with closing(open_engine()) as engine:
            load_s = time.perf_counter() - start_s
            first_token(engine)
            load_to_first_token_s = time.perf_counter() - start_s
            check_fits(engine, prompt_tokens + new_tokens)
            runs: list[Run] = []
            for number in range(repeats + 1):
                runs.append(run_once(engine, number, prompt_tokens, new_tokens, concurrency, make_request))
                if progress is not None:
                    progress(number + 1, repeats + 1)
    measured = runs[1:]
    return BenchReport(
        load_s=load_s,
        load_to_first_token_s=load_to_first_token_s,
        first_token_s=statistics.median(run.first_token_s for run in measured),
        prompt_tokens=prompt_tokens,
        prefill_tokens_per_s=statistics.median(run.prefill_tokens_per_s for run in measured),
        new_tokens=new_tokens,
        decode_tokens_per_s=statistics.median(run.decode_tokens_per_s for run in measured),
        concurrency=concurrency,
        peak_rss_bytes=process_memory().peak_rss_bytes,
        peak_anonymous_bytes=peak.num_bytes,
        per_token=_token_cost(measured, work),
    )


def _token_cost(runs: list[Run], work: ModelWork) -> TokenCost:
    known = [run.storage_bytes_per_token for run in runs if run.storage_bytes_per_token is not None]
    storage_bytes = statistics.median(known) if known else None
    weight_bytes = work.weight_bytes * statistics.median(run.passes_per_token for run in runs)
    return TokenCost(storage_bytes, weight_bytes, joules(storage_bytes or 0.0, weight_bytes, work.multiply_adds))


class _AnonymousPeak:
    """Watches this process's anonymous memory from a thread of its own; num_bytes is None where it cannot be read."""

    def __init__(self) -> None:
        self.num_bytes: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pocketseek-memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            now_bytes = process_memory().anonymous_bytes
            if now_bytes is not None:
                self.num_bytes = max(now_bytes, self.num_bytes or 0)
            if self._stop.wait(_SAMPLE_INTERVAL_S):
                return
