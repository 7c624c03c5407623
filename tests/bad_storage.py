"""Storage that fails, files that are damaged or written to: what tests do to a package while an engine uses it."""

import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pocketseek.kernels.contract import Floats
from pocketseek.runtime.residency import chunk_files
from pocketseek.runtime.residency.expert_weights import ExpertWeights
from pocketseek.runtime.residency.weights import Weights

FOR_EVER = 1_000_000


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
