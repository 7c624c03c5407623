"""The verdict follows from sizes and figures, and says nothing that was not measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.govern.expected_speed import MachineFigures, decode_overhead_s
from pocketseek.govern.model_verdict import (
    LARGE_STORAGE_BYTES,
    ExpertNeeds,
    ModelNeeds,
    Room,
    judge_model,
    recommended,
)

FIGURES = MachineFigures("neon-i8mm", 4, 40e9, 300e9, 75e9, ((1 << 20, 1.5e9), (4 << 20, 2e9)))
SMALL = ModelNeeds(
    name="small",
    quant="q4",
    parameters=1_500_000_000,
    package_bytes=900_000_000,
    weights_bytes=850_000_000,
    multiply_adds=(("q4p", 1_310_000_000),),
    attention_multiply_adds=86_016,
    page_bytes=(("f16", 1_835_008), ("q8", 946_176)),
    base_bytes=180_000_000,
    context_length=131_072,
    vocab_size=152_000,
    num_layers=28,
    checkpoint_bytes=3_000_000_000,
)
LARGE = replace(
    SMALL,
    name="large",
    parameters=14_000_000_000,
    package_bytes=8_300_000_000,
    weights_bytes=7_900_000_000,
    multiply_adds=(("q4p", 13_200_000_000),),
    page_bytes=(("f16", 12_582_912), ("q8", 6_488_064)),
)
ROOMY = Room(12_000_000_000, 100_000_000_000, 2_000_000_000)


def test_what_fits_into_memory_is_resident_and_reads_at_the_speed_of_memory() -> None:
    verdict = judge_model(SMALL, ROOMY, FIGURES)
    assert verdict.fit == "resident"
    assert verdict.streamed_bytes == 0
    assert verdict.decode_tokens_per_s is not None
    assert 0.8 * 40e9 * 0.85 / 850e6 < verdict.decode_tokens_per_s < 40e9 * 0.85 / 850e6
    assert verdict.prefill_tokens_per_s == pytest.approx(
        1 / (1.31e9 / (0.82 * 300e9) + 86016 * 256 / (0.4 * 75e9)), rel=0.01
    )
    assert verdict.load_s == pytest.approx(0.2 + 850e6 / 1e9, rel=0.01)
    assert verdict.context_tokens == 2_000_000_000 // SMALL.page_bytes_in("f16") * 64


def test_what_does_not_fit_streams_the_rest_in_every_pass() -> None:
    verdict = judge_model(LARGE, Room(4_000_000_000, 100_000_000_000, 1_000_000_000), FIGURES)
    assert verdict.fit == "streams"
    assert 3_900_000_000 < verdict.streamed_bytes < 7_900_000_000
    assert verdict.decode_tokens_per_s == pytest.approx(
        1 / (verdict.streamed_bytes / (0.9 * 2e9) + decode_overhead_s(LARGE.vocab_size, LARGE.num_layers))
    )


SPARSE = replace(
    LARGE, name="sparse", weights_bytes=8_000_000_000, experts=ExpertNeeds(7_500_000_000, 6 / 64, 55_000_000)
)


def test_of_experts_a_token_reads_those_that_it_chooses_and_memory_lacks() -> None:
    room = Room(4_000_000_000, 100_000_000_000, 1_000_000_000)
    resident, partly, least = (
        judge_model(SPARSE, replace(room, memory_bytes=gigabytes * 1_000_000_000), FIGURES) for gigabytes in (12, 4, 1)
    )
    assert (resident.fit, partly.fit, least.fit) == ("resident", "streams", "streams")
    assert 0 == resident.streamed_bytes < partly.streamed_bytes < least.streamed_bytes < 7.5e9 * 6 / 64
    rates = [one.decode_tokens_per_s or 0.0 for one in (resident, partly, least)]
    assert rates[0] > 4 * rates[1] > 4 * rates[2] > 8.0
    assert least.least_memory_bytes < 1_000_000_000
    none = judge_model(SPARSE, replace(room, memory_bytes=600_000_000), FIGURES)
    assert (none.fit, none.least_memory_bytes) == ("no memory", least.least_memory_bytes)


def test_too_little_memory_or_storage_says_how_much_is_needed() -> None:
    verdict = judge_model(SMALL, Room(150_000_000, 10**11, 0), FIGURES)
    assert (verdict.fit, verdict.runs) == ("no memory", False)
    assert verdict.least_memory_bytes > 180_000_000
    verdict = judge_model(SMALL, Room(10**10, 500_000_000, 10**9), FIGURES)
    assert (verdict.fit, verdict.storage_bytes) == ("no storage", 900_000_000)


def test_a_large_model_wants_fifteen_gigabytes_of_storage_unless_it_is_there_already() -> None:
    room = replace(ROOMY, storage_free_bytes=LARGE_STORAGE_BYTES - 1)
    assert judge_model(LARGE, room, FIGURES).fit == "no storage"
    assert judge_model(replace(LARGE, is_installed=True), room, FIGURES).fit == "resident"
    assert judge_model(LARGE, replace(room, storage_free_bytes=LARGE_STORAGE_BYTES), FIGURES).runs


def test_speeds_are_unknown_until_they_are_measured() -> None:
    verdict = judge_model(SMALL, ROOMY, None)
    assert verdict.fit == "resident"
    assert (verdict.load_s, verdict.prefill_tokens_per_s, verdict.decode_tokens_per_s) == (None, None, None)
    streaming = judge_model(LARGE, Room(4_000_000_000, 10**11, 10**9), replace(FIGURES, flash=()))
    assert (streaming.fit, streaming.decode_tokens_per_s) == ("streams", None)


def test_unknown_memory_is_unknown() -> None:
    assert judge_model(SMALL, Room(None, None, 0), FIGURES).fit == "unknown"


def test_the_context_is_told_for_each_kv_format_and_the_one_in_use() -> None:
    verdict = judge_model(SMALL, ROOMY, FIGURES)
    contexts = dict(verdict.contexts)
    assert verdict.context_tokens == contexts["f16"]
    assert 1.8 < contexts["q8"] / contexts["f16"] < 2
    assert judge_model(SMALL, replace(ROOMY, kv_format="q8"), FIGURES).context_tokens == contexts["q8"]


def test_converting_takes_room_for_checkpoint_and_package() -> None:
    assert judge_model(SMALL, ROOMY, FIGURES).conversion_bytes == 3_900_000_000
    assert judge_model(replace(SMALL, checkpoint_bytes=None), ROOMY, FIGURES).conversion_bytes is None


@pytest.mark.parametrize(
    ("kind", "version", "slow"),
    [
        ("UFS", "2.1", True),
        ("UFS", "3.1", False),
        ("UFS", "4.0", False),
        ("UFS", None, None),
        ("UFS", "?", None),
        ("eMMC", None, True),
        ("NVMe", None, False),
        ("virtual disk", None, None),
        (None, None, None),
    ],
)
def test_storage_below_ufs_31_is_slow_for_large_models_where_it_is_known(
    kind: str | None, version: str | None, slow: bool | None
) -> None:
    room = replace(ROOMY, storage_kind=kind, storage_version=version)
    assert judge_model(LARGE, room, None).slow_storage is slow
    assert judge_model(SMALL, room, None).slow_storage is None


def test_slow_storage_speaks_against_a_large_model_only_where_nothing_was_measured() -> None:
    room = replace(ROOMY, storage_kind="eMMC")
    fast = replace(FIGURES, read_bandwidth_bytes_per_s=80e9)
    for figures, name in ((None, "small"), (replace(fast, is_estimate=True), "small"), (fast, "large")):
        choice = recommended([judge_model(one, room, figures) for one in (SMALL, LARGE)])
        assert choice is not None
        assert choice.needs.name == name


def test_an_estimate_tells_writing_alone_and_is_marked() -> None:
    peak = MachineFigures("unknown", 4, 77e9, None, None, is_estimate=True)
    verdict = judge_model(SMALL, ROOMY, peak)
    assert verdict.is_estimate
    assert verdict.decode_tokens_per_s is not None
    assert (verdict.load_s, verdict.prefill_tokens_per_s) == (None, None)
    streaming = judge_model(LARGE, Room(4_000_000_000, 10**11, 10**9), peak)
    assert (streaming.fit, streaming.decode_tokens_per_s) == ("streams", None)


def test_prompts_are_read_as_fast_as_the_kernels_of_their_format() -> None:
    def reads(weight_format: str) -> float:
        verdict = judge_model(replace(SMALL, multiply_adds=((weight_format, 1_310_000_000),)), ROOMY, FIGURES)
        assert verdict.prefill_tokens_per_s is not None
        return verdict.prefill_tokens_per_s

    assert reads("q4p") > reads("q4s") > reads("q8s") > reads("f16")
    assert reads("q4s") > reads("q6s") > reads("f16")


def test_the_largest_that_is_pleasant_is_recommended() -> None:
    fast = [judge_model(one, ROOMY, FIGURES) for one in (SMALL, LARGE)]
    assert fast[1].decode_tokens_per_s is not None
    assert fast[1].decode_tokens_per_s < 5
    assert recommended(fast) is fast[0]
    faster = [judge_model(one, ROOMY, replace(FIGURES, read_bandwidth_bytes_per_s=80e9)) for one in (SMALL, LARGE)]
    assert recommended(faster) is faster[1]


def test_without_figures_the_largest_in_memory_is_recommended_and_nothing_if_nothing_runs() -> None:
    verdicts = [judge_model(one, Room(4_000_000_000, 10**11, 10**9), None) for one in (SMALL, LARGE)]
    assert recommended(verdicts) is verdicts[0]
    assert recommended([judge_model(SMALL, Room(10_000_000, 10**11, 0), FIGURES)]) is None


@given(st.integers(10**8, 2 * 10**10), st.integers(10**8, 2 * 10**10))
def test_more_memory_is_never_slower(one: int, other: int) -> None:
    less, more = sorted((one, other))
    speeds = [
        judge_model(LARGE, Room(memory, 10**11, memory // 4), FIGURES).decode_tokens_per_s or 0.0
        for memory in (less, more)
    ]
    assert speeds[0] <= speeds[1] * 1.0001
