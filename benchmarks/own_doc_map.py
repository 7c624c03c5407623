"""The pocketseek side of `doc_map.py`: background requests, as many in flight as may be worked on side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator

import doc_map_job
from doc_map_job import MapJob, MapResult

import pocketseek
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.token_stream import TokenStream
from pocketseek.types import Request, SamplingParams

GREEDY = SamplingParams(temperature=0.0, seed=0)


def run(job: MapJob) -> MapResult:
    with pocketseek.load(
        job.model,
        num_threads=job.threads,
        max_sequences=max(8, job.at_once),
        prefix_store_bytes=0,
        speculation=job.speculation,
    ) as engine:
        list(engine.stream(Request(tuple(range(3, 67)), 4, GREEDY, logprobs=False)))
        before = engine.statistics().load
        start_s = time.perf_counter()
        answers = tuple(answered(engine, job))
        seconds = time.perf_counter() - start_s
        after = engine.statistics().load
    computed = after.num_prompt_tokens - before.num_prompt_tokens
    return MapResult(f"pocketseek {pocketseek.__version__}", seconds, computed, answers)


def answered(engine: Engine, job: MapJob) -> Iterator[tuple[int, ...]]:
    """One after the other they are interactive: a single background request would wait for others to join it."""
    priority = "background" if job.at_once > 1 else "interactive"
    running: list[TokenStream] = []
    for prompt in job.prompts:
        if len(running) == job.at_once:
            yield ids_of(running.pop(0))
        request = Request(prompt, job.new_tokens, GREEDY, stop_ids=(), logprobs=False, priority=priority)  # type: ignore[arg-type]
        running.append(engine.stream(request))
    yield from map(ids_of, running)


def ids_of(stream: TokenStream) -> tuple[int, ...]:
    return tuple(event.token_id for event in stream if event.token_id is not None)


if __name__ == "__main__":
    doc_map_job.main(run)
