"""`load` puts a package's parts together, and says what is wrong before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import tiny_hf_directory

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError, MemoryLimitError, NotFoundError, UsageError
from pocketseek.runtime.load import load
from pocketseek.types import SamplingParams


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return convert_checkpoint(
        tiny_hf_directory(tmp_path / "hf"), tmp_path / "model", models_dir=tmp_path, recommended={"temperature": 0.0}
    )


def test_a_package_answers_with_the_sampling_it_recommends(package: Path) -> None:
    with load(package) as engine:
        assert engine.recommended_sampling == SamplingParams(temperature=0.0)
        greedy = engine.generate("hello", max_tokens=8)
        assert engine.generate("hello", max_tokens=8, sampling=SamplingParams(temperature=0.0)) == greedy
        assert greedy.num_tokens > 0


@pytest.mark.parametrize("kernels", ["reference", "scalar"])
def test_kernels_can_be_named(package: Path, kernels: str) -> None:
    with load(package, kernels=kernels, num_threads=1) as engine:
        assert engine.generate("a", max_tokens=2).num_tokens > 0


def test_a_model_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path))
    with pytest.raises(NotFoundError, match="'nothing-here'"):
        load("nothing-here")


def test_int8_pages_make_room_for_more_tokens(package: Path) -> None:
    contexts = []
    for kv in ("f16", "q8"):
        with load(package, kv=kv, kv_bytes=100_000) as engine:
            contexts.append(engine.statistics().load.num_pages)
    assert (
        contexts[1] > 1.25 * contexts[0]
    )  # a tiny model's pages are mostly what rounding up to the system's pages adds


def test_the_environment_names_the_kv_format_and_the_argument_wins(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETSEEK_KV", "q9")
    with pytest.raises(UsageError, match="'q9'; choose one of f16, q8"):
        load(package)
    load(package, kv="q8").close()


@pytest.mark.parametrize("num_threads", [0, -1])
def test_impossible_thread_counts_are_refused(package: Path, num_threads: int) -> None:
    with pytest.raises(UsageError, match="number of threads"):
        load(package, num_threads=num_threads)


def test_too_little_memory_for_one_page_is_refused(package: Path) -> None:
    with pytest.raises(MemoryLimitError, match="KV"):
        load(package, kv_bytes=100)


def test_a_damaged_recommendation_is_a_format_error(tmp_path: Path) -> None:
    directory = tiny_hf_directory(tmp_path / "hf")
    package = convert_checkpoint(directory, tmp_path / "m", models_dir=tmp_path, recommended={"temperature": 99.0})
    with pytest.raises(FormatError, match=r"sampling\.json"):
        load(package)
