"""Models that onnxruntime-genai's builder and optimum made (scripts/make-onnx-peers) run as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import pocketseek
from pocketseek.device.execution_provider import ExecutionProvider
from pocketseek.runtime.onnx.model_files import read_model
from pocketseek.runtime.onnx.prepared import PreparedCopies
from pocketseek.runtime.onnx_executor import OnnxExecutor
from pocketseek.runtime.work import Slice, Work, pages_for
from pocketseek.types import Message, SamplingParams

pytest.importorskip("onnxruntime")

DATA = Path(__file__).parent / "data"
GOLDEN = Path(__file__).parents[2] / "golden" / "data"
EXPECTED = {  # of genai's own runtime; of transformers, whose weights optimum keeps in float32
    "genai-llama-int4": DATA / "genai-llama-int4" / "golden.npz",
    "optimum-qwen2": GOLDEN / "qwen2" / "golden.npz",
}
GREEDY = SamplingParams(temperature=0.0)
Logits = npt.NDArray[np.float32]


@pytest.fixture(params=sorted(EXPECTED))
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def opened(case: str, copies: PreparedCopies | None = None) -> OnnxExecutor:
    executor = OnnxExecutor(
        read_model(DATA / case), num_threads=2, device=ExecutionProvider("CPU", "no npu"), copies=copies
    )
    executor.reserve_pages(8)
    return executor


def run_in_passes(executor: OnnxExecutor, token_ids: list[int], pass_tokens: list[int], num_logits: int = 99) -> Logits:
    return np.concatenate([executor.run(work).copy() for work in works(token_ids, pass_tokens, num_logits)])


def works(token_ids: list[int], pass_tokens: list[int], num_logits: int) -> Iterator[Work]:
    first = 0
    for count in pass_tokens:
        part, pages = tuple(token_ids[first : first + count]), tuple(range(pages_for(first + count)))
        yield Work((Slice(0, part, first, pages, min(num_logits, count)),))
        first += count


def expected(case: str) -> tuple[list[int], Logits]:
    with np.load(EXPECTED[case]) as file:
        return file["input_ids"].tolist(), file["logits"]


@pytest.mark.parametrize("cut", [[80], [37, 33, *[1] * 10]], ids=["at once", "cut"])
def test_logits_are_those_of_the_makers_own_runtime(case: str, cut: list[int]) -> None:
    token_ids, logits = expected(case)
    assert np.abs(run_in_passes(opened(case), token_ids, cut) - logits).max() <= 2e-4


def test_only_the_last_rows_are_computed_where_only_those_are_wanted(case: str) -> None:
    token_ids, logits = expected(case)
    found = run_in_passes(opened(case), token_ids, [70, 10], num_logits=1)
    assert np.abs(found - logits[[69, 79]]).max() <= 2e-4


def test_a_prepared_copy_gives_the_same_bits_and_is_made_once(case: str, tmp_path: Path) -> None:
    copies = PreparedCopies(tmp_path, library_version="1", processor="this")
    token_ids, _ = expected(case)
    first = run_in_passes(opened(case, copies), token_ids, [80])
    (copy,) = tmp_path.iterdir()
    made_at = (copy / "ready.json").stat().st_mtime_ns
    assert (run_in_passes(opened(case, copies), token_ids, [80]) == first).all()
    assert (run_in_passes(opened(case), token_ids, [80]) == first).all()
    assert (copy / "ready.json").stat().st_mtime_ns == made_at


def test_an_engine_answers_a_conversation_the_same_alone_and_among_others(case: str, home: Path) -> None:
    with pocketseek.load(DATA / case, prefix_store_bytes=0) as engine:
        prompts = [[Message("user", text * 9)] for text in ("Hello, ", "What? ", "The sea ", "你好 ")]
        streams = [engine.stream_text(prompt, max_tokens=30, sampling=GREEDY) for prompt in prompts]
        together = ["".join(event.text for event in stream) for stream in streams]
        assert together == [engine.generate(prompt, max_tokens=30, sampling=GREEDY).text for prompt in prompts]


def test_little_kv_memory_makes_requests_give_way_and_changes_no_text(case: str, home: Path) -> None:
    prompts = [f"{number} and a text that fills a page or two " * 3 for number in range(4)]
    with pocketseek.load(DATA / case, prefix_store_bytes=0) as engine:
        alone = [engine.generate(prompt, max_tokens=60, sampling=GREEDY).text for prompt in prompts]
    page_bytes = opened(case).page_bytes
    with pocketseek.load(DATA / case, kv_bytes=7 * page_bytes, prefix_store_bytes=0) as engine:
        streams = [engine.stream_text(prompt, max_tokens=60, sampling=GREEDY) for prompt in prompts]
        assert ["".join(event.text for event in stream) for stream in streams] == alone


def test_what_was_computed_is_found_again_by_the_next_engine(case: str, home: Path) -> None:
    prompt = "A beginning that many share. " * 11
    answers = []
    for _ in range(2):
        with pocketseek.load(DATA / case) as engine:
            answers.append(engine.generate(prompt, max_tokens=5, sampling=GREEDY))
    assert answers[1].text == answers[0].text
    assert answers[1].num_cached_prompt_tokens >= 256
