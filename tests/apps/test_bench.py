"""A benchmark measures what it says, on a tiny model; no figure is compared with a clock."""

from pathlib import Path

import pytest
from tiny_models import tiny_gguf

from pocketseek.apps.bench import bench_model
from pocketseek.apps.energy import ModelWork, joules
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import UsageError
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.load import load

WORK = ModelWork(weight_bytes=1_000_000, multiply_adds=2_000_000)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    return convert_checkpoint(tiny_gguf(folder / "tiny.gguf", type_name="Q4_1"), folder / "tiny", models_dir=folder)


@pytest.mark.parametrize(("concurrency", "new_tokens"), [(1, 2), (3, 200)])
def test_report_has_every_figure(package: Path, concurrency: int, new_tokens: int) -> None:
    steps: list[tuple[int, int]] = []
    report = bench_model(
        lambda: load(package, speculation=False),
        WORK,
        prompt_tokens=20,
        new_tokens=new_tokens,
        concurrency=concurrency,
        repeats=1,
        progress=lambda *step: steps.append(step),
    )
    assert 0 < report.load_s <= report.load_to_first_token_s
    assert report.first_token_s > 0
    assert report.prefill_tokens_per_s > 0
    assert report.decode_tokens_per_s > 0
    assert report.peak_rss_bytes is not None
    assert report.peak_anonymous_bytes is not None
    assert report.peak_rss_bytes >= report.peak_anonymous_bytes > 0
    assert steps == [(1, 2), (2, 2)]
    cost = report.per_token
    slack_passes = 2  # counts of tokens and passes may be one apart, at both ends
    passes = cost.weight_bytes / WORK.weight_bytes * concurrency * new_tokens
    assert new_tokens - 2 * slack_passes <= passes <= concurrency * (new_tokens + slack_passes)
    assert cost.storage_bytes is None or cost.storage_bytes >= 0
    assert cost.estimated_joules == joules(cost.storage_bytes or 0.0, cost.weight_bytes, WORK.multiply_adds)


def test_the_engine_is_closed_when_the_figures_do_not_fit(package: Path) -> None:
    opened: list[Engine] = []

    def open_engine() -> Engine:
        opened.append(load(package))
        return opened[-1]

    with pytest.raises(UsageError, match="context"):
        bench_model(open_engine, WORK, prompt_tokens=10_000)
    with pytest.raises(Exception, match="closed"):
        opened[0].score([1, 2])


@pytest.mark.parametrize("figures", [{"prompt_tokens": 0}, {"new_tokens": 1}, {"concurrency": 0}, {"repeats": 0}])
def test_senseless_figures_are_refused_before_anything_is_loaded(figures: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        bench_model(lambda: pytest.fail("must not load"), WORK, **figures)
