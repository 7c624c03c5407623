"""An engine in a process of its own that writes the same answers again and again while something happens around it.

    python pressure_worker.py '{"package": PATH}'       see `Job`

A line of JSON for every round of answers says whether they were right so far (a digest) and what the governor does. The
word "enough" on its input ends it after the round, with what was seen at all looks of the governor, and every few
milliseconds between them. Where no control group can be made, the processes that share the limit are named on the input
("with PID PID").
"""

from __future__ import annotations

import json
import select
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from streaming_engine import digest, keep_in_memory, many_requests, run_together, small_units, watch_experts

from pocketseek.device.memory_watch import MemoryFacts, MemoryWatch
from pocketseek.device.reading import read_fields
from pocketseek.errors import MemoryLimitError
from pocketseek.govern.elastic import known_bounds
from pocketseek.govern.governor import MemoryGovernor
from pocketseek.govern.memory_budget import MemoryBudget
from pocketseek.govern.split import Footprint
from pocketseek.package.manifest import read_manifest
from pocketseek.runtime import memory_use, start
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.load import load
from pocketseek.types import Request, TokenEvent

MOST_REFUSALS = 4  # each after half a minute


def requests_for(package: Path) -> list[Request]:
    return many_requests(read_manifest(package).model.vocab_size, num_tokens=14)[:5]


@dataclass
class Job:
    """limit_bytes: see `SharedLimit`. streams: small units or experts, as few of them kept in memory as can be."""

    package: str
    limit_bytes: int | None = None
    streams: bool = False


@dataclass
class Look:
    """What there was, when the governor looked, of the decision before; None: nothing was decided yet.

    bound_bytes: the most that could have been taken then. least_bytes: the floor that an engine keeps whatever happens.
    """

    own_anonymous_bytes: int
    bound_bytes: int
    least_bytes: int
    leased_bytes: int
    total_bytes: int
    budget_bytes: int | None
    weight_bytes: int | None


class SharedLimit:
    """Stands in for a container that holds this process and others: the limit is made up, the sizes are true."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._watch = MemoryWatch()
        self.others: list[int] = []

    def read(self) -> MemoryFacts:
        facts = self._watch.read()
        used_bytes = (facts.own_anonymous_bytes or 0) + self._other_bytes()
        return replace(
            facts, group_limit_bytes=self._limit_bytes, group_room_bytes=max(0, self._limit_bytes - used_bytes)
        )

    def _other_bytes(self) -> int:
        return sum(_anonymous_bytes(str(pid)) for pid in self.others)


class Sampler:
    """Looks every few milliseconds whether this process has more memory that cannot be taken from it than the budget.

    The budget falls with the leases, so it is what there may be at any moment, also on the way down.
    """

    EVERY_S = 0.005

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.num_samples = 0
        self.most_over_bytes = -(1 << 62)
        self.peak_bytes = 0

    def _run(self) -> None:
        while not self._ended.wait(self.EVERY_S):
            before_bytes = self._budget.total_bytes
            own_bytes = _anonymous_bytes("self")
            allowed_bytes = max(before_bytes, self._budget.total_bytes)  # it may have moved meanwhile
            self.num_samples += 1
            self.peak_bytes = max(self.peak_bytes, own_bytes)
            self.most_over_bytes = max(self.most_over_bytes, own_bytes - allowed_bytes)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()


def _anonymous_bytes(pid: str) -> int:
    fields = read_fields(Path(f"/proc/{pid}/status"))
    return sum(int(fields.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))


class NotingGovernor(MemoryGovernor):
    """Notes what every look finds before anything is decided by it."""

    made: NotingGovernor

    def __init__(
        self,
        limits: Any,
        watch: Callable[[], MemoryFacts],
        footprint: Callable[[], Footprint],
        *,
        budget: MemoryBudget,
        **options: Any,  # what load gives and this leaves alone
    ) -> None:
        super().__init__(limits, self._look_and_note, footprint, budget=budget, **options)
        self._facts = watch
        self._needs = footprint
        self.leases = budget
        self.looks: list[Look] = []
        NotingGovernor.made = self

    def _look_and_note(self) -> MemoryFacts:
        facts, status = self._facts(), self.status
        self.looks.append(
            Look(
                own_anonymous_bytes=facts.own_anonymous_bytes or 0,
                bound_bytes=min(known_bounds(facts).values()),
                least_bytes=self._needs().least_bytes,
                leased_bytes=self.leases.leased_bytes,
                total_bytes=self.leases.total_bytes,
                budget_bytes=None if status is None else status.budget_bytes,
                weight_bytes=None if status is None else status.split.weight_bytes,
            )
        )
        return facts

    def news(self) -> dict[str, object]:
        status = self.status
        assert status is not None
        return {
            "least_bytes": self._needs().least_bytes,
            "budget_bytes": status.budget_bytes,
            "weight_bytes": status.split.weight_bytes,
            "weights_bytes": status.weights_bytes,
            "bound": status.bound,
            "num_shrinks": status.num_shrinks,
        }


def main(job: Job) -> None:
    shared = SharedLimit(job.limit_bytes) if job.limit_bytes else None
    if shared is not None:
        memory_use.MemoryWatch = lambda: shared  # type: ignore[assignment,misc]  # what it asks of one is there
    start.MemoryGovernor = NotingGovernor  # type: ignore[misc]  # a governor as it is, that takes notes
    if job.streams:
        patch = pytest.MonkeyPatch()
        watch = small_units if read_manifest(Path(job.package)).model.moe is None else watch_experts
        watch(patch)
        keep_in_memory(patch, 0.0)
    requests = requests_for(Path(job.package))
    with load(job.package, prefix_store_bytes=0) as engine:
        governor = NotingGovernor.made
        with Sampler(governor.leases) as sampler:
            while True:
                answers, num_refusals = answers_of(engine, requests)
                news = {"digest": digest(answers), "num_refusals": num_refusals} | governor.news()
                print(json.dumps(news), flush=True)
                words = _words()
                if shared is not None and words[:1] == ["with"]:
                    shared.others = [int(word) for word in words[1:]]
                if words == ["enough"]:
                    break
        statistics = asdict(engine.statistics())
    last = {
        "looks": [asdict(look) for look in governor.looks],
        "statistics": statistics,
        "num_samples": sampler.num_samples,
        "most_over_bytes": sampler.most_over_bytes,
        "peak_bytes": sampler.peak_bytes,
    }
    print(json.dumps(last), flush=True)


def answers_of(engine: Engine, requests: list[Request]) -> tuple[list[list[TokenEvent]], int]:
    """And how often a request waited in vain before, as it does while there is no room for its pages for long."""
    num_refusals = 0
    while True:
        try:
            return run_together(engine, requests), num_refusals
        except MemoryLimitError:
            num_refusals += 1
            if num_refusals == MOST_REFUSALS:
                print(NotingGovernor.made.status, NotingGovernor.made.looks[-1], file=sys.stderr, flush=True)
                raise


def _words() -> list[str]:
    """A line of the input, if there is one."""
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return (sys.stdin.readline() or "enough").split() if ready else []


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
