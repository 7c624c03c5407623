"""Engines whose weights stream although the models are small: small units, a disk and a container of the test's own.

`small_units` and `MovingLimit` put these parts where `load` looks for its own; everything else is the real thing.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pocketseek.device.memory import process_memory
from pocketseek.device.memory_watch import MemoryFacts
from pocketseek.errors import PocketseekError
from pocketseek.govern.elastic import group_reserve_bytes
from pocketseek.govern.governor import MemoryGovernor
from pocketseek.govern.memory_budget import MemoryBudget
from pocketseek.kernels.contract import ModelKernels
from pocketseek.package.manifest import read_manifest
from pocketseek.package.paths import chunk_path
from pocketseek.package.reader import Package
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.residency.chunk_files import ChunkFiles, ReadInto
from pocketseek.runtime.residency.expert_weights import ExpertWeights
from pocketseek.runtime.residency.read_mode import ReadMode
from pocketseek.runtime.residency.weight_files import WeightFiles, open_files
from pocketseek.runtime.residency.weights import Weights
from pocketseek.types import Limits, Request, SamplingParams, TokenEvent

SMALL_UNIT_BYTES = 256 << 10
_SECONDS_A_LOOK = 1.5
_LOOKS_A_LIMIT = 4  # growing takes three looks


def many_requests(vocab_size: int, num_tokens: int = 40) -> list[Request]:
    """Eight, with and without temperature; half of them begin alike, some repeat themselves, the longest come first."""
    random = Random(7)
    document = [random.randrange(vocab_size) for _ in range(130)]
    requests = []
    for number in range(8):
        words = [random.randrange(vocab_size) for _ in range(7)]
        own = words * 5 if number % 4 < 2 else [random.randrange(vocab_size) for _ in range(10 + 9 * number)]
        prompt = tuple(document + own if number % 2 else own)
        sampling = SamplingParams(temperature=(0.0, 0.8, 0.0, 1.2)[number % 4], seed=number)
        requests.append(Request(prompt, num_tokens - 3 * number, sampling))
    return requests


def run_together(engine: Engine, requests: Iterable[Request]) -> list[list[TokenEvent]]:
    streams = [engine.stream(one) for one in requests]
    return [list(stream) for stream in streams]


def run_alone(engine: Engine, requests: Iterable[Request]) -> list[list[TokenEvent]]:
    return [list(engine.stream(one)) for one in requests]


def digest(answers: Sequence[Sequence[TokenEvent]]) -> str:
    """Of all tokens and log-probabilities, to the bit."""
    facts = [[(event.token_id, event.logprob, event.finish_reason) for event in events] for events in answers]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def small_units(
    monkeypatch: pytest.MonkeyPatch, read_into: ReadInto = os.preadv, unit_bytes: int = SMALL_UNIT_BYTES
) -> list[Weights]:
    """Have weights cut into such units and read by this function, and budgets move in steps to match; returns where the
    weights of each engine will be."""
    made: list[Weights] = []

    def make(package: Package, kernels: ModelKernels, *, read_mode: Callable[[], ReadMode]) -> Weights:
        files: WeightFiles = ChunkFiles(package, read_into=read_into) if package.seal is None else open_files(package)
        made.append(
            Weights(package, kernels, unit_bytes=unit_bytes, files=files)
        )  # how storage is read is not tried out
        return made[-1]

    monkeypatch.setattr("pocketseek.runtime.executor.Weights", make)
    for module in ("govern.governor", "runtime.memory_use"):
        monkeypatch.setattr(f"pocketseek.{module}.BASE_STEP_BYTES", unit_bytes)
    monkeypatch.setattr("pocketseek.govern.elastic._LEAST_GROW_MARGIN_BYTES", unit_bytes)
    return made


def watch_experts(monkeypatch: pytest.MonkeyPatch, read_into: ReadInto = os.preadv) -> list[ExpertWeights]:
    """The same for a model with experts."""
    made: list[ExpertWeights] = []

    def make(package: Package, kernels: ModelKernels, **options: Any) -> ExpertWeights:
        files: WeightFiles = ChunkFiles(package, read_into=read_into) if package.seal is None else open_files(package)
        made.append(ExpertWeights(package, kernels, files=files, policy=options["policy"]))
        return made[-1]

    monkeypatch.setattr("pocketseek.runtime.executor.ExpertWeights", make)
    for module in ("govern.governor", "runtime.memory_use"):
        monkeypatch.setattr(f"pocketseek.{module}.BASE_STEP_BYTES", SMALL_UNIT_BYTES)
    monkeypatch.setattr("pocketseek.govern.elastic._LEAST_GROW_MARGIN_BYTES", SMALL_UNIT_BYTES)
    return made


@dataclass
class Share:
    """Of the weights that are kept in memory; None: all, without a ring."""

    value: float | None


def keep_in_memory(monkeypatch: pytest.MonkeyPatch, share: float | None) -> Share:
    """Have a governor that always gives so much; it may be changed meanwhile."""
    kept, usual = Share(share), MemoryGovernor.limits

    def limits(governor: MemoryGovernor) -> Limits:
        weights_bytes = governor._footprint().weights_bytes
        weight_bytes = None if kept.value is None else int(kept.value * weights_bytes)
        return replace(usual(governor), num_pages=None, max_pages=None, weight_bytes=weight_bytes)

    monkeypatch.setattr(MemoryGovernor, "limits", limits)
    return kept


class MovingLimit:
    """A container whose limit moves at random between two looks, once `low_bytes` and `high_bytes` are set: what the
    process may take in all. A clock goes on by some seconds a pass, so that every pass looks.

    num_moves: how often what the weights may take was another than before. too_much: leases above the budget, in words.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
        self.low_bytes = self.high_bytes = 0
        self.num_moves = 0
        self.num_streaming = 0
        self.too_much: list[str] = []
        self._random = Random(seed)
        self._num_looks = 0
        self._now_s = 0.0
        self._limit_bytes = 8 << 30
        monkeypatch.setattr("pocketseek.runtime.memory_use.MemoryWatch", lambda: self)
        monkeypatch.setattr("pocketseek.runtime.start.MemoryGovernor", partial(_WatchedGovernor, self))

    def read(self) -> MemoryFacts:
        self._num_looks += 1
        if self.high_bytes and self._num_looks % _LOOKS_A_LIMIT == 0:
            allowed_bytes = self._random.randint(self.low_bytes, self.high_bytes)
            self._limit_bytes = allowed_bytes + 2 * group_reserve_bytes(allowed_bytes)
        own_bytes = process_memory().anonymous_bytes or 0
        return MemoryFacts(
            own_anonymous_bytes=own_bytes,
            group_limit_bytes=self._limit_bytes,
            group_room_bytes=self._limit_bytes - own_bytes,
        )

    def clock(self) -> float:
        return self._now_s

    def note(self, before: Limits, now: Limits) -> None:
        self._now_s += _SECONDS_A_LOOK
        self.num_moves += before.weight_bytes != now.weight_bytes
        self.num_streaming += now.weight_bytes is not None


