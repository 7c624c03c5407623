"""The whole runtime on a real, tiny model: the same bits alone and in company, whatever pages there are and become."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from tiny_models import tiny_hf_directory

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.govern.governor import MemoryGovernor
from pocketseek.kernels.contract import Floats
from pocketseek.kernels.kv_memory import KV_FORMATS, KvFormat, page_bytes
from pocketseek.kernels.logits import NumpyLogits
from pocketseek.kernels.native import NativeLogits
from pocketseek.package.reader import Package
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.load import load
from pocketseek.runtime.swap import SwapSpace
from pocketseek.types import Limits, Request, SamplingParams, TokenEvent

VOCAB_SIZE = 256  # a part of the model's


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    return convert_checkpoint(tiny_hf_directory(directory / "source"), directory / "package", models_dir=directory)


def requests(context_length: int) -> list[Request]:
    generator = np.random.default_rng(11)
    lengths = generator.integers(1, context_length - 40, 8).tolist()
    prompts = [tuple(generator.integers(0, VOCAB_SIZE, length).tolist()) for length in lengths]
    return [Request(p, 30, SamplingParams(seed=i), score_prompt=i % 3 == 0) for i, p in enumerate(prompts)]


def run_together(engine: Engine, together: Sequence[Request]) -> list[list[TokenEvent]]:
    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(lambda one: list(engine.stream(one)), together))


def test_requests_give_the_same_bits_alone_and_together(package: Path) -> None:
    with load(package) as engine:
        all_requests = requests(engine.context_length)
        alone = [list(engine.stream(one)) for one in all_requests]
        assert run_together(engine, all_requests) == alone


@pytest.mark.parametrize("kernels", ["scalar", "reference"])
def test_sampling_uses_the_kernels_that_were_asked_for(
    package: Path, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set[str]()

    def exp_mass(self: NativeLogits, values: Floats, best: np.float32, divisor: np.float32) -> float:
        seen.add(self.instruction_set)
        return NumpyLogits().exp_mass(values, best, divisor)

    monkeypatch.setattr(NativeLogits, "exp_mass", exp_mass)
    monkeypatch.setenv("POCKETSEEK_KERNELS", kernels)
    with load(package) as engine:
        list(engine.stream(Request((1, 2, 3), 4, SamplingParams(seed=1), score_prompt=True)))
    assert seen == ({kernels} - {"reference"})


def test_scarce_pages_change_no_bit(package: Path) -> None:
    with load(package) as engine:
        all_requests = [replace(one, max_tokens=200) for one in requests(engine.context_length)]
        expected = [list(engine.stream(one)) for one in all_requests]
    with Package.open(package) as opened:
        kv_bytes = 5 * page_bytes(opened.manifest.model)
    with load(package, kv_bytes=kv_bytes) as scarce:  # nearly always pre-empts, depending on who comes when
        assert scarce.statistics().load.num_pages == 5
        assert run_together(scarce, all_requests) == expected


@pytest.mark.parametrize("kv", KV_FORMATS)
@pytest.mark.parametrize("disk", [True, False])
def test_who_was_pre_empted_gives_the_same_bits_swapped_or_computed_again(
    package: Path, kv: KvFormat, disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with load(package, kv=kv) as engine:
        all_requests = [replace(one, max_tokens=200) for one in requests(engine.context_length)]
        expected = [list(engine.stream(one)) for one in all_requests]
    if not disk:
        monkeypatch.setattr(SwapSpace, "put", lambda swap, request_id, pages: False)
    with Package.open(package) as opened:
        kv_bytes = 5 * page_bytes(opened.manifest.model, kv)
    with load(package, kv=kv, kv_bytes=kv_bytes) as scarce:
        streams = [scarce.stream(one) for one in all_requests]
        assert [list(stream) for stream in streams] == expected
        counts = scarce.statistics().load
    assert counts.num_preemptions > 0
    assert (counts.num_swapped_out > 0) == disk


@pytest.mark.parametrize("kv", KV_FORMATS)
def test_several_answers_to_a_prompt_give_the_bits_of_each_alone(package: Path, kv: KvFormat) -> None:
    with load(package, kv=kv) as engine:
        one = replace(requests(engine.context_length)[1], max_tokens=80, sampling=SamplingParams(seed=5))
        together = [list(stream) for stream in engine.stream_choices(one, 4)]
        num_prompt_tokens = engine.statistics().load.num_prompt_tokens
        alone = [list(engine.stream(replace(one, sampling=SamplingParams(seed=5 + i)))) for i in range(4)]
    assert together == alone
    assert num_prompt_tokens == len(one.prompt_ids)


@pytest.mark.parametrize("kv", KV_FORMATS)
def test_a_pool_that_shrinks_and_grows_meanwhile_changes_no_bit(
    package: Path, kv: KvFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    with load(package, kv=kv) as engine:
        all_requests = [replace(one, max_tokens=100) for one in requests(engine.context_length)]
        expected = [list(engine.stream(one)) for one in all_requests]
    passes, all_there = count(), Event()

    usual = MemoryGovernor.limits

    def limits(governor: MemoryGovernor) -> Limits:
        number = next(passes) if all_there.is_set() else 0  # requests are measured by the pool when they come
        return replace(usual(governor), num_pages=(None, 6, 2, 40)[number // 10 % 4], max_pages=None)

    monkeypatch.setattr(MemoryGovernor, "limits", limits)
    with load(package, kv=kv) as elastic:
        streams = [elastic.stream(one) for one in all_requests]
        all_there.set()
        assert [list(stream) for stream in streams] == expected
        assert elastic.statistics().load.num_preemptions > 0


def test_int8_pages_give_other_bits_than_f16(package: Path) -> None:
    scores = []
    for kv in KV_FORMATS:
        with load(package, kv=kv) as engine:
            scores.append(engine.score(requests(engine.context_length)[0].prompt_ids))
    assert scores[0] != scores[1]
    assert np.allclose(scores[0], scores[1], atol=0.1)


def test_requests_without_logprobs_get_the_same_tokens(package: Path) -> None:
    with load(package) as engine:
        with_logprobs = requests(engine.context_length)[1]
        without = list(engine.stream(replace(with_logprobs, logprobs=False)))
        assert {event.logprob for event in without} == {None}
        assert [event.token_id for event in without] == [event.token_id for event in engine.stream(with_logprobs)]
