"""What one process of `small_memory.py` does, whatever the engine, and how it tells: one JSON object a line.

Runs under the peers' interpreters too, so it imports the standard library only. Lines come as soon as something is
known, since a process in a small memory group may be killed at any moment:

    {"first_token_s": 1.2}                                               from the call that loads
    {"single": [[0.9, 750000000], ...], "single_cpu_s": 1.7}             each pass: seconds, bytes from storage; what a
                                                                         pass took of processors; after each of them
    {"many": [[1.1, 750000000], ...], "num_sequences": 8}                passes with one token of every sequence

Token ids are random and given, nothing is sampled; every pass ends with an argmax over the logits. Ours goes through
its whole engine instead (`own_small_memory.py`), which is how it is told what memory it may take.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import workload

OWN_IO = Path("/proc/self/io")


@dataclass(frozen=True)
class SmallJob:
    """memory_bytes: the limit of the group, for engines that can be told; 0: none. passes: measured ones, of each kind.

    texts: a JSON file with a list of token ids for each sequence, of prompt and measured passes; "": random ones.
    temperature: that ours samples with, 0 for the likeliest token. trace: where ours writes whom its router chose; "":
    nowhere.
    """

    model: str
    memory_bytes: int
    threads: int = 2
    passes: int = 6
    prompt_tokens: int = 8
    num_sequences: int = 8
    seed: int = 1
    texts: str = ""
    temperature: float = 0.0
    trace: str = ""

    @staticmethod
    def from_json(text: str) -> SmallJob:
        return SmallJob(**json.loads(text))

    def as_job(self) -> workload.Job:
        """For the runners of compare.py: how much room K and V need."""
        return workload.Job(
            model=self.model,
            threads=self.threads,
            first_prompt_tokens=self.prompt_tokens,
            contexts=(),
            decode_tokens=self.passes,
            pass_tokens=(1,),
            pass_repeats=self.passes,
            num_sequences=self.num_sequences,
            short_prompt_tokens=self.prompt_tokens,
            seed=self.seed,
        )


def rows_of(job: SmallJob, vocab_size: int) -> list[list[int]]:
    """Token ids of every sequence."""
    if job.texts:
        rows: list[list[int]] = json.loads(Path(job.texts).read_text())
        return rows
    ids, length = workload.random_ids(job.as_job(), vocab_size), job.prompt_tokens + job.passes
    return [ids[length * index : length * (index + 1)] for index in range(job.num_sequences)]


def tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def storage_bytes() -> int:
    """What the kernel has read from storage for this process so far, mapped files included."""
    fields = dict(line.split(": ") for line in OWN_IO.read_text().splitlines())
    return int(fields["read_bytes"])


def measure(job: SmallJob, open_runner: Callable[[workload.Job], workload.Runner]) -> None:
    started_s = time.monotonic()
    runner = open_runner(job.as_job())
    rows = rows_of(job, runner.vocab_size)
    runner.run([rows[0][: job.prompt_tokens]], 0)
    tell(first_token_s=time.monotonic() - started_s, system=runner.system)
    single: list[tuple[float, int]] = []
    before_s = time.process_time()
    for p in positions(job):
        single.append(timed_pass(runner, [[rows[0][p]]], p))
        tell(single=single, single_cpu_s=(time.process_time() - before_s) / len(single))
    runner.forget()
    runner.run([row[: job.prompt_tokens] for row in rows], 0)
    many = [timed_pass(runner, [[row[p]] for row in rows], p) for p in positions(job)]
    tell(many=many, num_sequences=job.num_sequences)


def positions(job: SmallJob) -> range:
    return range(job.prompt_tokens, job.prompt_tokens + job.passes)


def timed_pass(runner: workload.Runner, token_ids: list[list[int]], first_position: int) -> tuple[float, int]:
    before_bytes = storage_bytes()
    pass_s = workload.pass_s(runner, token_ids, first_position)
    return pass_s, storage_bytes() - before_bytes


def main(open_runner: Callable[[workload.Job], workload.Runner]) -> None:
    measure(SmallJob.from_json(sys.argv[1]), open_runner)
