"""What is known before a model is opened is what the engine then does."""

from pathlib import Path

import pytest
from line_of_models import SCARCE_BYTES, SMALL_BYTES, STORAGE_BYTES_PER_S, install_line

from pocketseek.errors import UsageError
from pocketseek.govern.expected_speed import STREAM_SHARE
from pocketseek.runtime import load as load_module
from pocketseek.runtime import speed_plan
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.load import load
from pocketseek.runtime.speed_plan import SpeedNeed, SpeedPlan, count_prompt_tokens, plan_speed
from pocketseek.settings import read_settings
from pocketseek.types import Message, Request, SamplingParams

NEED = SpeedNeed(max_tokens=64, least_tokens=64)
REQUEST = Request(tuple(range(5, 40)), 4, SamplingParams(seed=3))


@pytest.fixture
def line(tmp_path: Path, line_of_models: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path / "home"))
    return install_line(tmp_path / "home", line_of_models, monkeypatch)


def plan(line: dict[str, Path], min_speed: float, **options: object) -> SpeedPlan:
    chosen = {"need": NEED, "memory_bytes": SCARCE_BYTES, **options}
    return plan_speed(line["large"], "large", read_settings(), min_speed=min_speed, **chosen)


def test_the_speed_is_that_of_storage_where_weights_do_not_fit(line: dict[str, Path]) -> None:
    asked = plan(line, 1e-9).choice.asked
    assert 0 < asked.streamed_bytes < asked.weights_bytes
    assert asked.tokens_per_s == pytest.approx(STREAM_SHARE * STORAGE_BYTES_PER_S / asked.streamed_bytes)


@pytest.mark.parametrize("kv", ["f16", "q8"])
def test_an_engine_streams_what_was_expected(line: dict[str, Path], monkeypatch: pytest.MonkeyPatch, kv: str) -> None:
    executors: list[KernelExecutor] = []

    class Noted(KernelExecutor):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[arg-type]
            executors.append(self)

    monkeypatch.setattr(load_module, "KernelExecutor", Noted)
    expected = plan(line, 1e-9, kv=kv).choice.asked
    with load("large", kv=kv, memory_bytes=SCARCE_BYTES, prefix_store_bytes=0) as engine:
        for _ in engine.stream(REQUEST):
            streamed_bytes = executors[0].weights.plan.streamed_bytes
    assert streamed_bytes == expected.streamed_bytes


def test_the_steps_are_taken_in_order_as_the_floor_rises(line: dict[str, Path]) -> None:
    asked = plan(line, 1e-9).choice.asked
    gentle = plan(line, asked.tokens_per_s * 1.05)
    assert (gentle.choice.steps, gentle.path, gentle.kv, gentle.kv_bytes) == (("kv",), line["large"], "q8", None)
    hard = plan(line, asked.tokens_per_s * 10)
    assert (hard.choice.steps, hard.path, hard.kv) == (("model",), line["small"], "f16")
    impossible = plan(line, 1e12)
    assert impossible.path == line["small"]
    assert not impossible.choice.meets_floor


def test_a_cut_context_is_a_limit_on_the_pool(line: dict[str, Path]) -> None:
    asked = plan(line, 1e-9, need=SpeedNeed(least_tokens=64)).choice.asked
    cut = plan(line, asked.tokens_per_s * 1.9, need=SpeedNeed(least_tokens=64))
    assert cut.choice.steps == ("kv", "context")
    assert cut.kv_bytes is not None
    with load(cut.path, kv=cut.kv, kv_bytes=cut.kv_bytes, memory_bytes=SCARCE_BYTES, prefix_store_bytes=0) as engine:
        assert engine.context_length == cut.choice.chosen.num_pages * 64


def test_load_takes_the_rung_and_says_so(line: dict[str, Path]) -> None:
    with load("large", min_speed=1e9, memory_bytes=SCARCE_BYTES, prefix_store_bytes=0) as engine:
        assert engine.speed_choice is not None
        assert engine.speed_choice.chosen.model == "small"
        assert engine.generate("hello", max_tokens=2).num_tokens > 0
    with load("large", memory_bytes=SCARCE_BYTES, prefix_store_bytes=0) as engine:
        assert engine.speed_choice is None


def test_a_model_that_does_not_fit_gives_way_instead_of_being_refused(line: dict[str, Path]) -> None:
    with load("large", min_speed=1e-3, memory_bytes=SMALL_BYTES, prefix_store_bytes=0) as engine:
        assert engine.speed_choice is not None
        assert not engine.speed_choice.asked.works
        assert engine.speed_choice.chosen.model == "small"


def test_what_passes_took_here_counts_more_than_what_memory_could_give(
    line: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    monkeypatch.setattr(
        speed_plan, "measure_read_bandwidth", lambda *arguments, **options: measured.append("now") or 1e9
    )
    plenty = 4 << 30
    before = plan(line, 1e-9, memory_bytes=plenty).choice.asked
    assert measured == ["now"]
    assert before.tokens_per_s == pytest.approx(0.85e9 / before.weights_bytes)
    with load("small", prefix_store_bytes=0, speculation=False) as engine:
        list(engine.stream(REQUEST))
    after = plan(line, 1e-9, memory_bytes=plenty).choice.asked
    assert measured == ["now"]
    assert after.tokens_per_s != before.tokens_per_s


def test_storage_is_measured_once_where_it_is_needed(line: dict[str, Path], tmp_path: Path) -> None:
    (known,) = (tmp_path / "home" / "storage").iterdir()
    known.unlink()
    plan(line, 1e-9, memory_bytes=4 << 30)
    assert not known.exists()
    plan(line, 1e-9)
    assert known.exists()


def test_a_prompt_is_counted_as_the_engine_will(line: dict[str, Path]) -> None:
    prompt = [Message("user", "hello there")]
    with load("small", prefix_store_bytes=0) as engine:
        assert count_prompt_tokens(line["large"], prompt) == len(engine.encode_prompt(prompt))
        assert count_prompt_tokens(line["large"], "hello") == len(engine.encode_prompt("hello"))


def test_a_senseless_speed_is_refused(line: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="tokens per second above 0"):
        load("large", min_speed=0.0)
