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
from pathlib import Path
from types import TracebackType
from typing import Self

from pocketseek.apps.energy import ModelWork, joules
from pocketseek.device.memory import process_memory
from pocketseek.device.reading import parse_int, read_fields
from pocketseek.errors import UsageError
from pocketseek.runtime.engine import Engine
from pocketseek.types import Request, SamplingParams

_OWN_IO = Path("/proc/self/io")
_SAMPLE_INTERVAL_S = 0.02
_PROMPT_STEP = 7919  # a prime: the made-up prompts walk through the vocabulary


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


@dataclass(frozen=True)
class _Run:
    first_token_s: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    passes_per_token: float
    storage_bytes_per_token: float | None


@dataclass(frozen=True)
class _Counts:
    """Of the engine and of this process, at one moment."""

    num_tokens: int
    num_passes: int
    storage_bytes: int | None


def bench_model(
    open_engine: Callable[[], Engine],
    work: ModelWork,
    *,
    prompt_tokens: int = 512,
    new_tokens: int = 128,
    concurrency: int = 1,
    repeats: int = 3,
    progress: Callable[[int, int], None] | None = None,
) -> BenchReport:
    """Measure. progress(done, total) counts runs. Raises UsageError for figures that make no sense or do not fit."""
    for name, value, least in (("prompt tokens", prompt_tokens, 1), ("new tokens", new_tokens, 2)):
        if value < least:
            raise UsageError(f"the number of {name} is {value}; use {least} or more")
    if concurrency < 1 or repeats < 1:
        raise UsageError("concurrency and repeats must be 1 or more")
    with _AnonymousPeak() as peak:
        start_s = time.perf_counter()
        with closing(open_engine()) as engine:
            load_s = time.perf_counter() - start_s
            _first_token(engine)
            load_to_first_token_s = time.perf_counter() - start_s
            _check_fits(engine, prompt_tokens + new_tokens)
            runs: list[_Run] = []
            for number in range(repeats + 1):
                runs.append(_run(engine, number, prompt_tokens, new_tokens, concurrency))
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


def _token_cost(runs: list[_Run], work: ModelWork) -> TokenCost:
    known = [run.storage_bytes_per_token for run in runs if run.storage_bytes_per_token is not None]
    storage_bytes = statistics.median(known) if known else None
    weight_bytes = work.weight_bytes * statistics.median(run.passes_per_token for run in runs)
    return TokenCost(storage_bytes, weight_bytes, joules(storage_bytes or 0.0, weight_bytes, work.multiply_adds))


def _first_token(engine: Engine) -> None:
    for _ in engine.stream(_request(engine, 0, 8, 1)):
        pass


def _check_fits(engine: Engine, num_tokens: int) -> None:
    if num_tokens > engine.context_length:
        raise UsageError(
            f"{num_tokens} tokens do not fit the context of {engine.context_length} that model and memory allow; "
            "ask for fewer or allow more memory"
        )


def _run(engine: Engine, number: int, prompt_tokens: int, new_tokens: int, concurrency: int) -> _Run:
    """All prompts are asked at once; decoding is timed from when the last sequence has its first token."""
    requests = [_request(engine, number * concurrency + i, prompt_tokens, new_tokens) for i in range(concurrency)]
    before = _counts(engine)
    start_s = time.perf_counter()
    streams = [engine.stream(request) for request in requests]
    next(streams[0])
    first_s = time.perf_counter()
    for stream in streams[1:]:
        next(stream)
    read_s = time.perf_counter()
    # Earlier sequences wrote while later ones were still reading, so the engine has to say how far they are. A single
    # one has written its first token, no more, however late this thread was woken.
    read = _counts(engine)
    num_written = read.num_tokens - before.num_tokens if concurrency > 1 else 1
    for stream in streams:
        for _ in stream:
            pass
    end_s = time.perf_counter()
    num_left = concurrency * new_tokens - num_written
    if num_left == 0:
        raise UsageError("the answers are too short to be timed; ask for more new tokens")
    passes_per_token, storage_bytes_per_token = _per_token(read, _counts(engine))
    return _Run(
        first_s - start_s,
        concurrency * prompt_tokens / (read_s - start_s),
        num_left / (end_s - read_s),
        passes_per_token,
        storage_bytes_per_token,
    )


def _counts(engine: Engine) -> _Counts:
    load = engine.statistics().load
    return _Counts(load.num_tokens, load.num_passes, parse_int(read_fields(_OWN_IO).get("read_bytes", "")))


def _per_token(start: _Counts, end: _Counts) -> tuple[float, float | None]:
    """(passes, bytes from storage). Both counts are the engine's own, so it does not matter when this thread was woken
    to take the first; if everything was written by then, a token took a pass."""
    num_tokens = end.num_tokens - start.num_tokens
    if num_tokens == 0:
        return 1.0, None
    passes = (end.num_passes - start.num_passes) / num_tokens
    if start.storage_bytes is None or end.storage_bytes is None:
        return passes, None
    return passes, (end.storage_bytes - start.storage_bytes) / num_tokens


def _request(engine: Engine, number: int, prompt_tokens: int, new_tokens: int) -> Request:
    prompt = _made_up_prompt(number, prompt_tokens, engine.tokenizer.vocab_size)
    return Request(prompt, new_tokens, SamplingParams(temperature=0), logprobs=False)


def _made_up_prompt(number: int, num_tokens: int, vocab_size: int) -> tuple[int, ...]:
    """Different for every number, so that no cache of prompts can help."""
    return tuple((number + 1 + index * _PROMPT_STEP) % vocab_size for index in range(num_tokens))


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
