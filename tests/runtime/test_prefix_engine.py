"""The cache under the whole engine: on fake parts, and to the bit on real kernels, across a restart too."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import ByteTokenizer, FakeExecutor, FakeTemplate, ids_of, random_request, slow_tokens
from tiny_models import tiny_hf_directory

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.govern.governor import FixedGovernor
from pocketseek.kernels.kv_memory import page_bytes
from pocketseek.package.reader import Package
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.load import load
from pocketseek.runtime.prefix_store import PrefixStore
from pocketseek.types import Request, SamplingParams, TokenEvent

VOCAB_SIZE = 256  # a part of the model's


def fake_engine(store: PrefixStore | None = None, executor: FakeExecutor | None = None) -> Engine:
    return Engine(
        executor or FakeExecutor(),
        ByteTokenizer(),  # type: ignore[arg-type]
        FakeTemplate(),  # type: ignore[arg-type]
        FixedGovernor(1),
        num_pages=32,
        prefix_store=store,
    )


def fake_store(root: Path) -> PrefixStore:
    return PrefixStore(root, b"i" * 32, page_bytes=64 * 8)


def test_an_answer_says_how_much_of_its_prompt_was_cached() -> None:
    prompt = tuple(random_request(1, 150).prompt_ids)
    sampling = SamplingParams(seed=1)
    with fake_engine() as engine:
        first = engine.generate(prompt, max_tokens=5, sampling=sampling)
        second = engine.generate(prompt, max_tokens=5, sampling=sampling)
        events = list(engine.stream_text(prompt, max_tokens=5, sampling=sampling))
    assert first == second
    assert (first.num_cached_prompt_tokens, second.num_cached_prompt_tokens) == (0, 128)
    assert events[-1].num_cached_prompt_tokens == 128


def test_closing_writes_what_is_left_and_the_next_engine_reads_it(tmp_path: Path) -> None:
    request = random_request(1, 300)
    with fake_engine(fake_store(tmp_path)) as engine:
        expected = list(engine.stream(request))
    with fake_engine(fake_store(tmp_path)) as engine:
        assert list(engine.stream(request)) == expected
        assert engine.statistics().load.num_cached_prompt_tokens == 256
        assert engine.statistics().num_store_failures == 0


def test_an_idle_engine_writes(tmp_path: Path) -> None:
    with fake_engine(fake_store(tmp_path)) as engine:
        list(engine.stream(random_request(1, 300)))
        archive = engine._worker._idle_work
        assert archive is not None
        while archive.has_work:  # the worker's thread does it
            pass
        assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 4


def test_a_failed_pass_writes_nothing(tmp_path: Path) -> None:
    def fail_on_short_prompts(work: object) -> None:
        if work.slices[0].token_ids[:2] == (1, 2):  # type: ignore[attr-defined]
            raise RuntimeError("broken")

    store = fake_store(tmp_path)
    store.keep = None  # type: ignore[assignment,method-assign]  # not to be called
    with fake_engine(store, FakeExecutor(before_run=fail_on_short_prompts)) as engine:
        streams = [engine.stream(Request((1, 2, 3), 5))]
        with pytest.raises(Exception, match="broken"):
            [list(stream) for stream in streams]


def test_a_chat_computes_only_what_is_new_in_each_turn() -> None:
    with fake_engine() as engine:
        prompt: tuple[int, ...] = ()
        for turn in range(5):
            prompt = (*prompt, *random_request(turn, 70).prompt_ids)
            request = Request(prompt, 30, SamplingParams(seed=turn))
            before = engine.statistics().load.num_prompt_tokens
            answer = ids_of(engine.stream(request))
            assert answer == slow_tokens(request)
            assert engine.statistics().load.num_prompt_tokens - before <= 70 + 64
            prompt = (*prompt, *answer)


# -- real kernels ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    return convert_checkpoint(
        tiny_hf_directory(directory / "source", context=640), directory / "package", models_dir=directory
    )


def conversations(context_length: int) -> list[Request]:
    """Prompts that share beginnings of many lengths, some of them equal."""
    generator = np.random.default_rng(12)
    text = generator.integers(0, VOCAB_SIZE, context_length).tolist()
    requests = []
    for number in range(12):
        end = int(generator.integers(0, context_length - 100))
        more = generator.integers(0, VOCAB_SIZE, int(generator.integers(1, 40))).tolist()
        requests.append(Request((*text[:end], *more), 30, SamplingParams(seed=number), score_prompt=number % 5 == 4))
    return [*requests, *requests[:4]]


def run_together(engine: Engine, together: Sequence[Request]) -> list[list[TokenEvent]]:
    with ThreadPoolExecutor(6) as threads:
        return list(threads.map(lambda one: list(engine.stream(one)), together))


@pytest.fixture(scope="module")
def cold(package: Path) -> list[list[TokenEvent]]:
    """Each conversation alone, without a cache."""
    with load(package, prefix_cache=False) as engine:
        answers = [list(engine.stream(one)) for one in conversations(engine.context_length)]
        assert engine.statistics().load.num_cached_prompt_tokens == 0
    return answers


def test_hits_give_the_same_bits_one_after_the_other(package: Path, cold: list[list[TokenEvent]]) -> None:
    with load(package, prefix_store_bytes=0) as engine:
        assert [list(engine.stream(one)) for one in conversations(engine.context_length)] == cold
        assert engine.statistics().load.num_cached_prompt_tokens > 500


def test_hits_give_the_same_bits_in_company_and_with_few_pages(package: Path, cold: list[list[TokenEvent]]) -> None:
    with Package.open(package) as opened:
        one_page = page_bytes(opened.manifest.model)
        num_pages = -(-opened.manifest.model.context_length // 64) + 2
    for kv_bytes in (None, num_pages * one_page):
        with load(package, kv_bytes=kv_bytes) as engine:
            together = conversations(engine.context_length)
            assert run_together(engine, together) == cold
            assert run_together(engine, together[::-1]) == cold[::-1]
            assert engine.statistics().load.num_cached_prompt_tokens > 0


@pytest.mark.parametrize("kernels", [None, "scalar"])
def test_a_restart_gives_the_same_bits(
    package: Path, cold: list[list[TokenEvent]], tmp_path: Path, kernels: str | None
) -> None:
    for _ in range(2):
        with load(package, prefix_store=tmp_path / "store", kernels=kernels) as engine:
            together = conversations(engine.context_length)
            assert run_together(engine, together) == cold
    with load(package, prefix_store=tmp_path / "store", kernels=kernels) as engine:
        longest = max(together, key=lambda one: (not one.score_prompt, len(one.prompt_ids)))
        assert list(engine.stream(longest)) == cold[together.index(longest)]
        assert engine.statistics().load.num_cached_prompt_tokens == (len(longest.prompt_ids) - 1) // 64 * 64


def test_other_kernels_find_nothing_of_each_other(package: Path, tmp_path: Path) -> None:
    for kernels in ("scalar", "reference"):
        with load(package, prefix_store=tmp_path, kernels=kernels) as engine:
            prompt = conversations(engine.context_length)[0].prompt_ids[:1] * 300
            list(engine.stream(replace(random_request(1), prompt_ids=prompt, max_tokens=1)))
            assert engine.statistics().load.num_cached_prompt_tokens == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_a_read_only_place_never_breaks_a_request(package: Path, tmp_path: Path, cold: list[list[TokenEvent]]) -> None:
    (tmp_path / "file").write_text("in the way")
    with load(package, prefix_store=tmp_path / "file" / "store") as engine:
        assert [list(engine.stream(one)) for one in conversations(engine.context_length)] == cold