class _WatchedGovernor(MemoryGovernor):
    def __init__(
        self, moving: MovingLimit, *args: Any, budget: MemoryBudget, **kwargs: Any
    ) -> None:  # as load has them
        super().__init__(*args, clock=moving.clock, budget=budget, **kwargs)
        self._moving = moving
        self._watched_budget = budget
        self._before: Limits | None = None

    def limits(self) -> Limits:
        status, leased_bytes = self.status, self._watched_budget.leased_bytes
        if status is not None and leased_bytes > status.budget_bytes:
            self._moving.too_much.append(f"{self._watched_budget.leases()} of {status.budget_bytes}")
        now = super().limits()
        self._moving.note(self._before or now, now)
        self._before = now
        return now


@dataclass(frozen=True)
class Held:
    """What a process holds: open files, maps of files in a directory, threads. anonymous_bytes flutters a little."""

    num_files: int
    num_maps: int
    num_threads: int
    anonymous_bytes: int = field(compare=False)


def held(directory: Path) -> Held:
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    num_files = len(os.listdir("/proc/self/fd"))
    return Held(num_files, maps.count(f"{directory}/"), threading.active_count(), process_memory().anonymous_bytes or 0)


def outcomes(engine: Engine, requests: Iterable[Request]) -> list[list[TokenEvent] | type[PocketseekError]]:
    """Of requests that run together: the answers, or what they end with."""
    streams = [engine.stream(one) for one in requests]
    found: list[list[TokenEvent] | type[PocketseekError]] = []
    for stream in streams:
        try:
            found.append(list(stream))
        except PocketseekError as error:
            found.append(type(error))
    return found


def chunk_paths(package: Path) -> list[Path]:
    """Of the weights, in the order of the pass; the first is the embedding's, the last the head's."""
    return [chunk_path(package, entry.sha256) for entry in read_manifest(package).chunks]


def expert_paths(package: Path) -> list[Path]:
    """Of the chunks that hold experts."""
    stages = [entry.stage for entry in read_manifest(package).chunks]
    return [path for path, stage in zip(chunk_paths(package), stages, strict=True) if stage.startswith("experts.")]
