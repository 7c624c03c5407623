"""Adapters in an engine: each request has the text that it has alone, whatever adapters run beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fakes import fake_engine, random_request
from peft_folders import write_peft
from tiny_models import tiny_hf_directory, tiny_model, write_hf

from pocketseek.adapt.add import add_adapter
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError, IntegrityError, MemoryLimitError, NotFoundError, UnsupportedError, UsageError
from pocketseek.kernels.choose import choose_kernels
from pocketseek.package.reader import Package
from pocketseek.runtime.adapters import AdapterShelf
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.load import load
from pocketseek.types import Request, SamplingParams

NUM_ADAPTERS = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a model and adapters a0 to a7; not to be changed."""
    home = tmp_path_factory.mktemp("home")
    models = home / "models"
    base = convert_checkpoint(tiny_hf_directory(home / "hf", context=512), models / "base", models_dir=models)
    for number in range(NUM_ADAPTERS):
        targets = (("q", "v"), ("down",), ("q", "k", "v", "o", "gate", "up", "down"))[number % 3]
        add_adapter(write_peft(home / f"p{number}", targets=targets, seed=number), base, models / f"a{number}")
    other = convert_checkpoint(write_hf(home / "hf2", tiny_model(hidden=96)), models / "other", models_dir=models)
    assert other.exists()
    return home


@pytest.fixture
def home(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POCKETSEEK_HOME", str(made))
    return made


def request(adapter: str | None, seed: int = 1, num_prompt: int = 70) -> Request:
    prompt = tuple((7 * seed + 3 * i) % 300 for i in range(num_prompt))
    return Request(prompt, 12, SamplingParams(temperature=1.0, seed=seed), adapter=adapter)


def ids(stream: object) -> list[int]:
    return [event.token_id for event in stream]  # type: ignore[attr-defined]


def test_eight_adapters_at_once_give_what_each_gives_alone(home: Path) -> None:
    names = [*(f"a{number}" for number in range(NUM_ADAPTERS)), ""]
    with load("base", prefix_cache=False) as engine:
        alone = [ids(engine.stream(request(name))) for name in names]
        streams = [engine.stream(request(name)) for name in names]
        assert [ids(stream) for stream in streams] == alone
    assert len({tuple(one) for one in alone}) == len(names)


def test_an_engine_opened_with_an_adapter_uses_it_unless_told_otherwise(home: Path) -> None:
    with load("base", prefix_cache=False) as plain, load("base", adapter="a2", prefix_cache=False) as adapted:
        expected = ids(plain.stream(request("a2")))
        assert ids(adapted.stream(request(None))) == expected
        assert ids(adapted.stream(request(""))) == ids(plain.stream(request(None)))
        assert ids(plain.with_adapter("a2").stream(request(None))) == expected
        assert adapted.generate("hello", max_tokens=4, sampling=SamplingParams(seed=3)) == plain.with_adapter(
            "a2"
        ).generate("hello", max_tokens=4, sampling=SamplingParams(seed=3))
        assert adapted.score([5, 6, 7]) != plain.score([5, 6, 7])
        assert (adapted.embed("hello") != plain.embed("hello")).any()


def test_what_was_computed_under_one_adapter_is_never_used_under_another(home: Path) -> None:
    with load("base", prefix_store_bytes=0) as engine:

        def cached(adapter: str) -> int:
            *_, last = engine.stream(request(adapter, num_prompt=150))
            return last.num_cached_prompt_tokens

        assert [cached(name) for name in ("a0", "a1", "", "a0", "a1", "")] == [0, 0, 0, 128, 128, 128]


def test_pages_on_disk_belong_to_their_adapter(home: Path, tmp_path: Path) -> None:
    def cached(adapter: str) -> int:
        with load("base", prefix_store=tmp_path / "pages") as engine:
            *_, last = engine.stream(request(adapter, num_prompt=300))
            return last.num_cached_prompt_tokens

    assert [cached(name) for name in ("a0", "a1", "a0", "a1", "")] == [0, 0, 256, 256, 0]


def test_a_new_version_is_used_by_the_next_request(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(home / "models", tmp_path / "models")
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path))
    with load("base", prefix_store_bytes=0) as engine:
        first = ids(engine.stream(request("a0", num_prompt=150)))
        add_adapter(home / "p2", tmp_path / "models" / "base", tmp_path / "models" / "a0")
        assert ids(engine.stream(request("a0", num_prompt=150))) != first
        assert ids(engine.stream(request("a0", num_prompt=150))) == ids(engine.stream(request("a2", num_prompt=150)))


def test_what_cannot_be_used_is_one_line_and_the_engine_goes_on(home: Path) -> None:
    with load("base") as engine:
        for name, error, said in (
            ("nothing", NotFoundError, "no adapter 'nothing'; there are: a0"),
            ("other", UsageError, "is a model, not an adapter"),
        ):
            with pytest.raises(error, match=said):
                engine.stream(request(name))
        assert len(ids(engine.stream(request("")))) > 0
    with load("other") as engine, pytest.raises(UsageError, match="made for base, not for other"):
        engine.stream(request("a0"))
    with pytest.raises(UsageError, match="made for base, not for other"):
        load("other", adapter="a0")
    with pytest.raises(FormatError, match="is an adapter for base, not a model"):
        load("a0")


def test_a_damaged_adapter_is_found_before_it_is_used(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(home / "models", tmp_path / "models")
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path))
    (chunk,) = (tmp_path / "models" / "a0" / "chunks").iterdir()
    raw = bytearray(chunk.read_bytes())
    raw[100] ^= 1
    chunk.write_bytes(raw)
    with load("base") as engine:
        with pytest.raises(IntegrityError):
            engine.stream(request("a0"))
        assert len(ids(engine.stream(request("a1")))) > 0


def test_an_engine_that_cannot_compute_them_says_so() -> None:
    with fake_engine() as engine, pytest.raises(UnsupportedError, match="--engine native"):
        engine.with_adapter("a0").stream(random_request(1))


def test_adapters_go_when_others_need_their_room(home: Path) -> None:
    with Package.open(home / "models" / "base") as package:
        executor = KernelExecutor(package, choose_kernels(None), num_threads=1)
        shelf = AdapterShelf(package.manifest, (home / "models").joinpath, executor.load_adapter)
        one = shelf.take("a0")
        assert shelf.take("a0") is one
        shelf.room = lambda: (one.num_bytes, 8 * one.num_bytes)  # an eighth: one of them
        shelf.take("a3")
        assert shelf.num_bytes == one.num_bytes
        assert shelf.take("a0") is not one
        shelf.room = lambda: (one.num_bytes - 1, 10**9)
        with pytest.raises(MemoryLimitError, match="takes 1 MB and 0 MB are left beside the model"):
            shelf.take("a6")
        executor.close()
