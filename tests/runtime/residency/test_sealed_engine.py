"""An engine on a sealed model writes what it writes on the plain one, in changing memory too, and leaves no trace."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from runtime.residency.test_engine_in_changing_memory import least_bytes
from streaming_engine import MovingLimit, many_requests, run_alone, run_together, small_units

from pocketseek.errors import SealError, UnsupportedError
from pocketseek.package.sealing.in_place import seal_package
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.runtime.load import load
from pocketseek.runtime.memory_use import MemoryUse
from pocketseek.types import Request, SamplingParams, TokenEvent

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


LONG = Request(tuple(range(2, 302)), 4, SamplingParams(temperature=0))


def cached_tokens(path: Path, **options: object) -> int:
    """Of the long prompt's tokens, how many a new engine finds."""
    with load(path, **options) as engine:  # type: ignore[arg-type]  # as the caller says
        list(engine.stream(LONG))
        return engine.statistics().load.num_cached_prompt_tokens


def stored(home: Path) -> list[Path]:
    return [path for path in (home / "cache").rglob("*") if path.is_file()]


def test_pages_are_kept_on_disk_under_a_key_of_the_models_own(
    sealed: Path, streaming_package: Path, home: Path
) -> None:
    assert [cached_tokens(sealed, secret=secret()) for _ in range(2)] == [0, 256]
    (home / "plain").mkdir()
    assert cached_tokens(streaming_package, prefix_store=home / "plain") == 0
    pages = [path.read_bytes() for path in (home / "plain").rglob("*") if path.is_file()]
    assert len(pages) == len(stored(home)) == 4
    sealed_bytes = b"".join(path.read_bytes() for path in stored(home))
    for page in pages:  # token ids, and what was computed: in neither form is it there
        assert page[120:376] not in sealed_bytes
        assert page[1000:1032] not in sealed_bytes


def test_pages_need_the_key_of_the_data_directory_too_where_there_is_one(sealed: Path, home: Path) -> None:
    keys = (bytes(range(32)), bytes(32))
    assert [cached_tokens(sealed, secret=secret(), cache_key=key) for key in (*keys, *keys, None)] == [
        0,
        0,
        256,
        256,
        0,
    ]
    (home / "seal.json").touch()
    num_stored = len(stored(home))
    assert [cached_tokens(sealed, secret=secret(), cache_key=key) for key in (None, None)] == [0, 0]
    assert len(stored(home)) == num_stored


def test_another_sealing_of_the_model_finds_nothing(sealed: Path, streaming_package: Path, tmp_path: Path) -> None:
    """Also with the same secret: the data key is another."""
    again = tmp_path / "again"
    shutil.copytree(streaming_package, again)
    seal_package(again, secret, "aes-256-gcm")
    assert [cached_tokens(path, secret=secret()) for path in (sealed, again)] == [0, 0]


def test_an_engine_that_was_open_when_its_model_was_sealed_writes_nothing_more(
    streaming_package: Path, tmp_path: Path, home: Path
) -> None:
    path = tmp_path / "package"
    shutil.copytree(streaming_package, path)
    with load(path) as engine:
        seal_package(path, secret, "aes-256-gcm")
        list(engine.stream(LONG))
    assert stored(home) == []


def test_without_a_secret_or_with_the_wrong_one_it_does_not_open(sealed: Path) -> None:
    with pytest.raises(SealError, match="is sealed with"):
        load(sealed)
    with pytest.raises(SealError, match="does not open it"):
        load(sealed, secret=Secret("key", bytearray(b"x" * 32)))


def test_the_passphrase_may_stand_in_the_environment(
    streaming_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pocketseek.package.sealing.key_slots import passphrase_secret

    path = tmp_path / "package"
    shutil.copytree(streaming_package, path)
    seal_package(path, lambda: passphrase_secret("open sesame"), "aes-256-gcm", memory_kib=8192)
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "open sesame")
    with load(path) as engine:
        assert run_alone(engine, REQUESTS[:1])[0]


def test_onnx_runtime_reads_no_sealed_models(sealed: Path) -> None:
    with pytest.raises(UnsupportedError, match="sealed"):
        load(sealed, engine="onnx", secret=secret())
