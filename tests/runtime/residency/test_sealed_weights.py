"""A sealed package computes the same bytes as the plain one, whatever is in memory and wherever it moves."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from runtime.residency.test_weights import Model, shares
from weight_passes import PROMPT

from pocketseek.errors import IntegrityError
from pocketseek.kernels.choose import choose_kernels
from pocketseek.package.reader import Package
from pocketseek.package.sealing.ciphers import Cipher
from pocketseek.package.sealing.in_place import seal_package, unseal_package
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.residency.read_mode import ReadMode
from pocketseek.runtime.residency.sealed_files import SealedChunkFiles
from pocketseek.runtime.work import Slice, Work


def secret() -> Secret:
    return Secret("key", bytearray(b"k" * 32))


@pytest.fixture(scope="module")
def expected(layered_package: Path) -> list[bytes]:
    with Package.open(layered_package) as package:
        model = Model(package)
        answer = model.generate()
        model.close()
    return answer


def sealed_copy(source: Path, target: Path, cipher: Cipher = "aes-256-gcm") -> Path:
    shutil.copytree(source, target)
    seal_package(target, secret, cipher)
    return target


@pytest.fixture
def package(layered_package: Path, tmp_path: Path) -> Iterator[Package]:
    with Package.open(sealed_copy(layered_package, tmp_path / "package"), secret=secret()) as package:
        yield package


@pytest.mark.parametrize("cipher", ["aes-256-gcm", "chacha20-poly1305"])
def test_logits_are_those_of_the_plain_package_whatever_is_streamed(
    layered_package: Path, tmp_path: Path, expected: list[bytes], cipher: Cipher
) -> None:
    with Package.open(sealed_copy(layered_package, tmp_path / "package", cipher), secret=secret()) as package:
        model = Model(package)
        for num_bytes in shares(model.weights):
            model.weights.set_bytes(num_bytes)
            model.position = 0
            assert model.generate() == expected, f"{num_bytes} bytes in memory"
        model.close()


@pytest.mark.parametrize("direct", [False, True])
def test_units_move_between_any_two_passes(package: Package, expected: list[bytes], direct: bool) -> None:
    seed = int.from_bytes(os.urandom(4))
    random = np.random.default_rng(seed)
    model = Model(package, read_mode=lambda: ReadMode(direct, 3, 8192, 1e9))
    for _ in range(5):
        model.position = 0
        model.weights.set_bytes(int(random.integers(model.weights.num_bytes)))
        model.run(PROMPT[:40], needs_logits=False)
        model.weights.set_bytes(int(random.integers(model.weights.num_bytes)))
        logits = [model.run(PROMPT[40:])]
        for _ in range(12):
            model.weights.set_bytes(int(random.integers(model.weights.num_bytes)))
            logits.append(model.run([int(logits[-1].argmax())]))
        assert [row.tobytes() for row in logits] == expected, f"seed {seed}"
    model.close()


def test_streaming_reads_hardly_anything_twice(package: Package) -> None:
    """Though units end within segments."""
    num_read = 0

    def counted(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        nonlocal num_read
        got = os.preadv(descriptor, buffers, offset)
        num_read += got
        return got

    assert package.seal is not None
    model = Model(package, SealedChunkFiles(package, package.seal, read_into=counted))
    model.weights.set_bytes(0)
    model.run(PROMPT)
    before, chunks_bytes = num_read, sum(entry.num_bytes for entry in package.manifest.chunks)
    for _ in range(10):
        model.run([1])
    assert num_read - before < 1.25 * 10 * chunks_bytes
    model.close()


def test_a_half_sealed_package_computes_the_same(
    layered_package: Path, tmp_path: Path, expected: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash: some chunks are sealed, the others lie there plain."""
    path = sealed_copy(layered_package, tmp_path / "package")

    class StopError(Exception):
        pass

    left = [4]

    def stop(done: int, total: int) -> None:
        left[0] -= 1
        if not left[0]:
            raise StopError

    with pytest.raises(StopError):
        unseal_package(path, secret(), stop)
    assert 0 < len(list((path / "chunks").glob("*.sealed"))) < len(list((path / "chunks").iterdir()))
    with Package.open(path, secret=secret()) as package:
        model = Model(package)
        for num_bytes in (None, 0, model.weights.num_bytes // 2):
            model.weights.set_bytes(num_bytes)
            model.position = 0
            assert model.generate() == expected
        model.close()


def test_what_is_decrypted_counts_and_is_given_back(package: Package) -> None:
    model = Model(package)
    weights = model.weights
    assert weights.ring_bytes < weights.num_bytes // 10
    model.run(PROMPT)
    assert weights.ring_bytes == weights.num_bytes
    for num_bytes in shares(weights)[1:6]:
        weights.set_bytes(num_bytes)
        model.position = 0
        model.run(PROMPT)
        assert weights.ring_bytes <= weights.plan.ring_bytes + weights.plan.resident_bytes
    weights.set_bytes(0)
    assert weights.ring_bytes <= weights.plan.ring_bytes + weights.num_bytes // 8  # pages that units share
    model.close()


def run_repeatedly(model: Model) -> None:
    """What was read ahead before somebody wrote is used up first."""
    for _ in range(3):
        model.position = 40
        model.run(PROMPT[40:])


def test_closing_gives_everything_back_at_once(package: Package) -> None:
    model = Model(package)
    model.run(PROMPT)
    memory = weakref.ref(next(iter(package.memory.values())))
    model.close()
    package.close()
    assert memory() is None


def test_damage_ends_the_pass_until_a_good_file_is_in_its_place(package: Package, expected: list[bytes]) -> None:
    model = Model(package)
    path = package.path / "chunks" / f"{package.manifest.chunks[4].sha256}.sealed"
    good = path.read_bytes()
    bad = good[:-10] + bytes([good[-10] ^ 1]) + good[-9:]
    model.weights.set_bytes(0)
    model.run(PROMPT[:40], needs_logits=False)
    path.write_bytes(bad)
    with pytest.raises(IntegrityError, match="damaged"):
        run_repeatedly(model)
    with pytest.raises(IntegrityError, match="damaged"):
        model.run(PROMPT[40:])
    path.write_bytes(good)
    model.position = 40
    assert model.run(PROMPT[40:]).tobytes() == expected[0]
    model.close()


def test_what_cannot_be_decrypted_is_never_computed_with(package: Package) -> None:
    path = package.path / "chunks" / f"{package.manifest.chunks[4].sha256}.sealed"
    good = path.read_bytes()
    model = Model(package)
    path.write_bytes(good[:-10] + bytes([good[-10] ^ 1]) + good[-9:])
    model.weights.warm_all()
    for _ in range(2):
        with pytest.raises(IntegrityError):
            model.run(PROMPT)
    model.close()


def test_a_sealed_package_that_is_removed_is_used_on(package: Package, expected: list[bytes]) -> None:
    model = Model(package)
    shutil.rmtree(package.path)
    for num_bytes in (None, 0, model.weights.num_bytes // 2):
        model.weights.set_bytes(num_bytes)
        model.position = 0
        assert model.generate() == expected
    model.close()


def test_the_reference_kernels_compute_with_it_too(layered_package: Path, package: Package) -> None:
    """They know no units: everything is decrypted."""
    logits = []
    with Package.open(layered_package) as plain:
        for one in (plain, package):
            executor = KernelExecutor(one, choose_kernels("reference"), num_threads=1, num_pages=2)
            logits.append(executor.run(Work((Slice(1, (1, 2, 3), 0, (0,), num_logits=1),))).tobytes())
            executor.close()
    assert logits[0] == logits[1]


def test_rows_of_many_tokens_are_right_when_they_are_dropped_in_between(
    package: Package, layered_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketseek.runtime.residency.table_rows.KEPT_ROWS_BYTES", 4096)
    random = Random(3)
    prompts = [[random.randrange(package.manifest.model.vocab_size) for _ in range(5)] for _ in range(12)]
    logits = []
    with Package.open(layered_package) as plain:
        for one in (plain, package):
            model = Model(one)
            model.weights.set_bytes(model.weights.num_bytes // 2)
            logits.append([model.run(prompt).tobytes() for prompt in prompts])
            model.close()
    assert logits[0] == logits[1]
