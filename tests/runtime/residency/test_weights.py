"""Streamed or in memory, moved in mid-generation, through faults of storage: the logits are the same bytes."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from weight_passes import PROMPT, Sequential, copied

from pocketseek.errors import IntegrityError, MemoryLimitError, StorageError
from pocketseek.kernels.contract import ModelKernels
from pocketseek.kernels.mapped import resident_bytes
from pocketseek.package.paths import chunk_path
from pocketseek.package.reader import Package
from pocketseek.runtime.residency.chunk_files import ChunkFiles
from pocketseek.runtime.residency.loss_watch import LossWatch
from pocketseek.runtime.residency.plan import least_ring_bytes
from pocketseek.runtime.residency.read_mode import DEFAULT_READ_MODE, ReadMode
from pocketseek.runtime.residency.units import Unit
from pocketseek.runtime.residency.weight_files import WeightFiles
from pocketseek.runtime.residency.weights import Weights

UNIT_BYTES = 48_000


class Model(Sequential[Weights]):
    """Over units that are so small that they stream."""

    def __init__(
        self,
        package: Package,
        files: WeightFiles | None = None,
        read_mode: Callable[[], ReadMode] = lambda: DEFAULT_READ_MODE,
        losses: LossWatch | None = None,
    ) -> None:
        def make(kernels: ModelKernels) -> Weights:
            return Weights(package, kernels, unit_bytes=UNIT_BYTES, files=files, read_mode=read_mode, losses=losses)

        super().__init__(package, make)


@pytest.fixture
def package(layered_package: Path, tmp_path: Path) -> Iterator[Package]:
    with copied(layered_package, tmp_path) as package:
        yield package


@pytest.fixture(scope="module")
def expected(layered_package: Path) -> list[bytes]:
    """Logits of a prompt and twelve tokens, all in memory."""
    with Package.open(layered_package) as package:
        model = Model(package)
        answer = model.generate()
        model.close()
    return answer


def shares(weights: Weights) -> list[int | None]:
    least, total = least_ring_bytes(weights.plan.units), weights.num_bytes
    return [None, 0, least, total // 4, total // 2, total - 1, total, 2 * total]


def test_logits_are_the_same_bytes_whatever_is_streamed(package: Package, expected: list[bytes]) -> None:
    model = Model(package)
    for num_bytes in shares(model.weights):
        model.weights.set_bytes(num_bytes)
        assert model.generate() == expected, f"{num_bytes} bytes in memory"
    model.close()


def test_units_move_between_any_two_passes(package: Package, expected: list[bytes]) -> None:
    seed = int.from_bytes(os.urandom(4))
    random = np.random.default_rng(seed)
    model = Model(package)

    def move() -> None:
        model.weights.set_bytes(int(random.integers(model.weights.num_bytes)))

    for _ in range(5):
        move()
        assert model.generate(between=move) == expected, f"seed {seed}"
    model.close()


def test_only_what_the_plan_says_is_read(package: Package) -> None:
    model = Model(package)
    weights = model.weights
    weights.set_bytes(weights.num_bytes // 2)
    model.run(PROMPT)
    before = weights.read_bytes
    for _ in range(20):
        model.run([1])
    ahead_bytes = weights.plan.ring_bytes
    assert abs(weights.read_bytes - before - 20 * weights.plan.streamed_bytes) <= ahead_bytes
    model.close()


def test_a_pass_without_logits_leaves_the_head_out(package: Package) -> None:
    model = Model(package)
    weights = model.weights
    weights.set_bytes(0)
    head_bytes = sum(slot.num_bytes for slot in weights.plan.slots if slot.unit.layer is None)
    model.run([1], needs_logits=False)
    before = weights.read_bytes
    for _ in range(20):
        model.run([1], needs_logits=False)
    expected_bytes = 20 * (weights.plan.streamed_bytes - head_bytes)
    assert abs(weights.read_bytes - before - expected_bytes) <= weights.plan.ring_bytes
    assert head_bytes > weights.plan.streamed_bytes / 50
    model.close()


def test_memory_is_that_of_the_plan_and_is_gone_after_closing(package: Package) -> None:
    model = Model(package)
    weights = model.weights
    for num_bytes in shares(weights)[1:6]:
        weights.set_bytes(num_bytes)
        assert weights.memory_bytes <= max(num_bytes or 0, weights.streaming_bytes)
    model.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pocketseek-reader")]
    model.close()


def test_a_ring_that_the_system_refuses_leaves_everything_as_it_was(
    package: Package, expected: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fileno: int, length: int, flags: int) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    model = Model(package)
    with monkeypatch.context() as patch:
        patch.setattr("pocketseek.runtime.residency.streamer.mmap.mmap", refuse)
        with pytest.raises(MemoryLimitError, match="refused by the system"):
            model.weights.set_bytes(0)
    assert model.weights.memory_bytes == model.weights.num_bytes
    assert model.generate() == expected
    model.weights.set_bytes(0)
    assert model.generate() == expected
    model.close()


@pytest.mark.parametrize(
    "failure",
    [
        StorageError("the disk is broken; buy another"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        MemoryError(),
    ],
)
def test_storage_that_fails_while_it_is_tried_out_is_tried_out_again(
    package: Package, expected: list[bytes], failure: Exception
) -> None:
    failures = [failure]

    def read_mode() -> ReadMode:
        if failures:
            raise failures.pop()
        return ReadMode(direct=False, num_readers=1, read_bytes=8192, bytes_per_s=1e9)

    model = Model(package, read_mode=read_mode)
    for num_bytes in (0, model.weights.num_bytes // 2):
        model.weights.set_bytes(num_bytes)
        assert model.generate() == expected
    assert not failures
    model.close()


@pytest.mark.parametrize("num_failures", [2, 3, 7])
def test_a_failing_disk_costs_a_pass_and_no_byte(package: Package, expected: list[bytes], num_failures: int) -> None:
    left = 0

    def failing(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        nonlocal left
        if left > 0:
            left -= 1
            raise OSError(errno.EIO, "Input/output error")
        return os.preadv(descriptor, buffers, offset)

    model = Model(package, ChunkFiles(package, read_into=failing))
    model.weights.set_bytes(0)
    model.run(PROMPT[:40], needs_logits=False)
    left = num_failures
    while True:
        try:
            logits = model.run(PROMPT[40:])
            break
        except StorageError:
            continue
    assert logits.tobytes() == expected[0]
    model.close()


def test_a_chunk_that_is_cut_short_is_an_error_until_a_good_one_is_in_its_place(
    package: Package, expected: list[bytes]
) -> None:
    model = Model(package)
    path = chunk_path(package.path, package.manifest.chunks[4].sha256)
    good = path.read_bytes()
    for num_bytes in (None, 0):
        model.weights.set_bytes(num_bytes)
        model.position = 0
        model.run(PROMPT[:40], needs_logits=False)
        os.truncate(path, 0)
        for _ in range(3):
            with pytest.raises((IntegrityError, StorageError)):
                model.run(PROMPT[40:])
        path.unlink()
        with pytest.raises((IntegrityError, StorageError)):
            model.run(PROMPT[40:])
        path.write_bytes(good)
        assert model.run(PROMPT[40:]).tobytes() == expected[0]
    model.close()


@pytest.mark.parametrize("num_bytes", [None, 0])
def test_a_chunk_that_rotted_and_was_replaced_in_a_pause_costs_nobody_anything(
    package: Package, expected: list[bytes], num_bytes: int | None
) -> None:
    model = Model(package)
    model.weights.set_bytes(num_bytes)
    model.run(PROMPT[:40], needs_logits=False)
    path = chunk_path(package.path, package.manifest.chunks[4].sha256)
    aside = path.with_suffix(".damaged")
    good = path.read_bytes()
    path.rename(aside)
    with aside.open("r+b") as file:
        file.write(bytes(byte ^ 1 for byte in good[:100]))
    path.write_bytes(good)
    os.utime(aside)  # as who replaced it does
    aside.unlink()
    time.sleep(0.06)  # what makes it a pause
    assert model.run(PROMPT[40:]).tobytes() == expected[0]
    model.close()


def test_a_package_that_is_removed_is_used_on(package: Package, expected: list[bytes]) -> None:
    model = Model(package)
    shutil.rmtree(package.path)
    for num_bytes in (None, 0, model.weights.num_bytes // 2):
        model.weights.set_bytes(num_bytes)
        assert model.generate() == expected
    model.close()


class NotedFiles(ChunkFiles):
    """Writes down what is warmed: (chunk, offset, bytes)."""

    def __init__(self, package: Package) -> None:
        super().__init__(package)
        self.warmed: list[tuple[int, int, int]] = []

    def warm(self, chunk: int, offset: int, num_bytes: int) -> None:
        super().warm(chunk, offset, num_bytes)
        self.warmed.append((chunk, offset, num_bytes))


class AlwaysDue(LossWatch):
    def is_due(self) -> bool:
        return True


def evict(package: Package, weights: Weights, files: ChunkFiles, units: Sequence[Unit]) -> int:
    """As a system that is short of memory; returns how many bytes went. Skips the test where it cannot be done."""
    before = resident_bytes_of(package, units)
    for unit in units:
        for piece in unit.pieces:
            os.fsync(files.descriptor(piece.chunk))  # a page just written cannot be dropped
    weights._evict_all(frozenset(unit.index for unit in units))
    gone = before - resident_bytes_of(package, units)
    if not gone:
        pytest.skip("this file system keeps its pages in memory (tmpfs), or does not say what is there")
    return gone


def resident_bytes_of(package: Package, units: Sequence[Unit]) -> int:
    return sum(
        resident_bytes(package.chunk(piece.chunk)[piece.offset : piece.offset + piece.num_bytes]) or 0
        for unit in units
        for piece in unit.pieces
    )


def places_of(units: Sequence[Unit]) -> set[tuple[int, int]]:
    return {(piece.chunk, piece.offset) for unit in units for piece in unit.pieces}


def test_what_the_system_took_is_read_again_ahead_of_the_passes(package: Package, expected: list[bytes]) -> None:
    files = NotedFiles(package)
    model = Model(package, files, losses=AlwaysDue())
    weights = model.weights
    model.generate()
    head = [unit for unit in weights.plan.units if unit.layer is None]
    evict(package, weights, files, head)
    num_warmings = weights.num_warmings
    model.run([1], needs_logits=False)  # which would not bring the head back
    model.wait_until_warm()
    assert resident_bytes_of(package, head) == sum(unit.num_bytes for unit in head)
    assert weights.num_warmings == num_warmings + 1
    assert len(files.warmed) > 0
    evict(package, weights, files, weights.plan.units)
    assert model.generate() == expected
    model.close()


def test_only_what_may_be_kept_is_read_again(package: Package, expected: list[bytes]) -> None:
    files = NotedFiles(package)
    model = Model(package, files, losses=AlwaysDue())
    weights = model.weights
    weights.set_bytes(weights.num_bytes * 3 // 4)
    model.wait_until_warm()
    kept = [unit for unit in weights.plan.units if unit.index in weights.plan.resident]
    files.warmed.clear()
    evict(package, weights, files, weights.plan.units)
    assert model.generate() == expected
    model.wait_until_warm()
    assert files.warmed
    assert {(chunk, offset) for chunk, offset, _ in files.warmed} <= places_of(kept)
    model.close()


def test_what_waits_to_be_warmed_is_not_forgotten_when_units_move(package: Package) -> None:
    files = NotedFiles(package)
    model = Model(package, files)
    weights = model.weights
    evict(package, weights, files, weights.plan.units)
    cold = places_of([unit for unit in weights.plan.units if resident_bytes_of(package, [unit]) < unit.num_bytes])
    weights._streamer.num_readers = 0  # nobody begins
    weights.warm_all()
    assert not weights.is_warm
    weights._streamer.num_readers = 2
    weights.set_bytes(weights.num_bytes - 1)
    model.wait_until_warm()
    kept = [unit for unit in weights.plan.units if unit.index in weights.plan.resident]
    assert {(chunk, offset) for chunk, offset, _ in files.warmed} == places_of(kept) & cold != set()
    model.close()
