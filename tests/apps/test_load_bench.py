"""The load benchmark measures what it says, on an engine without weights; no figure is compared with a clock."""

from collections.abc import Callable

import pytest
from fakes import FakeExecutor, fake_engine

from pocketseek.apps.load_bench import CURVE_PERCENTS, LoadReport, Profile, bench_load
from pocketseek.errors import UsageError
from pocketseek.runtime.engine import Engine

SHORT_S = 0.3
ALONE_S = 1.5  # background waits for others, for a second if it is alone


def measured(
    profile: Profile, concurrency: int, **kwargs: Callable[[int, int], None]
) -> tuple[LoadReport, list[Engine]]:
    opened: list[Engine] = []

    def open_engine() -> Engine:
        opened.append(fake_engine(FakeExecutor(context_length=300)))
        return opened[-1]

    seconds = SHORT_S if profile == "chat" else ALONE_S
    return bench_load(open_engine, concurrency=concurrency, profile=profile, seconds=seconds, **kwargs), opened


@pytest.mark.parametrize(
    ("profile", "concurrency", "classes"),
    [("chat", 1, {"interactive"}), ("doc", 2, {"background"}), ("mixed", 3, {"interactive", "background"})],
)
def test_classes_of_a_profile_are_measured_and_no_others(profile: Profile, concurrency: int, classes: set[str]) -> None:
    report, _ = measured(profile, concurrency)
    for name, one in (("interactive", report.interactive), ("background", report.background)):
        assert (one.first_token is not None) == (name in classes)
    assert (report.interactive_alone is not None) == (profile == "mixed")
    assert report.passes_per_s > 0
    assert report.tokens_per_s > 0
    assert report.tokens_per_pass > 0
    assert 0 < report.peak_pages <= report.num_pages
    assert report.seconds >= SHORT_S


def test_percentiles_are_in_order_and_the_curve_ends_at_the_slowest() -> None:
    between = measured("chat", 2)[0].interactive.between_tokens
    assert between is not None
    assert between.p50_s <= between.p95_s <= between.p99_s <= between.curve_s[-1]
    assert list(between.curve_s) == sorted(between.curve_s)
    assert len(between.curve_s) == len(CURVE_PERCENTS)


def test_conversations_behind_one_system_prompt_are_read_once() -> None:
    assert measured("chat", 2)[0].cached_prompt_tokens > 0


def test_nothing_runs_on_and_the_engine_is_closed_afterwards() -> None:
    _, opened = measured("mixed", 4)
    assert len(opened) == 1
    with pytest.raises(Exception, match="closed"):
        opened[0].score([1, 2])


def test_progress_never_passes_the_end() -> None:
    steps: list[tuple[int, int]] = []
    measured("chat", 1, progress=lambda *step: steps.append(step))
    assert all(0 <= done <= total for done, total in steps)


@pytest.mark.parametrize(
    "figures",
    [{"concurrency": 0}, {"concurrency": 1001}, {"concurrency": 1, "profile": "mixed"}]
    + [{"concurrency": 2, "seconds": seconds} for seconds in (0, -1, float("nan"), float("inf"))]
    + [{"concurrency": 2, "profile": "other"}],
)
def test_senseless_figures_are_refused_before_anything_is_loaded(figures: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        bench_load(lambda: pytest.fail("must not load"), **figures)  # type: ignore[arg-type]  # wrong on purpose
