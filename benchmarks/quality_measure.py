"""How far quantised weights are from the float16 source, on the same held-out text: for quantisation_quality.py.

Two figures. *Weights*: both models computed in float32 with the values that the stored weights stand for, so that
makers whose kernels round activations differently are compared by their weights alone (pocketseek.convert.held_out).
*As run*: the logits that an engine really gives, its rounding of activations and of keys and values included, against
those of our kernels on the float16 package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketseek.apps.compare_models import GivesLogits, compare_models
from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.families.base import ModelPlan
from pocketseek.convert.families.names import source_name
from pocketseek.convert.held_out import HeldOutText, measure_held_out
from pocketseek.convert.static_walk import FloatWeights
from pocketseek.runtime.window_logits import ROWS_AT_ONCE, WindowLogits
from pocketseek.types import ModelConfig

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """num_bytes: of all matrices, embedding and head included, scales included. calibration: what the maker did with
    the calibration text, or "" if nothing."""

    maker: str
    name: str
    calibration: str
    num_bytes: int
    weights: FloatWeights
    logits: GivesLogits


class Yardstick:
    """The source and the windows. reference: the source's package, `--quant keep`."""

    def __init__(
        self, source: CheckpointWeights, plan: ModelPlan, reference: Path, texts: Sequence[HeldOutText]
    ) -> None:
        self._source = source
        self._reference = reference
        self._texts = texts
        self.windows = np.concatenate([text.windows for text in texts])
        self.num_weights = sum(rows * cols for rows, cols in matrix_shapes(plan).values())

    def row(self, candidate: Candidate) -> dict[str, Any]:
        """As it is written to the JSON file."""
        measured = measure_held_out(self._source, candidate.weights, self._texts)
        return {
            "maker": candidate.maker,
            "name": candidate.name,
            "calibration": candidate.calibration,
            "num_bytes": candidate.num_bytes,
            "bits": 8 * candidate.num_bytes / self.num_weights,
            "weights": {"kinds": measured["kinds"], "all": measured["all"]},
            "as_run": self._as_run(candidate.logits),
        }

    def _as_run(self, logits: GivesLogits) -> dict[str, float]:
        length = self.windows.shape[1]
        with closing(WindowLogits(self._reference, window=length)) as reference:
            return vars(compare_models(logits, reference, self.windows.reshape(-1).tolist(), window=length))


class ReplacedWeights:
    """The source with other matrices, by canonical name; vectors are the source's."""

    def __init__(self, source: CheckpointWeights, plan: ModelPlan, matrices: Mapping[str, Floats]) -> None:
        for name, shape in matrix_shapes(plan).items():
            if name not in matrices or matrices[name].shape != shape:
                found = matrices[name].shape if name in matrices else "missing"
                raise SystemExit(f"{name} should be {shape} and is {found}")
        self._source = source
        self._matrices = matrices
        self.inv_freq: Floats = source.inv_freq

    @property
    def model(self) -> ModelConfig:
        return self._source.model

    def has(self, name: str) -> bool:
        return self._source.has(name)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._source.shape(name)

    def matrix(self, name: str) -> Floats:
        return self._matrices[name]

    def vector(self, name: str) -> Floats:
        return self._source.vector(name)

    def rows(self, name: str, ids: npt.NDArray[np.int32]) -> Floats:
        return self._matrices[name][ids]


class StoredLogits:
    """Logits (windows, length, vocab) that another process wrote, handed out window after window."""

    def __init__(self, path: Path) -> None:
        self._logits = np.load(path, mmap_mode="r")
        self._next = 0

    @property
    def vocab_size(self) -> int:
        return int(self._logits.shape[2])

    def run(self, token_ids: Sequence[int]) -> Iterator[Floats]:
        window = self._logits[self._next]
        self._next += 1
        if len(window) != len(token_ids):
            raise SystemExit(f"logits of windows of {len(window)} tokens were stored, {len(token_ids)} are asked for")
        for start in range(0, len(window), ROWS_AT_ONCE):
            yield np.array(window[start : start + ROWS_AT_ONCE])


def matrix_shapes(plan: ModelPlan) -> dict[str, tuple[int, ...]]:
    """By canonical name; a tied head is there once, as head.weight."""
    return {tensor.name: tensor.shape for tensor in plan.tensors if len(tensor.shape) == 2}


def checkpoint_name(canonical: str, model: ModelConfig) -> str:
    """What a Hugging Face checkpoint calls it, where a tied head is the embedding."""
    is_tied_head = model.tied_embeddings and canonical == "head.weight"
    return source_name("embed.weight" if is_tied_head else canonical, "safetensors")
