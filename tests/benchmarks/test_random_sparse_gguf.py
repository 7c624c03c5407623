"""Random sparse models: the package of a GGUF file has its weights, and both route unevenly and by topics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import random_package
import random_sparse_gguf
from skewed_routing import NUM_TOPICS, num_topic_blocks

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.kernels.choose import KernelChoice, choose_kernels
from pocketseek.package.manifest import read_manifest
from pocketseek.package.reader import Package
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.routing_log import RoutingLog
from pocketseek.runtime.work import Slice, Work

SHAPE = replace(random_package.SPARSE_SHAPES["deepseek-v2-tiny"], num_layers=3)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "m.gguf"
    random_sparse_gguf.write_gguf(path, SHAPE, seed=1)
    return path


@pytest.fixture(scope="module")
def packages(gguf: Path) -> list[Path]:
    own = gguf.parent / "own"
    random_package.write_package(own, SHAPE, seed=1)
    return [convert_checkpoint(gguf, gguf.parent / "kept", models_dir=gguf.parent, quant="keep"), own]


def test_the_package_is_of_the_shape_and_nothing_was_lost(packages: list[Path]) -> None:
    manifest = read_manifest(packages[0])
    assert manifest.model.moe == SHAPE.moe
    assert manifest.model.mla is not None
    assert SHAPE.mla is not None
    assert manifest.model.mla.latent_dim == SHAPE.mla.latent_dim
    assert manifest.model.mla.score_factor == pytest.approx(SHAPE.mla.score_factor)  # f32 in the file
    formats = {tensor.name: tensor.format for tensor in manifest.tensors}
    assert formats["experts.1.7.down"] == formats["embed.weight"] == "q4s"
    assert formats["layer.1.k_b"] == "q8s"
    assert formats["layer.1.router"] == "f32"


def test_the_same_seed_writes_the_same_bytes(gguf: Path, tmp_path: Path) -> None:
    random_sparse_gguf.write_gguf(tmp_path / "again.gguf", SHAPE, seed=1)
    assert (tmp_path / "again.gguf").read_bytes() == gguf.read_bytes()


@pytest.mark.parametrize("number", [0, 1])
def test_logits_are_of_ordinary_size(packages: list[Path], number: int) -> None:
    with Package.open(packages[number], verify="full") as opened:
        executor = KernelExecutor(opened, KernelChoice("reference", "slow"), num_threads=1, num_pages=1)
        logits = executor.run(Work((Slice(0, (1, 2, 3), 0, (0,), 3),))).copy()
        executor.close()
    assert np.isfinite(logits).all()
    assert 0.1 < logits.std() < 10.0


@pytest.mark.parametrize("number", [0, 1])
def test_tokens_of_a_topic_choose_alike_and_some_experts_are_busy(packages: list[Path], number: int) -> None:
    topics = [topic + NUM_TOPICS * index for topic in (7, 20, 41) for index in range(12)]
    ids = [*topics, *range(100, 124)]
    with Package.open(packages[number]) as opened:
        executor = KernelExecutor(opened, choose_kernels(), num_threads=1, num_pages=1)
        log = RoutingLog()
        executor.log_routing(log)
        executor.run(Work((Slice(0, tuple(ids), 0, (0,), 1),)))
        executor.close()
    (routed,) = log.passes
    alike = np.mean([common(routed.chosen[:, start : start + 12]) for start in (0, 12, 24)])
    assert alike > 1.15 * common(routed.chosen[:, 36:])
    counts = np.bincount(routed.chosen.ravel(), minlength=64)
    assert np.sort(counts)[-8:].sum() / counts.sum() > 0.2


def common(chosen: np.ndarray) -> float:
    """Mean number of experts that two rows share."""
    pairs = [
        len(np.intersect1d(layer[first], layer[second]))
        for layer in chosen
        for first in range(layer.shape[0])
        for second in range(first)
    ]
    return float(np.mean(pairs))


def test_embedding_and_head_begin_with_their_topics() -> None:
    embed, head = (
        np.concatenate(
            list(random_sparse_gguf.q4_0_rows(random_sparse_gguf.Plan("", part, (160, 256)), np.random.default_rng(1)))
        )
        for part in ("embed", "head")
    )
    count = num_topic_blocks(8)
    np.testing.assert_array_equal(embed[5, :count], embed[5 + NUM_TOPICS, :count])
    np.testing.assert_array_equal(embed[:, :count, 2:], head[:, :count, 2:])
    assert not np.array_equal(embed[5, count:], embed[5 + NUM_TOPICS, count:])
