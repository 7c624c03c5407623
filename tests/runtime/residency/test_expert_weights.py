"""Experts in memory or on demand, moved in mid-generation, in rounds, through faults of storage: the same bytes."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_models import write_hf
from tiny_sparse import tiny_sparse
from weight_passes import PROMPT, Sequential, copied

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import IntegrityError, MemoryLimitError, StorageError
from pocketseek.kernels.contract import ModelKernels
from pocketseek.package.expert_layout import expert_extents
from pocketseek.package.paths import chunk_path
from pocketseek.package.reader import Package
from pocketseek.package.sealing.in_place import seal_package
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.runtime.residency.chunk_files import ChunkFiles
from pocketseek.runtime.residency.expert_weights import ExpertWeights
from pocketseek.runtime.residency.read_mode import DEFAULT_READ_MODE, ReadMode
from pocketseek.runtime.residency.sealed_files import SealedChunkFiles
from pocketseek.runtime.residency.weight_files import WeightFiles

WAIT_S = 60


class Model(Sequential[ExpertWeights]):
    def __init__(
        self,
        package: Package,
        files: WeightFiles | None = None,
        *,
        read_mode: Callable[[], ReadMode] = lambda: DEFAULT_READ_MODE,
        kernels: str | None = None,
    ) -> None:
        def make(opened: ModelKernels) -> ExpertWeights:
            return ExpertWeights(package, opened, files=files, read_mode=read_mode)

        super().__init__(package, make, kernels)


def secret() -> Secret:
    return Secret("key", bytearray(b"k" * 32))


@pytest.fixture
def package(sparse_package: Path, tmp_path: Path) -> Iterator[Package]:
    with copied(sparse_package, tmp_path) as package:
        yield package


@pytest.fixture
def sealed(sparse_package: Path, tmp_path: Path) -> Iterator[Package]:
    path = shutil.copytree(sparse_package, tmp_path / "sealed")
    seal_package(path, secret, "aes-256-gcm")
    with Package.open(path, secret=secret()) as package:
        yield package


@pytest.fixture(scope="module")
def expected(sparse_package: Path) -> list[bytes]:
    """Logits of a prompt and twelve tokens, all in memory."""
    with Package.open(sparse_package) as package:
        model = Model(package)
        answer = model.generate()
        model.close()
    return answer


def shares(weights: ExpertWeights) -> list[int | None]:
    least, total = weights.streaming_bytes, weights.num_bytes
    return [None, 0, least, (least + total) // 2, None, total - 1, total, 2 * total]


def expert_chunks(package: Package) -> list[Path]:
    layer = next(index for index in range(9) if package.manifest.model.has_experts(index))
    indices = sorted({extent.chunk for extent in expert_extents(package.manifest, layer)})
    return [chunk_path(package.path, package.manifest.chunks[index].sha256) for index in indices]


def largest_file(package: Package) -> Path:
    """Of a sealed one, where names tell nothing: experts are most of it."""
    return max((package.path / "chunks").iterdir(), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("is_sealed", [False, True])
def test_logits_are_the_same_bytes_however_many_experts_are_in_memory(
    package: Package, sealed: Package, expected: list[bytes], is_sealed: bool
) -> None:
    model = Model(sealed if is_sealed else package)
    assert len(set(expected)) > 6
    for num_bytes in shares(model.weights):
        model.weights.set_bytes(num_bytes)
        for _ in range(2):
            assert model.generate() == expected, f"{num_bytes} bytes in memory"
    model.close()


@pytest.mark.parametrize("family", ["deepseek_v2", "deepseek_v3", "qwen3_moe"])
def test_of_every_family_in_the_least_memory(family: str, tmp_path: Path) -> None:
    source = write_hf(tmp_path / "source", tiny_sparse(family, num_layers=3))
    path = convert_checkpoint(source, tmp_path / "package", models_dir=tmp_path)
    with Package.open(path) as package:
        model = Model(package)
        answer = model.generate()
        model.weights.set_bytes(0)
        assert model.weights.num_slots is not None
        assert model.generate() == answer
        model.close()


def test_the_reference_computes_experts_on_demand_too(package: Package) -> None:
    model = Model(package, kernels="reference")
    model.run(PROMPT[:10], needs_logits=False)
    logits = model.run(PROMPT[10:12])
    model.weights.set_bytes(0)
    model.position = 0
    model.run(PROMPT[:10], needs_logits=False)
    assert model.run(PROMPT[10:12]).tobytes() == logits.tobytes()
    model.close()


@pytest.mark.parametrize("is_sealed", [False, True])
def test_slots_come_and_go_between_any_two_passes(
    package: Package, sealed: Package, expected: list[bytes], is_sealed: bool
) -> None:
    seed = int.from_bytes(os.urandom(4))
    random = np.random.default_rng(seed)
    model = Model(sealed if is_sealed else package)
    most = int(1.2 * model.weights.num_bytes)

    def move() -> None:
        if random.random() < 0.5:
            return
        num_bytes = int(random.integers(most))
        model.weights.set_bytes(num_bytes)
        assert model.weights.memory_bytes <= max(num_bytes, model.weights.streaming_bytes), f"seed {seed}"
        if not is_sealed:
            assert model.weights.ring_bytes <= model.weights.memory_bytes, f"seed {seed}"

    for _ in range(8):
        assert model.generate(between=move) == expected, f"seed {seed}"
    model.close()


def test_a_start_reads_the_experts_that_were_used_most_and_a_hit_reads_nothing(package: Package) -> None:
    model = Model(package)
    weights = model.weights
    weights.set_bytes((weights.streaming_bytes + weights.num_bytes) // 2)
    model.generate()
    learnt = weights.policy.state()
    model.close()
    again = Model(package)
    again.weights.policy.restore(learnt)
    again.weights.set_bytes((again.weights.streaming_bytes + again.weights.num_bytes) // 2)
    again.wait_until_warm()
    num_slots = again.weights.num_slots
    assert num_slots is not None
    again.run([5])  # what was read in the background counts from here on
    best = [key for key, _ in zip(again.weights.policy.ranked(), range(num_slots // 2), strict=False)]
    assert set(best) <= again.weights.store.held
    before = again.weights.store.num_misses, again.weights.read_bytes
    again.position = 0
    again.run([5])
    assert (again.weights.store.num_misses, again.weights.read_bytes) == before
    again.close()


def test_everything_that_a_layer_lacks_is_asked_for_before_the_shared_experts_are_computed(
    package: Package, expected: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_read = threading.Event()
    may_read.set()
    asked: list[int] = []

    def read_into(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        assert may_read.wait(WAIT_S)
        return os.preadv(descriptor, buffers, offset)

    model = Model(package, ChunkFiles(package, read_into=read_into))
    model.weights.set_bytes(model.weights.num_bytes - 1)
    model.wait_until_warm()
    for _ in range(100):
        model.weights.store.drop_one()
    model.run([7])
    shared = model.kernels.shared_experts

    def shared_experts(layer: object) -> None:
        asked.append(len(model.weights.store._wanted()))
        shared(layer)
        may_read.set()

    monkeypatch.setattr(model.kernels, "shared_experts", shared_experts)
    begin = model.weights.store.begin

    def begin_held(layer: int, experts: Sequence[int]) -> dict[int, object]:
        may_read.clear()
        return begin(layer, experts)

    monkeypatch.setattr(model.weights.store, "begin", begin_held)
    before = model.weights.store.num_misses
    assert model.generate() == expected
    assert sum(asked) == model.weights.store.num_misses - before > 0
    model.close()


def test_layers_run_whole_once_all_experts_have_come(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(package)
    model.weights.warm_all()
    model.wait_until_warm()
    runs: list[int] = []
    layers = model.kernels.layers

    def counting(weights: Sequence[object], first: int, rows: object, hidden: NDArray[np.float32]) -> None:
        runs.append(len(weights))
        layers(weights, first, rows, hidden)

    monkeypatch.setattr(model.kernels, "layers", counting)
    for token in range(32):
        model.run([token])
    assert runs.count(model.config.num_layers) == 30  # but for those from which is learnt whom to keep
    model.close()


def test_an_observer_sees_whom_the_rows_choose_in_every_pass(package: Package) -> None:
    model = Model(package)
    seen: list[tuple[int, tuple[int, ...]]] = []
    ends: list[int] = []
    model.weights.on_routing = lambda layer, chosen: seen.append((layer, chosen.shape))
    model.weights.on_pass_end = lambda: ends.append(len(seen))
    model.run(PROMPT[:9], needs_logits=False)
    model.run([3])
    moe = model.config.moe
    assert moe is not None
    layers = [layer for layer in range(model.config.num_layers) if model.config.has_experts(layer)]
    assert seen == [(layer, (rows, moe.experts_per_token)) for rows in (9, 1) for layer in layers]
    assert ends == [len(layers), 2 * len(layers)]
    model.close()


def test_how_storage_is_read_is_asked_once_and_only_if_experts_are_read(package: Package) -> None:
    asked: list[int] = []

    def read_mode() -> ReadMode:
        asked.append(1)
        return ReadMode(direct=True, num_readers=3, read_bytes=64 << 10, bytes_per_s=1e9)

    model = Model(package, read_mode=read_mode)
    answer = model.generate()
    assert not asked
    for num_bytes in (0, model.weights.num_bytes // 2, None, 0):
        model.weights.set_bytes(num_bytes)
        assert model.generate() == answer
    assert asked == [1]
    model.close()


def test_slots_that_the_system_refuses_change_nothing(
    package: Package, expected: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise OSError(12, "Cannot allocate memory")

    model = Model(package)
    before = model.weights.memory_bytes
    with monkeypatch.context() as patch:
        patch.setattr("pocketseek.runtime.residency.expert_slots.mmap.mmap", refuse)
        with pytest.raises(MemoryLimitError, match="bytes for experts are refused by the system"):
            model.weights.set_bytes(0)
    assert model.weights.memory_bytes == before
    assert model.generate() == expected
    model.weights.set_bytes(0)
    assert model.generate() == expected
    model.close()


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_place_that_cannot_be_read_fails_the_pass_and_the_next_one_goes_on(
    package: Package, sealed: Package, expected: list[bytes], is_sealed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketseek.runtime.residency.chunk_files.RETRY_PAUSE_S", 0.0)
    monkeypatch.setattr("pocketseek.runtime.residency.sealed_files.RETRY_PAUSE_S", 0.0)
    fails = threading.Event()

    def read_into(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        if fails.is_set():
            raise OSError(5, "Input/output error")
        return os.preadv(descriptor, buffers, offset)

    if is_sealed:
        assert sealed.seal is not None
        model = Model(sealed, SealedChunkFiles(sealed, sealed.seal, read_into=read_into))
    else:
        model = Model(package, ChunkFiles(package, read_into=read_into))
    for num_bytes in (0, model.weights.num_bytes // 2):
        model.weights.set_bytes(num_bytes)
        assert model.generate() == expected
        fails.set()
        for _ in range(3):
            model.position = 0
            with pytest.raises(StorageError):
                model.run(PROMPT[:40], needs_logits=False)
        fails.clear()
        assert model.generate() == expected
    model.close()


def test_a_pass_that_fails_ends_for_the_policy_too(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.runtime.residency.chunk_files.RETRY_PAUSE_S", 0.0)
    told: list[str] = []
    fails = threading.Event()

    def read_into(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        if fails.is_set():
            raise OSError(5, "Input/output error")
        return os.preadv(descriptor, buffers, offset)

    model = Model(package, ChunkFiles(package, read_into=read_into))
    model.weights.set_bytes(0)
    model.generate()
    policy = model.weights.policy
    used, victim, end_pass = policy.used, policy.victim, policy.end_pass
    monkeypatch.setattr(policy, "used", lambda *rest: (told.append("used"), used(*rest)))
    monkeypatch.setattr(policy, "victim", lambda *rest: (told.append("victim"), victim(*rest))[1])
    monkeypatch.setattr(policy, "end_pass", lambda: (told.append("end"), end_pass()))
    fails.set()
    for _ in range(3):
        model.position = 0
        with pytest.raises(StorageError):
            model.run(PROMPT[:40], needs_logits=False)
        assert ("used" in told, told.count("end"), told[-1]) == (True, 1, "end")
        told.clear()
    fails.clear()
    model.position = 0
    model.run(PROMPT[:40], needs_logits=False)
    assert (told.count("end"), told[-1]) == (1, "end")
    model.close()


@pytest.mark.parametrize("is_sealed", [False, True])
def test_damaged_experts_are_an_error_until_a_good_file_is_there(
    package: Package, sealed: Package, expected: list[bytes], is_sealed: bool
) -> None:
    model = Model(sealed if is_sealed else package)
    path = largest_file(sealed) if is_sealed else expert_chunks(package)[0]
    good = path.read_bytes()
    model.weights.set_bytes(0)
    assert model.generate() == expected
    with path.open("r+b") as file:
        file.seek(len(good) // 8)
        file.write(os.urandom(len(good) // 2))
    with pytest.raises(IntegrityError):
        model.generate()
    with pytest.raises(IntegrityError):
        model.generate()
    path.unlink()
    path.write_bytes(good)
    assert model.generate() == expected
    model.close()


def test_what_was_read_while_somebody_wrote_is_not_used_again(package: Package, expected: list[bytes]) -> None:
    """The file is good again before anybody looks; only its time tells."""
    model = Model(package)
    model.weights.set_bytes(0)
    assert model.generate() == expected
    path = expert_chunks(package)[0]
    good = path.read_bytes()
    store = model.weights.store
    model.position = 0
    begun = store.begin

    def begin(layer: int, experts: Sequence[int]) -> dict[int, object]:
        if layer != 1:
            return begun(layer, experts)
        store.drop(sorted(store.held))
        read = model.weights._files.read

        def read_bad(chunk: int, offset: int, buffer: memoryview) -> None:
            read(chunk, offset, buffer)
            buffer[: len(buffer) // 2] = bytes(len(buffer) // 2)

        model.weights._files.read = read_bad  # type: ignore[method-assign]
        try:
            ready = begun(layer, experts)
            while not store.is_complete:
                ready = {**ready, **store.more()}
            os.utime(path, (5, 5))
            return ready
        finally:
            model.weights._files.read = read  # type: ignore[method-assign]

    store.begin = begin  # type: ignore[method-assign]
    model.run([5])
    assert model.weights.is_doubtful
    store.begin = begun  # type: ignore[method-assign]
    assert path.read_bytes() == good
    assert model.generate() == expected
    assert not model.weights.is_doubtful
    model.close()
