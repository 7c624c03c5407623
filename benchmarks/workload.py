"""What one benchmark process does, whatever the engine: the same calls in the same order, timed the same way.

Runs under the project's interpreter and under the peers', so it imports the standard library only. A worker
(`own_pocketseek.py`, `peer_*.py`) wraps its engine as a `Runner` and calls `main`; the worker reads a job as
JSON from its first argument and prints one JSON object, the result, as its last line of standard output.

Token ids are random and given (teacher forced): no engine samples, detokenises or schedules in the timed part, and
every pass ends with the argmax over the logits of each sequence's last token, as greedy decoding would.
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

PREFILL_REPEATS, PREFILL_TOKENS = 3, 1536  # of each length at most so many, but at least one: a first one is often slow
PAGE_POSITIONS = 64


@dataclass(frozen=True)
class Job:
    """What to measure; an empty tuple or a zero leaves that part out.

    contexts: prompt lengths; each is run from position 0, then `decode_tokens` single tokens after it.
    pass_tokens: passes of so many new tokens of one sequence, `pass_repeats` of each size, one after the other behind a
    prompt of `short_prompt_tokens`.
    num_sequences: so many sequences with prompts of `short_prompt_tokens`, then `decode_tokens` passes with one token
    of each.
    """

    model: str
    threads: int = 2
    first_prompt_tokens: int = 16
    contexts: tuple[int, ...] = (512, 4096)
    decode_tokens: int = 16
    pass_tokens: tuple[int, ...] = (1, 2, 4, 8, 16)
    pass_repeats: int = 5
    num_sequences: int = 8
    short_prompt_tokens: int = 32
    seed: int = 1

    @staticmethod
    def from_json(text: str) -> Job:
        fields: dict[str, Any] = json.loads(text)
        fields["contexts"] = tuple(fields["contexts"])
        fields["pass_tokens"] = tuple(fields["pass_tokens"])
        return Job(**fields)

    @property
    def kv_positions(self) -> int:
        """Room for K and V: of the longest sequence, or of all short ones together, those in whole pages."""
        longest = max(self.contexts, default=0) + self.decode_tokens
        passes = self.short_prompt_tokens + self.pass_repeats * sum(self.pass_tokens)
        short = self.short_prompt_tokens + self.decode_tokens
        return _in_pages(max(longest, passes, self.num_sequences * _in_pages(short)))


def _in_pages(positions: int) -> int:
    return -(-positions // PAGE_POSITIONS) * PAGE_POSITIONS


class Runner(Protocol):
    """An engine with a model loaded and room for `Job.kv_positions`."""

    engine: str
    system: str
    vocab_size: int

    @property
    def kv_bytes(self) -> int | None:
        """Memory that K and V occupy by now; None if the engine does not tell."""

    def forget(self) -> None:
        """Start new sequences at position 0."""

    def run(self, token_ids: list[list[int]], first_position: int) -> list[int]:
        """One row for each sequence, all of one length: append it; the most likely next token of each sequence.

        The number of sequences changes only after `forget`.
        """


def measure(job: Job, open_runner: Callable[[Job], Runner]) -> dict[str, object]:
    """Load, first token, then the parts of the job. Times in seconds; memory in bytes."""
    started_s = time.monotonic()
    runner = open_runner(job)
    loaded_s = time.monotonic()
    ids = random_ids(job, runner.vocab_size)
    runner.run([ids[: job.first_prompt_tokens]], 0)
    first_token_s = time.monotonic()
    memory_after_load = process_memory()
    passes = passes_s(runner, job, ids)
    sequences = sequences_s(runner, job, ids)
    prefills, decodes = {}, {}
    for context in job.contexts:
        repeats = min(PREFILL_REPEATS, max(1, PREFILL_TOKENS // context))
        prefills[context] = [prefill_s(runner, ids[:context]) for _ in range(repeats)]
        decodes[context] = [pass_s(runner, [ids[p : p + 1]], p) for p in range(context, context + job.decode_tokens)]
    return {
        "engine": runner.engine,
        "system": runner.system,
        "load_s": loaded_s - started_s,
        "load_to_first_token_s": first_token_s - started_s,
        "first_token_monotonic_s": first_token_s,
        "prefill_s": _with_text_keys(prefills),
        "decode_token_s": _with_text_keys(decodes),
        "pass_s": _with_text_keys(passes),
        "sequences_pass_s": sequences,
        "kv_bytes": runner.kv_bytes,
        "anonymous_after_first_token_bytes": memory_after_load["RssAnon"],
        "peak_rss_bytes": process_memory()["VmHWM"],
    }


def random_ids(job: Job, vocab_size: int) -> list[int]:
    generator = random.Random(job.seed)
    return [generator.randrange(vocab_size) for _ in range(max(job.kv_positions, job.first_prompt_tokens))]


def prefill_s(runner: Runner, ids: list[int]) -> float:
    runner.forget()
    return pass_s(runner, [ids], 0)


def passes_s(runner: Runner, job: Job, ids: list[int]) -> dict[int, list[float]]:
    """For each size the times of its passes. The sequence just grows: not every engine can take tokens back."""
    if not job.pass_tokens:
        return {}
    runner.forget()
    position = job.short_prompt_tokens
    runner.run([ids[:position]], 0)
    times: dict[int, list[float]] = {}
    for num_tokens in job.pass_tokens:
        times[num_tokens] = []
        for _ in range(job.pass_repeats):
            times[num_tokens].append(pass_s(runner, [ids[position : position + num_tokens]], position))
            position += num_tokens
    return times


def sequences_s(runner: Runner, job: Job, ids: list[int]) -> list[float]:
    """Times of passes with one token of every sequence."""
    if not job.num_sequences:
        return []
    runner.forget()
    length = job.short_prompt_tokens + job.decode_tokens
    rows = [ids[length * index : length * (index + 1)] for index in range(job.num_sequences)]
    runner.run([row[: job.short_prompt_tokens] for row in rows], 0)
    return [pass_s(runner, [row[p : p + 1] for row in rows], p) for p in range(job.short_prompt_tokens, length)]


def pass_s(runner: Runner, token_ids: list[list[int]], first_position: int) -> float:
    start = time.perf_counter()
    runner.run(token_ids, first_position)
    return time.perf_counter() - start


def _with_text_keys(times: dict[int, list[float]]) -> dict[str, list[float]]:
    """As JSON wants them."""
    return {str(key): values for key, values in times.items()}


def process_memory() -> dict[str, int]:
    """VmHWM, VmRSS, RssAnon and the like of this process, in bytes."""
    return parse_status(Path("/proc/self/status").read_text())


def parse_status(text: str) -> dict[str, int]:
    lines = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if len(words) == 3 and words[2] == "kB"}


def main(open_runner: Callable[[Job], Runner]) -> None:
    result = measure(Job.from_json(sys.argv[1]), open_runner)
    print(json.dumps(result), flush=True)
