"""One process in a memory group, followed by what it prints: where it got to, and why no further.

A worker prints a JSON object a line (`small_workload.py`), so what it told before it was killed is not lost.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import IO, Any

from pocketseek.apps.memory_group import MemoryGroup

WHOLE_RUN_PATIENCES = 5


@dataclass
class Outcome:
    """One process. facts: the lines it printed, merged; ended: "" or why it did not come to its end."""

    facts: dict[str, Any] = field(default_factory=dict)
    ended: str = ""
    peak_bytes: int | None = None

    @property
    def token_s(self) -> float | None:
        return median_of([seconds for seconds, _ in self.facts.get("single", [])])

    @property
    def many_tokens_per_s(self) -> float | None:
        pass_s = median_of([seconds for seconds, _ in self.facts.get("many", [])])
        return None if pass_s is None else self.facts["num_sequences"] / pass_s

    @property
    def token_bytes(self) -> float | None:
        return median_of([num_bytes for _, num_bytes in self.facts.get("single", [])])

    @property
    def bytes_per_s(self) -> float | None:
        """Over all measured passes together: storage does not care whose bytes it delivers."""
        passes = [*self.facts.get("single", []), *self.facts.get("many", [])]
        total_s = sum(seconds for seconds, _ in passes)
        return sum(num_bytes for _, num_bytes in passes) / total_s if total_s else None


def run_worker(command: Sequence[str], group: MemoryGroup, patience_s: float) -> Outcome:
    """Run a worker in the group; it is killed if its first line, or its end, takes too long."""
    outcome, started_s = Outcome(), time.monotonic()
    with subprocess.Popen(group.inside(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines: queue.Queue[str | None] = queue.Queue()
        errors: list[str] = []
        readers = [_reader(process.stdout, lines.put), _reader(process.stderr, lambda line: errors.append(line or ""))]
        try:
            outcome.ended = _follow(lines, outcome.facts, started_s, patience_s)
        except BaseException:  # also Ctrl-C: no worker outlives us, and it is raised again
            process.kill()
            raise
        if outcome.ended:
            process.kill()
        process.wait()
        for reader in readers:
            reader.join()
    if group.num_kills:
        outcome.ended = "killed for lack of memory"
    elif process.returncode != 0 and not outcome.ended:
        outcome.ended = f"failed with code {process.returncode}: {' '.join(''.join(errors).split())[-300:]}"
    outcome.peak_bytes = group.peak_bytes
    return outcome


def _reader(stream: IO[str] | None, take: Callable[[str | None], None]) -> threading.Thread:
    """Hands on every line, and None at the end."""

    def read() -> None:
        for line in stream or ():
            take(line)
        take(None)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _follow(lines: queue.Queue[str | None], facts: dict[str, Any], started_s: float, patience_s: float) -> str:
    """Merge lines until there are no more: "". Otherwise what took too long."""
    while True:
        limit_s = patience_s * (WHOLE_RUN_PATIENCES if facts else 1)
        try:
            line = lines.get(timeout=max(0.0, started_s + limit_s - time.monotonic()))
        except queue.Empty:
            return f"not done after {limit_s:.0f} s" if facts else f"no token in {limit_s:.0f} s"
        if line is None:
            return ""
        if line.startswith("{"):  # some engines write remarks there, too
            facts.update(json.loads(line))


def median_of(values: Sequence[float]) -> float | None:
    return median(values) if values else None
