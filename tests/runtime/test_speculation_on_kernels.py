"""Speculation on a real, tiny model: every token and log-probability is the same with and without."""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_hf_directory

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.kernels.kv_memory import page_bytes
from pocketseek.package.reader import Package
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.load import load
from pocketseek.types import Request, SamplingParams, TokenEvent

VOCAB_SIZE = 256  # a part of the model's


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    return convert_checkpoint(tiny_hf_directory(directory / "source"), directory / "package", models_dir=directory)


@pytest.fixture(scope="module")
def plain(package: Path) -> Iterator[Engine]:
    with load(package, speculation=False) as engine:
        yield engine
    assert engine.statistics().load.num_drafted == 0


def repetitive(seed: int, num_prompt: int = 60) -> tuple[int, ...]:
    words = np.random.default_rng(seed).integers(0, VOCAB_SIZE, 9).tolist()
    return tuple((words * num_prompt)[:num_prompt])


def random_ids(seed: int, num_prompt: int = 60) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(0, VOCAB_SIZE, num_prompt).tolist())


def eight(temperature: float) -> list[Request]:
    makers = (repetitive, random_ids)
    prompts = [makers[seed % 2](seed, 5 + 11 * seed) for seed in range(8)]
    return [Request(ids, 60 + i, SamplingParams(temperature, seed=i)) for i, ids in enumerate(prompts)]


def run(engine: Engine, one: Request) -> list[TokenEvent]:
    return list(engine.stream(one))


def run_among_others(engine: Engine, requests: Sequence[Request]) -> list[list[TokenEvent]]:
    """At once, while other requests come, and leave before they are done."""

    def disturb(seed: int) -> None:
        with engine.stream(Request(repetitive(seed, 10 + seed), 100, SamplingParams(seed=seed))) as stream:
            for _ in range(random.Random(seed).randrange(1, 30)):
                next(stream)

    with ThreadPoolExecutor(len(requests)) as threads, ThreadPoolExecutor(2) as others:
        disturbances = [others.submit(disturb, seed) for seed in range(20)]
        events = list(threads.map(lambda one: run(engine, one), requests))
        for disturbance in disturbances:
            disturbance.result()
    return events


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("prompt", [repetitive, random_ids])
def test_text_alone_is_the_same(
    package: Path, plain: Engine, temperature: float, prompt: Callable[[int], tuple[int, ...]]
) -> None:
    requests = [Request(prompt(seed), 120, SamplingParams(temperature, seed=seed)) for seed in range(3)]
    with load(package) as engine:
        assert [run(engine, one) for one in requests] == [run(plain, one) for one in requests]


def test_loops_of_a_greedy_model_take_fewer_passes(package: Path, plain: Engine) -> None:
    one = Request(repetitive(1), 180, SamplingParams(temperature=0.0))
    with load(package) as engine:
        assert run(engine, one) == run(plain, one)
        counts = engine.statistics().load
    assert counts.num_accepted > 0
    assert counts.num_passes == 180 - counts.num_accepted


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_texts_in_a_batch_of_eight_with_others_coming_and_going_are_the_same(
    package: Path, plain: Engine, temperature: float
) -> None:
    requests = eight(temperature)
    expected = [run(plain, one) for one in requests]
    with load(package) as engine:
        assert run_among_others(engine, requests) == expected
        assert engine.statistics().load.num_accepted > 0 or temperature


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_texts_with_scarce_pages_are_the_same(package: Path, plain: Engine, temperature: float) -> None:
    requests = eight(temperature)
    expected = [run(plain, one) for one in requests]
    with Package.open(package) as opened:
        kv_bytes = 6 * page_bytes(opened.manifest.model)
    with load(package, kv_bytes=kv_bytes) as engine:
        assert run_among_others(engine, requests) == expected
        run(engine, requests[0])  # a later request, hence a later pass: those who left have given back their pages
        counts = engine.statistics().load
    assert counts.num_free_pages == counts.num_pages == 6
