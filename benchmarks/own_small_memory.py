"""pocketseek in little memory: `small_memory.py` starts it with the project's interpreter.

Through the engine, as a user would, without what guesses or remembers (speculation, prefix cache): a pass then has one
token of every sequence, like the peers'. Prompts are random; sampling takes the likeliest token, or is seeded.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path

import small_workload
from small_workload import SmallJob, storage_bytes, tell

import pocketseek
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.residency.routing_trace import write_trace
from pocketseek.runtime.routing_log import RoutingLog
from pocketseek.types import Request, SamplingParams

MOST_WARM_UPS, WARM_BYTES = 20, 1_000_000


def measure(job: SmallJob) -> None:
    started_s = time.monotonic()
    log = RoutingLog() if job.trace else None
    with closing(open_engine(job, log)) as engine:
        rows = small_workload.rows_of(job, engine.tokenizer.vocab_size)
        if not job.memory_bytes:
            warm_up(engine, requests(job, rows[:1]))
        single, single_cpu_s, texts = timed_passes(engine, requests(job, rows[:1]), started_s)
        tell(single=single, single_cpu_s=single_cpu_s)
        many, _, many_texts = timed_passes(engine, requests(job, rows), None)
        tell(many=many, num_sequences=job.num_sequences, texts=many_texts, same_alone=texts[0] == many_texts[0])
        if job.texts:
            tell(same_texts=many_texts == [row[: job.prompt_tokens + job.passes] for row in rows])
        if log is not None:
            tell(num_slots=log.num_slots)
            write_trace(Path(job.trace), log.header(), log.passes)


def open_engine(job: SmallJob, log: RoutingLog | None) -> Engine:
    return pocketseek.load(
        Path(job.model),
        num_threads=job.threads,
        memory_bytes=job.memory_bytes or None,
        prefix_cache=False,
        speculation=False,
        routing_log=log,
    )


def warm_up(engine: Engine, asked: list[Request]) -> None:
    """Until an answer needs next to nothing from storage any more."""
    for _ in range(MOST_WARM_UPS):
        before_bytes = storage_bytes()
        timed_passes(engine, asked, None)
        if storage_bytes() - before_bytes < WARM_BYTES:
            return


def requests(job: SmallJob, rows: list[list[int]]) -> list[Request]:
    """Of each row the prompt; what follows it is for those who are given it."""
    return [
        Request(
            tuple(row[: job.prompt_tokens]),
            job.passes + 1,
            SamplingParams(temperature=job.temperature, seed=index),
            logprobs=False,
        )
        for index, row in enumerate(rows)
    ]


def timed_passes(
    engine: Engine, asked: list[Request], started_s: float | None
) -> tuple[list[tuple[float, int]], float, list[list[int]]]:
    """Seconds and bytes of a pass with one token of each, the mean over the answers; its processor seconds; prompts
    with their answers, without the last token, which no pass read.

    started_s: when loading began, to tell when the first token was there.
    """
    streams = [engine.stream(request) for request in asked]
    answers = [[next(stream).token_id] for stream in streams]
    if started_s is not None:
        tell(first_token_s=time.monotonic() - started_s, system=f"pocketseek {pocketseek.__version__}")
    before, before_bytes = engine.statistics().load, storage_bytes()
    before_s, before_cpu_s = time.perf_counter(), time.process_time()
    for stream, answer in zip(streams, answers, strict=True):
        answer.extend(event.token_id for event in stream)
    elapsed_s, cpu_s = time.perf_counter() - before_s, time.process_time() - before_cpu_s
    # A tiny model may be done before anybody looks; its figures mean nothing then.
    num_passes = max(1, engine.statistics().load.num_tokens - before.num_tokens) / len(asked)
    passes = [(elapsed_s / num_passes, round((storage_bytes() - before_bytes) / num_passes))]
    texts = [[*request.prompt_ids, *answer[:-1]] for request, answer in zip(asked, answers, strict=True)]
    return passes, cpu_s / num_passes, texts


if __name__ == "__main__":
    measure(small_workload.SmallJob.from_json(sys.argv[1]))
