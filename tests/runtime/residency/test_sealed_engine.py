"""An engine on a sealed model writes what it writes on the plain one, in changing memory too, and leaves no trace."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from runtime.residency.test_engine_in_changing_memory import least_bytes
from streaming_engine import MovingLimit, many_requests, run_alone, run_together, small_units

from pocketseek.errors import SealError, UnsupportedError
from pocketseek.package.key_slots import Secret
from pocketseek.package.sealing import seal_package
from pocketseek.runtime.load import load
from pocketseek.runtime.memory_use import MemoryUse
from pocketseek.types import TokenEvent

REQUESTS = many_requests(1024)
NUM_MOVES = 25
MB = 1_000_000
MOST_RUNS = 10


def secret() -> Secret:
    return Secret("key", bytearray(b"k" * 32))


@pytest.fixture(scope="module")
def sealed(streaming_package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sealed") / "package"
    shutil.copytree(streaming_package, path)
    seal_package(path, secret, "aes-256-gcm")
    return path


@pytest.fixture(scope="module")
def expected(streaming_package: Path) -> list[list[TokenEvent]]:
    with load(streaming_package, prefix_cache=False, speculation=False) as engine:
        return run_alone(engine, REQUESTS)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_all_in_memory_the_bytes_are_the_same(sealed: Path, expected: list[list[TokenEvent]]) -> None:
    with load(sealed, secret=secret()) as engine:
        assert run_together(engine, REQUESTS) == expected
        assert run_together(engine, REQUESTS[::-1]) == expected[::-1]


def test_in_a_part_of_the_memory_the_bytes_are_the_same(
    sealed: Path, streaming_package: Path, expected: list[list[TokenEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights_of = small_units(monkeypatch)
    memory_bytes = least_bytes(streaming_package, monkeypatch) + 6 * MB
    with load(sealed, secret=secret(), memory_bytes=memory_bytes) as engine:
        assert run_together(engine, REQUESTS) == expected
        assert weights_of[-1].plan.slots
        assert weights_of[-1].read_bytes > 0


def test_while_the_memory_changes_the_bytes_are_the_same_and_leases_stay_within_the_budget(
    sealed: Path, streaming_package: Path, expected: list[list[TokenEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int.from_bytes(os.urandom(4))
    weights_of = small_units(monkeypatch)
    least = least_bytes(streaming_package, monkeypatch) + 4 * MB
    moving = MovingLimit(monkeypatch, seed)
    with load(sealed, secret=secret()) as engine:
        # more at the upper end, for what the tests before left to be freed or to grow in this process
        moving.low_bytes, moving.high_bytes = least, least + weights_of[-1].num_bytes + 24 * MB
        for _ in range(MOST_RUNS):  # in a process that has outgrown the limits nothing moves, and all is slow
            assert run_together(engine, REQUESTS) == expected, f"seed {seed}"
            if moving.num_moves >= NUM_MOVES:
                break
    assert moving.num_moves > 0
    assert not moving.too_much, f"seed {seed}"


def test_decrypted_weights_are_not_counted_twice(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they take is not part of what the process takes besides."""
    base: list[int] = []
    usual = MemoryUse.footprint

    def footprint(use: MemoryUse) -> object:
        facts = usual(use)
        base.append(facts.base_bytes)
        return facts

    monkeypatch.setattr(MemoryUse, "footprint", footprint)
    weights_of = small_units(monkeypatch)
    with load(sealed, secret=secret()) as engine:
        run_together(engine, REQUESTS)
        assert weights_of[-1].ring_bytes == weights_of[-1].num_bytes
    assert max(base) - base[0] < weights_of[-1].num_bytes


def test_nothing_of_it_is_left_on_disk(sealed: Path, home: Path) -> None:
    with load(sealed, secret=secret()) as engine:
        run_together(engine, REQUESTS)
        run_together(engine, REQUESTS)
        assert engine.statistics().load.num_cached_prompt_tokens > 0  # in memory it is kept
    left = [path for path in home.rglob("*") if path.is_file() and path.stat().st_size > 50_000]
    assert left == []
    assert not (home / "cache" / "prefix").exists()


def test_without_a_secret_or_with_the_wrong_one_it_does_not_open(sealed: Path) -> None:
    with pytest.raises(SealError, match="is sealed; give"):
        load(sealed)
    with pytest.raises(SealError, match="does not open it"):
        load(sealed, secret=Secret("key", bytearray(b"x" * 32)))


def test_the_passphrase_may_stand_in_the_environment(
    streaming_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pocketseek.package.key_slots import passphrase_secret

    path = tmp_path / "package"
    shutil.copytree(streaming_package, path)
    seal_package(path, lambda: passphrase_secret("open sesame"), "aes-256-gcm", memory_kib=8192)
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "open sesame")
    with load(path) as engine:
        assert run_alone(engine, REQUESTS[:1])[0]


def test_onnx_runtime_reads_no_sealed_models(sealed: Path) -> None:
    with pytest.raises(UnsupportedError, match="sealed"):
        load(sealed, engine="onnx", secret=secret())
