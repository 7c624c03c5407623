"""What a pass tells of the time that computing takes: nothing, if pages came from storage meanwhile."""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.mapped import resident_bytes
from pocketseek.package.reader import Package
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.residency.chunk_files import ChunkFiles
from pocketseek.runtime.residency.plan import least_ring_bytes
from pocketseek.runtime.work import Slice, Work

PASS = Work((Slice(1, (1, 2, 3), 0, (0,), 1),))


@pytest.fixture
def package(layered_package: Path, tmp_path: Path) -> Iterator[Package]:
    with Package.open(shutil.copytree(layered_package, tmp_path / "package")) as package:
        yield package


@pytest.fixture
def executor(package: Package) -> Iterator[KernelExecutor]:
    executor = KernelExecutor(package, choose_kernels(), num_threads=1, num_pages=1)
    executor.run(PASS)
    executor.run(PASS)
    yield executor
    executor.close()


def evict(package: Package) -> None:
    os.sync()
    files = ChunkFiles(package)
    for index in range(len(package.manifest.chunks)):
        data = package.chunk(index)
        package.advise(index, mmap.MADV_DONTNEED, 0, data.nbytes)
        files.evict(index, 0, data.nbytes)
    files.close()
    if resident_bytes(package.chunk(1)) == package.chunk(1).nbytes:
        pytest.skip("files of this directory always stay in memory; that passes notice it was not tried")


def test_a_pass_that_computes_only_is_typical(executor: KernelExecutor) -> None:
    assert executor.is_typical


def test_a_pass_with_page_faults_from_storage_is_not_and_the_next_one_is(
    package: Package, executor: KernelExecutor
) -> None:
    evict(package)
    executor.run(PASS)
    assert not executor.is_typical
    executor.run(PASS)
    assert executor.is_typical


def test_a_pass_beside_warming_is_not(package: Package, executor: KernelExecutor) -> None:
    executor.set_weight_bytes(least_ring_bytes(executor.weights.plan.units))
    evict(package)
    executor.weights._streamer.num_readers = 0  # nobody begins
    executor.set_weight_bytes(None)
    executor.run(PASS)
    assert not executor.is_typical


def test_a_pass_that_was_run_again_is_not(
    package: Package, executor: KernelExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = next(package.path.glob("chunks/*"))
    usual = executor.weights.run_layers

    def touch_once(rows: object, hidden: object) -> None:
        usual(rows, hidden)  # type: ignore[arg-type]  # as it came
        if path.stat().st_mtime_ns != 1_000:
            os.utime(path, ns=(1_000, 1_000))

    monkeypatch.setattr(executor.weights, "run_layers", touch_once)
    before = executor.run(PASS).tobytes()
    assert not executor.is_typical
    assert executor.run(PASS).tobytes() == before
    assert executor.is_typical
