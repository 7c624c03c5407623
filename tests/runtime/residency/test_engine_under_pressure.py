"""Another process takes the memory away while an engine writes: it shrinks, goes on, says the same, and lives. Weights
stream then, or experts are read on demand.

In a control group with a limit where one can be made. Everywhere, with a limit that is made up: the other processes are
real, and so is what is measured of all; what is missing there is the kernel, which would kill somebody.

That a group never held more than its limit proves nothing: the kernel sees to that, by killing. So it is asked whom it
killed, also where the others do not volunteer; and what we hold is measured, every few milliseconds, against what our
own budget allowed at that moment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import memory_hog
import pressure_worker
import pytest
from pressure_worker import Job, Look
from streaming_engine import digest, run_alone

from pocketseek.apps.memory_group import MemoryGroup, unavailable
from pocketseek.govern.elastic import group_reserve_bytes
from pocketseek.runtime.load import load
from pocketseek.runtime.residency.read_mode import DEFAULT_READ_MODE, keep_read_mode
from pocketseek.settings import read_settings

MB = 1_000_000
LIMIT_BYTES = 400 * MB
SPARE_BYTES = 30 * MB  # the kernel counts more than processes have: tables, lists of cached pages
HOG_BYTES = 3 * MB  # of an interpreter, about
MORE_ROUNDS, MOST_ROUNDS = 1, 100
REASON = unavailable()
needs_group = pytest.mark.skipif(REASON is not None, reason=f"{REASON}; only the made-up limit was tried")
real_or_not = pytest.mark.parametrize("is_real", [pytest.param(True, marks=needs_group), False])


class Arena:
    """Processes that share a limit: a group of the kernel's, or none if it is made up. All end with it."""

    def __init__(self, package: Path, stack: ExitStack, group: MemoryGroup | None) -> None:
        self._package = package
        self._stack = stack
        self.group = group

    def engine(self) -> Rounds:
        job = asdict(Job(str(self._package), None if self.group else LIMIT_BYTES))
        return Rounds(self._start([sys.executable, pressure_worker.__file__, json.dumps(job)]))

    def hog(self, num_bytes: int, *, willing: bool = False) -> subprocess.Popen[str]:
        """willing: to be killed before others."""
        words = ["willing"] if willing else []
        return self._start([sys.executable, "-S", "-E", memory_hog.__file__, str(num_bytes), *words])

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.group.inside(command) if self.group else command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(pressure_worker.__file__).parent), *sys.path])},
        )
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        return process


class Rounds:
    """An engine's process, and what it told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.told: list[dict[str, Any]] = []

    def next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the engine's process ended: {self.process.wait()}"
        self.told.append(json.loads(line))
        return self.told[-1]

    def until(self, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Not for ever: after so many rounds nothing will change any more."""
        for _ in range(MOST_ROUNDS):
            if is_so(told := self.next()):
                return told
        raise AssertionError(f"still not so after {MOST_ROUNDS} rounds: {self.told[-1]}")

    def say(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()

    def end(self) -> list[Look]:
        """What it saw at all looks."""
        self.say("enough")
        last = self.until(lambda told: "looks" in told)
        assert self.process.wait() == 0
        assert last["num_samples"] > len(last["looks"])
        assert last["most_over_bytes"] <= 0, last["peak_bytes"]
        return [Look(**look) for look in last["looks"]]

    @property
    def digests(self) -> set[str]:
        return {told["digest"] for told in self.told if "digest" in told}


@pytest.fixture(params=["large_package"])
def package(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def arena(package: Path) -> Iterator[Callable[[bool], Arena]]:
    home = read_settings().home
    home.mkdir()
    keep_read_mode(DEFAULT_READ_MODE, home, package)  # or the engines try out how storage is read
    with ExitStack() as stack:
        yield lambda is_real: Arena(package, stack, stack.enter_context(MemoryGroup(LIMIT_BYTES)) if is_real else None)


@pytest.fixture(scope="module")
def digests() -> dict[Path, str]:
    """Of each package's answers with all the memory, as far as they were asked for."""
    return {}


@pytest.fixture
def expected(package: Path, digests: dict[Path, str]) -> str:
    if package not in digests:
        with load(package, prefix_cache=False, speculation=False) as engine:
            digests[package] = digest(run_alone(engine, pressure_worker.requests_for(package)))
    return digests[package]


def check_looks(looks: list[Look]) -> None:
    """At every look: leases are within the budget; so is what cannot be taken from us, all along; and the budget is
    within what there was when it was decided, but for the least that an engine needs."""
    for before, look in pairwise(looks):
        assert look.budget_bytes is not None
        assert look.leased_bytes <= min(look.total_bytes, look.budget_bytes), look
        assert look.budget_bytes <= max(before.bound_bytes, before.least_bytes, look.least_bytes), (before, look)
        assert look.own_anonymous_bytes <= look.budget_bytes, look


@pytest.mark.parametrize(
    ("package", "num_hogs"),
    [("large_package", 1), ("large_package", 4), ("large_sparse_package", 1)],
    indirect=["package"],
)
@real_or_not
def test_neighbours_that_take_all_but_the_least_make_us_stream_and_nobody_is_killed(
    arena: Callable[[bool], Arena], expected: str, is_real: bool, num_hogs: int
) -> None:
    place = arena(is_real)
    engine = place.engine()
    first = engine.next()
    assert first["weight_bytes"] is None
    taken_bytes = LIMIT_BYTES - first["least_bytes"] - group_reserve_bytes(LIMIT_BYTES) - SPARE_BYTES
    hogs = [place.hog(taken_bytes // num_hogs - (num_hogs - 1) * HOG_BYTES) for _ in range(num_hogs)]
    engine.say(f"with {' '.join(str(hog.pid) for hog in hogs)}")
    for hog in hogs:
        assert hog.stdout is not None
        assert hog.stdout.readline() == "full\n"
    engine.until(lambda told: told["weight_bytes"] is not None and told["weight_bytes"] < told["weights_bytes"] * 0.7)
    for _ in range(MORE_ROUNDS):
        engine.next()
    assert [hog.poll() for hog in hogs] == [None] * num_hogs
    looks = engine.end()
    assert engine.digests == {expected}
    check_looks(looks)
    assert sum(told.get("num_refusals", 0) for told in engine.told) == 0
    if place.group:
        assert place.group.num_kills == 0
        assert (place.group.peak_bytes or 0) <= LIMIT_BYTES


@needs_group
@pytest.mark.parametrize("willing", [False, True])
def test_a_neighbour_that_never_has_enough_is_killed_and_we_are_not(
    arena: Callable[[bool], Arena], expected: str, willing: bool
) -> None:
    """Also one that does not volunteer: by then we are the smaller (one that does may go before we have looked)."""
    place = arena(True)
    assert place.group is not None
    engine = place.engine()
    engine.next()
    hog = place.hog(2 * LIMIT_BYTES, willing=willing)
    assert hog.wait() == -signal.SIGKILL
    for _ in range(MORE_ROUNDS):
        engine.next()
    looks = engine.end()
    assert engine.digests == {expected}
    check_looks(looks)
    assert willing or any(look.weight_bytes is not None for look in looks)
    assert place.group.num_kills == 1
