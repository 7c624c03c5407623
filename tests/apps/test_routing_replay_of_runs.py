"""What a replay says against what the engine did: the same misses, pass by pass."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tiny_models import write_hf
from tiny_sparse import tiny_sparse

from pocketseek.apps.routing_replay import misses
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.kernels.choose import choose_kernels
from pocketseek.package.reader import Package
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.residency.expert_policies import POLICIES, make_policy
from pocketseek.runtime.residency.expert_weights import ExpertWeights
from pocketseek.runtime.routing_log import RoutingLog
from pocketseek.runtime.work import Slice, Work, pages_for

NUM_PASSES = 40


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sparse")
    model = tiny_sparse("deepseek_v2", num_layers=4, n_routed_experts=16)
    return convert_checkpoint(write_hf(folder / "hf", model), folder / "package", models_dir=folder)


@contextmanager
def executor_with(package: Path, policy: str, num_slots: int) -> Iterator[tuple[KernelExecutor, RoutingLog]]:
    """Its slots are full before the first pass."""
    with Package.open(package) as opened:
        moe = opened.manifest.model.moe
        assert moe is not None
        executor = KernelExecutor(
            opened, choose_kernels(), num_threads=1, num_pages=8, expert_policy=make_policy(policy, [1, 2, 3], 16)
        )
        log = RoutingLog()
        executor.log_routing(log)
        weights = executor.weights
        assert isinstance(weights, ExpertWeights)
        executor.set_weight_bytes(weights.beside_slots_bytes + num_slots * log.header().slot_bytes)
        assert weights.num_slots == num_slots
        deadline_s = time.monotonic() + 60
        while not weights.is_warm and time.monotonic() < deadline_s:
            time.sleep(0.001)
        yield executor, log
        executor.close()


def run(executor: KernelExecutor, rows: int) -> None:
    """Passes with one token of each of so many sequences."""
    rng = np.random.default_rng(rows)
    for position in range(NUM_PASSES):
        pages = pages_for(position + 1)
        executor.run(
            Work(
                tuple(
                    Slice(row, (int(rng.integers(300)),), position, tuple(range(row * 2, row * 2 + pages)), 1)
                    for row in range(rows)
                )
            )
        )


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("rows", "num_slots"), [(1, 6), (1, 20), (4, 16), (4, 30)])
def test_a_replay_misses_what_the_engine_missed(package: Path, policy: str, rows: int, num_slots: int) -> None:
    with executor_with(package, policy, num_slots) as (executor, log):
        run(executor, rows)
    assert [one.num_rows for one in log.passes] == [rows] * NUM_PASSES
    replayed = misses(log.header(), [list(one.distinct()) for one in log.passes], num_slots, policy)
    assert [sum(one) for one in replayed] == [one.misses for one in log.passes]
    assert sum(map(sum, replayed)) > NUM_PASSES


def test_the_trace_does_not_depend_on_memory(package: Path) -> None:
    logs = []
    for num_slots in (6, 30):
        with executor_with(package, "decayed-frequency", num_slots) as (executor, log):
            run(executor, 2)
        logs.append(log)
    for small, large in zip(logs[0].passes, logs[1].passes, strict=True):
        np.testing.assert_array_equal(small.chosen, large.chosen)
    assert logs[0].header() == logs[1].header()


def test_the_header_tells_what_the_package_holds(package: Path) -> None:
    with executor_with(package, "blend", 6) as (executor, log):
        run(executor, 1)
        header = log.header()
        assert (header.layers, header.num_experts, header.experts_per_token) == ((1, 2, 3), 16, 3)
        weights = executor.weights
        assert isinstance(weights, ExpertWeights)
        assert 0 < header.shared_bytes < header.always_bytes < weights.num_bytes
        assert header.beside_bytes >= weights.beside_slots_bytes
        assert header.slot_read_bytes <= header.slot_bytes
