"""A random package, small: every byte as its manifest says, and logits of ordinary size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import random_package
from random_checkpoint import SHAPES

from pocketseek.kernels.choose import KernelChoice
from pocketseek.package.manifest import read_manifest
from pocketseek.package.reader import Package
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.work import Slice, Work

SHAPE = replace(
    SHAPES["r1-distill-qwen-14b"], num_layers=2, hidden_size=320, num_heads=5, num_kv_heads=1, head_dim=64,
    intermediate_size=864, vocab_size=288,
)  # fmt: skip


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("random") / "package"
    random_package.write_package(path, SHAPE, seed=1)
    return path


def test_it_opens_with_every_byte_checked_and_computes(package: Path) -> None:
    with Package.open(package, verify="full") as opened:
        executor = KernelExecutor(opened, KernelChoice("reference", "slow"), num_threads=1, num_pages=1)
        logits = executor.run(Work((Slice(0, (1, 2, 3), 0, (0,), 3),))).copy()
        executor.close()
    assert logits.shape == (3, SHAPE.vocab_size)
    assert np.isfinite(logits).all()
    assert 0.1 < logits.std() < 10.0


def test_the_same_seed_writes_the_same_bytes(package: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    random_package.write_package(again, SHAPE, seed=1)
    random_package.write_package(other, SHAPE, seed=2)
    chunks = [tuple(chunk.sha256 for chunk in read_manifest(path).chunks) for path in (package, again, other)]
    assert chunks[0] == chunks[1]
    assert not set(chunks[0][1:]) & set(chunks[2][1:])


def test_a_package_with_experts_computes_too(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    random_package.write_package(path, random_package.SPARSE_SHAPES["deepseek-v2-tiny"], seed=1)
    with Package.open(path, verify="full") as opened:
        executor = KernelExecutor(opened, KernelChoice("reference", "slow"), num_threads=1, num_pages=1)
        logits = executor.run(Work((Slice(0, (1, 2, 3), 0, (0,), 3),))).copy()
        executor.close()
    assert np.isfinite(logits).all()
    assert 0.1 < logits.std() < 10.0
