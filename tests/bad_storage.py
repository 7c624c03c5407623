"""Storage that fails, files that are damaged or written to: what tests do to a package while an engine uses it."""

import errno
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from streaming_engine import run_alone, small_units, watch_experts

from pocketseek.errors import PocketseekError, StorageError
from pocketseek.kernels.contract import Floats
from pocketseek.runtime.load import load
from pocketseek.runtime.residency import chunk_files
from pocketseek.runtime.residency.chunk_files import ReadInto
from pocketseek.runtime.residency.expert_weights import ExpertWeights
from pocketseek.runtime.residency.weights import Weights
from pocketseek.types import Request, TokenEvent

FOR_EVER = 1_000_000
Watched: TypeAlias = Sequence[Weights | ExpertWeights]


@dataclass(frozen=True)
class Kind:
    """watch: has weights of a test's own, cut small and read by a disk of its own. spares: an answer may need nothing
    of what cannot be read. num_faults: that are tried; fault_rate: of reads, on a disk that often fails."""

    vocab_size: int
    weights: type[Weights] | type[ExpertWeights]
    watch: Callable[[pytest.MonkeyPatch, ReadInto], Watched]
    spares: bool
    num_faults: int
    fault_rate: float


STREAMING = Kind(1024, Weights, small_units, spares=False, num_faults=24, fault_rate=0.01)
EXPERTS = Kind(4096, ExpertWeights, watch_experts, spares=True, num_faults=12, fault_rate=0.002)


@dataclass(frozen=True)
class Case:
    """A package, requests, and what is answered to each of them alone with everything in memory."""

    kind: Kind
    package: Path
    requests: list[Request]
    expected: list[list[TokenEvent]]


def case_of(kind: Kind, package: Path, requests: list[Request]) -> Case:
    with load(package, prefix_cache=False, speculation=False) as engine:
        return Case(kind, package, requests, run_alone(engine, requests))


def assert_failed(found: Sequence[list[TokenEvent] | type[PocketseekError]], case: Case) -> None:
    """Of the case's first requests: all but those that may have needed nothing of what cannot be read."""
    for one, right in zip(found, case.expected[: len(found)], strict=True):
        assert one is StorageError or (case.kind.spares and one == right)


class Disk:
    """In place of os.preadv. num_failures: how often the place that is read next cannot be read from now on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bad: tuple[int, int] | None = None
        self.num_failures = 0
        self.before: Callable[[], object] = lambda: None

    def __call__(self, descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        self.before()
        with self._lock:
            if self.num_failures:
                self._bad = self._bad or (descriptor, offset)
                if self._bad == (descriptor, offset):
                    self.num_failures -= 1
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
            else:
                self._bad = None
        return os.preadv(descriptor, buffers, offset)


def do_damage(path: Path, damage: str) -> None:
    good = path.read_bytes()
    if damage == "cut short":
        os.truncate(path, len(good) // 2)
        return
    with path.open("r+b") as file:
        file.seek(len(good) // 2)
        file.write(bytes([good[len(good) // 2] ^ 1]))


class Meddler:
    """Does something to a chunk while layers are computed, and undoes it afterwards, in as many passes as are set."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        path: Path,
        do: Callable[[Path], object],
        kind: type[Weights] | type[ExpertWeights] = Weights,
    ) -> None:
        """kind: of the weights that compute."""
        self._path = path
        self._do = do
        self._usual: Callable[[Any, object, Floats], None] = kind.run_layers
        self.num_times = 0
        self.num_hashings = 0
        monkeypatch.setattr(kind, "run_layers", lambda weights, *rest: self._run_layers(weights, *rest))
        check = chunk_files.check_open_chunk
        monkeypatch.setattr(chunk_files, "check_open_chunk", lambda *rest: self._count(check(*rest)))

    def _run_layers(self, weights: Any, rows: object, hidden: Floats) -> None:
        if not self.num_times:
            return self._usual(weights, rows, hidden)
        self.num_times -= 1
        good = self._path.read_bytes()
        self._do(self._path)
        try:
            self._usual(weights, rows, hidden)
        finally:
            if self._path.read_bytes() != good:
                with self._path.open("r+b") as file:
                    file.write(good)

    def _count(self, stamp: str) -> str:
        self.num_hashings += 1
        return stamp


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(os.urandom(path.stat().st_size))
