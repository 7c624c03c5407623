"""pocketseek in little memory: `small_memory.py` starts it with the project's interpreter.

Through the engine, as a user would, without what guesses or remembers (speculation, prefix cache): a pass then has one
token of every sequence, like the peers'. Prompts are random; sampling takes the likeliest token.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path

import small_workload
import workload
from small_workload import SmallJob, storage_bytes, tell

import pocketseek
from pocketseek.runtime.engine import Engine
from pocketseek.types import Request, SamplingParams


def measure(job: SmallJob) -> None:
    started_s = time.monotonic()
    with closing(open_engine(job)) as engine:
        ids = workload.random_ids(job.as_job(), engine.tokenizer.vocab_size)
        single = timed_passes(engine, requests(job, ids, 1), started_s)
        tell(single=single)
        many = timed_passes(engine, requests(job, ids, job.num_sequences), None)
        tell(many=many, num_sequences=job.num_sequences)


def open_engine(job: SmallJob) -> Engine:
    return pocketseek.load(
        Path(job.model),
        num_threads=job.threads,
        memory_bytes=job.memory_bytes,
        prefix_cache=False,
        speculation=False,
    )


def requests(job: SmallJob, ids: list[int], count: int) -> list[Request]:
    greedy, length = SamplingParams(temperature=0), job.prompt_tokens
    prompts = (tuple(ids[length * index : length * (index + 1)]) for index in range(count))
    return [Request(prompt, job.passes + 1, greedy, logprobs=False) for prompt in prompts]


def timed_passes(engine: Engine, asked: list[Request], started_s: float | None) -> list[tuple[float, int]]:
    """Seconds and bytes of a pass with one token of each, the mean over the answers.

    started_s: when loading began, to tell when the first token was there.
    """
    streams = [engine.stream(request) for request in asked]
    for stream in streams:
        next(stream)
        if started_s is not None:
            tell(first_token_s=time.monotonic() - started_s, system=f"pocketseek {pocketseek.__version__}")
    before, before_bytes, before_s = engine.statistics().load, storage_bytes(), time.perf_counter()
    for stream in streams:
        for _ in stream:
            pass
    elapsed_s = time.perf_counter() - before_s
    num_passes = (engine.statistics().load.num_tokens - before.num_tokens) / len(asked)
    return [(elapsed_s / num_passes, round((storage_bytes() - before_bytes) / num_passes))]


if __name__ == "__main__":
    measure(small_workload.SmallJob.from_json(sys.argv[1]))
