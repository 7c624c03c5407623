"""Figures of different work have no ratio; what people compare (devices, kernels, formats) is no other work."""

from dataclasses import replace

import pytest
from sample_reports import CONDITIONS, DEVICE, MODEL, bare_record, phone_record, warming_samples

from pocketseek.apps.report.comparison import compare
from pocketseek.apps.report.figures import FIGURES, Key
from pocketseek.apps.report.record import Power, Record
from pocketseek.apps.report.same_work import other_work
from pocketseek.apps.report.sustained import summarise


def with_conditions(**changes: object) -> Record:
    return replace(phone_record(), conditions=replace(CONDITIONS, **changes))


def spared(other: Record) -> set[Key]:
    """The figures that have a ratio all the same."""
    return {change.figure.key for change in compare(phone_record(), other).changes if change.ratio is not None}


ALL: set[Key] = {figure.key for figure in FIGURES}


def test_what_people_compare_leaves_every_ratio() -> None:
    for other in (
        replace(phone_record(), device=replace(DEVICE, soc_model="SM8750")),
        replace(phone_record(), model=replace(MODEL, identity="cd" * 32, package_bytes=10**8)),
        with_conditions(kernels="scalar", kv="q8", num_threads=1, temperature_limit_c=None),
    ):
        assert spared(other) == ALL


def test_a_shorter_prompt_leaves_no_ratio_of_what_depends_on_it() -> None:
    other = with_conditions(prompt_tokens=64)
    assert ALL - spared(other) == {"long_answer", "first_token", "prefill", "decode", "peak_rss"}
    assert other_work("prefill", phone_record(), other) == ("prompt_tokens",)


@pytest.mark.parametrize(
    ("other", "without"),
    [
        (with_conditions(new_tokens=16), {"long_answer", "decode"}),
        (with_conditions(from_storage=False), {"load", "load_to_first_token"}),
        (with_conditions(speculation=True), {"short_answer", "long_answer", "decode", "sustained", "tokens_per_joule"}),
        (with_conditions(memory_limit_bytes=10**9), {"peak_rss"}),
        (with_conditions(concurrency=4), {"decode", "sustained", "soc", "added_power"}),
        (replace(phone_record(), power=Power("processor", 1.0, 9.0, 1.0, 1.0)), {"idle_power", "tokens_per_joule"}),
    ],
)
def test_other_work_has_no_ratio(other: Record, without: set[Key]) -> None:
    assert not spared(other) & without


def test_another_model_leaves_but_the_power_at_rest() -> None:
    other = replace(phone_record(), model=replace(MODEL, num_parameters=1_540_000_000))
    assert spared(other) == {"idle_power"}


def test_a_load_that_was_cut_short_has_no_ratio_and_one_that_ended_with_its_pass_has() -> None:
    short = replace(phone_record(), sustained=summarise(warming_samples(minutes=3)))
    assert not spared(short) & {"sustained", "kept", "skin", "added_power"}
    late = phone_record()
    assert late.sustained is not None
    late = replace(late, sustained=replace(late.sustained, measured_s=1803.0))
    assert spared(late) == ALL


def test_heat_of_a_load_is_not_compared_with_heat_without_one() -> None:
    assert other_work("soc", phone_record(), bare_record()) == ("measured_s",)
