"""Costs at the head, in slabs, are those of whole logits, and memory does not follow the vocabulary."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from pocketseek.convert import head_costs, rounded, sensitivity
from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.head_costs import Name, head_divergences
from pocketseek.convert.layer_math import Floats
from pocketseek.kernels.divergence import Divergence

FORMATS = ("q4p", "q8s")
MEGABYTE = 1 << 20


class OneMatrix(CheckpointWeights):
    """Has one matrix under any name; its rows are made when they are asked for."""

    def __init__(self, rows: int, cols: int) -> None:
        self._shape = (rows, cols)
        self._some_rows = np.random.default_rng(7).normal(size=(997, cols)).astype(np.float32)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shape

    def rows(self, name: str, ids: NDArray[np.int32]) -> Floats:
        return self._some_rows[ids % 997]


def text(cols: int, tokens: int = 12) -> tuple[Floats, dict[Name, Floats]]:
    """Clean and disturbed."""
    rng = np.random.default_rng(3)
    clean = rng.normal(size=(tokens, cols)).astype(np.float32)
    return clean, {
        name: clean + np.float32(size) * rng.normal(size=clean.shape).astype(np.float32)
        for name, size in ((0, 0.01), (1, 0.3), ("q4p", 0.0))
    }


def by_whole_logits(head: Floats, clean: Floats, streams: Mapping[Name, Floats]) -> dict[Name, float]:
    pairs = [(name, stream @ head.T) for name, stream in streams.items()]
    pairs += [(f"head {name}", clean @ rounded.rounded(name, head).T) for name in FORMATS]
    found: dict[Name, float] = {}
    for name, logits in pairs:
        divergence = Divergence()
        divergence.add(logits, clean @ head.T, ())
        found[name] = divergence.mean_kl
    return found


@pytest.mark.parametrize("slab_values", [64 * 16, 64 * 100, 1 << 22])
def test_slabs_give_what_whole_logits_do(slab_values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounded, "SLAB_VALUES", slab_values)
    monkeypatch.setattr(head_costs, "_LOGITS_AT_ONCE", 5 * 96)
    weights = OneMatrix(500, 64)
    head = weights.rows("head.weight", np.arange(500, dtype=np.int32))
    clean, streams = text(64)
    found = head_divergences(weights, clean, streams, FORMATS)
    wanted = by_whole_logits(head, clean, streams)
    assert found.keys() == wanted.keys()
    for name, divergence in wanted.items():
        assert found[name] == pytest.approx(divergence, rel=1e-4, abs=1e-6)
    assert found[0] < found[1]
    assert found["head q8s"] < found["head q4p"]


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cost", ["divergences", "squared errors"])
def test_memory_does_not_follow_the_height_of_the_matrix(cost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounded, "SLAB_VALUES", 1 << 14)
    monkeypatch.setattr(head_costs, "_LOGITS_AT_ONCE", 1 << 14)
    clean, streams = text(64)
    peaks = []
    for rows in (2_000, 16_000):  # 0.5 and 4 MB in float32
        weights = OneMatrix(rows, 64)
        if cost == "divergences":
            peaks.append(peak_bytes(lambda weights=weights: head_divergences(weights, clean, streams, FORMATS)))
        else:
            group = [("head.weight",)]
            monkeypatch.setattr(sensitivity, "group_names", lambda _, group=group: group)
            monkeypatch.setattr(OneMatrix, "model", type("Model", (), {"num_layers": 1}), raising=False)
            peaks.append(peak_bytes(lambda weights=weights: sensitivity.weight_costs(weights, lambda *_: False)))
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 2 * MEGABYTE
