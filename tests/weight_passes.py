"""A sequence run over weights under test, without an engine: its logits are compared to the bit."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.contract import ModelKernels, RowSpan
from pocketseek.kernels.kv_memory import KvMemory
from pocketseek.package.reader import Package
from pocketseek.runtime.residency.expert_weights import ExpertWeights
from pocketseek.runtime.residency.weights import Weights

PROMPT = tuple(range(5, 75))
W = TypeVar("W", Weights, ExpertWeights)


class Sequential(Generic[W]):
    """Token by token or in pieces, with pages of its own."""

    def __init__(self, package: Package, make: Callable[[ModelKernels], W], kernels: str | None = None) -> None:
        self.config = package.manifest.model
        self.kernels = choose_kernels(kernels).open(self.config, 2)
        self.weights = make(self.kernels)
        self._memory = KvMemory(self.config, 4)
        self.position = 0

    def run(self, token_ids: Sequence[int], *, needs_logits: bool = True) -> NDArray[np.float32]:
        rows = self.kernels.begin(
            [RowSpan(self.position, len(token_ids), (0, 1, 2, 3))], self.weights.inv_freq, self._memory
        )
        ids = np.array(token_ids, np.int32)
        hidden = np.empty((len(ids), self.config.hidden_size), np.float32)
        chosen = np.array([len(ids) - 1] if needs_logits else [], np.int32)
        logits = np.full((len(chosen), self.config.vocab_size), np.nan, np.float32)
        with self.weights.one_pass(ids, needs_head=needs_logits):
            self.weights.embed(ids, hidden)
            self.weights.run_layers(rows, hidden)
            self.weights.run_head(hidden, chosen, logits)
        self.position += len(token_ids)
        return logits

    def generate(self, *, between: Callable[[], object] = lambda: None) -> list[bytes]:
        """Logits of the prompt, from its beginning, and of twelve tokens; `between` is called before each of them, and
        in the middle of the prompt."""
        self.position = 0
        self.run(PROMPT[:40], needs_logits=False)
        between()
        logits = [self.run(PROMPT[40:])]
        for _ in range(12):
            between()
            logits.append(self.run([int(logits[-1].argmax())]))
        return [row.tobytes() for row in logits]

    def wait_until_warm(self) -> None:
        """As long as it takes; only a hanging test waits for its timeout."""
        while not self.weights.is_warm:
            time.sleep(0.001)

    def close(self) -> None:
        self.weights.close()


def copied(package: Path, folder: Path) -> Package:
    """One that a test may damage, open."""
    return Package.open(shutil.copytree(package, folder / "package"))
