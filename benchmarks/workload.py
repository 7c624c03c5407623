"""What one benchmark process does, whatever the engine: the same calls in the same order, timed the same way.

Runs under the project's interpreter and under the peer's, so it imports the standard library only. A worker
(`peer_llama_cpp.py`, `own_pocketseek.py`) wraps its engine as a `Runner` and calls `main`; the worker reads a job as
JSON from its first argument and prints one JSON object, the result, as its last line of standard output.

Token ids are random and given (teacher forced): no engine samples, detokenises or schedules in the timed part, and
every pass ends with the argmax over the last row of logits, as greedy decoding would.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Job:
    """What to measure. `decode_contexts`: the context in the middle of each run of `decode_tokens` single tokens."""

    model: str
    threads: int = 2
    context_tokens: int = 1024
    first_prompt_tokens: int = 16
    prefill_tokens: int = 512
    decode_contexts: tuple[int, ...] = (128, 512)
    decode_tokens: int = 32
    repeats: int = 2
    seed: int = 1

    @staticmethod
    def from_json(text: str) -> Job:
        fields: dict[str, Any] = json.loads(text)
        fields["decode_contexts"] = tuple(fields["decode_contexts"])
        return Job(**fields)


class Runner(Protocol):
    """An engine with a model loaded and room for `context_tokens` of one sequence."""

    engine: str
    system: str
    vocab_size: int

    @property
    def kv_bytes(self) -> int:
        """Memory that K and V occupy by now."""

    def forget(self) -> None:
        """Start a new sequence at position 0."""

    def run(self, token_ids: list[int], first_position: int) -> int:
        """Append tokens to the sequence; the most likely next token."""


def measure(job: Job, open_runner: Callable[[Job], Runner]) -> dict[str, object]:
    """Load, first token, prefill, decode. Times in seconds; memory in bytes."""
    started_s = time.monotonic()
    runner = open_runner(job)
    loaded_s = time.monotonic()
    ids = random_ids(job, runner.vocab_size)
    runner.run(ids[: job.first_prompt_tokens], 0)
    first_token_s = time.monotonic()
    memory_after_load = process_memory()
    prefills = [prefill_s(runner, ids[: job.prefill_tokens]) for _ in range(job.repeats)]
    decodes = {context: decode_s(runner, job, ids, context) for context in job.decode_contexts}
    return {
        "engine": runner.engine,
        "system": runner.system,
        "load_s": loaded_s - started_s,
        "load_to_first_token_s": first_token_s - started_s,
        "first_token_monotonic_s": first_token_s,
        "prefill_tokens": job.prefill_tokens,
        "prefill_s": prefills,
        "decode_token_s": {str(context): times for context, times in decodes.items()},
        "kv_bytes": runner.kv_bytes,
        "anonymous_after_first_token_bytes": memory_after_load["RssAnon"],
        "peak_rss_bytes": process_memory()["VmHWM"],
    }


def random_ids(job: Job, vocab_size: int) -> list[int]:
    generator = random.Random(job.seed)
    longest = max(job.prefill_tokens, *(context + job.decode_tokens for context in job.decode_contexts))
    return [generator.randrange(vocab_size) for _ in range(longest)]


def prefill_s(runner: Runner, ids: list[int]) -> float:
    runner.forget()
    start = time.perf_counter()
    runner.run(ids, 0)
    return time.perf_counter() - start


def decode_s(runner: Runner, job: Job, ids: list[int], context: int) -> list[float]:
    """Time of every single-token pass while the context grows through `context`."""
    first = max(1, context - job.decode_tokens // 2)
    runner.forget()
    runner.run(ids[:first], 0)
    times = []
    for position in range(first, first + job.decode_tokens):
        start = time.perf_counter()
        runner.run([ids[position]], position)
        times.append(time.perf_counter() - start)
    return times


def process_memory() -> dict[str, int]:
    """VmHWM, VmRSS, RssAnon and the like of this process, in bytes."""
    return parse_status(Path("/proc/self/status").read_text())


def parse_status(text: str) -> dict[str, int]:
    lines = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if len(words) == 3 and words[2] == "kB"}


def main(open_runner: Callable[[Job], Runner]) -> None:
    result = measure(Job.from_json(sys.argv[1]), open_runner)
    print(json.dumps(result), flush=True)
