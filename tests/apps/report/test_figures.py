"""Every figure is found where it was measured, and says why where it was not."""

from dataclasses import replace
from typing import get_args

import pytest
from sample_reports import bare_record, phone_record

from pocketseek.apps.report.figures import FIGURES, Key, figure, gap_of
from pocketseek.apps.report.record import Record

BARE = bare_record()
EMPTY = replace(
    BARE,
    load_s=None,
    load_to_first_token_s=None,
    short_answer=None,
    long_answer=None,
    speed=None,
    peak_rss_bytes=None,
)


def test_every_key_has_one_figure() -> None:
    assert sorted(one.key for one in FIGURES) == sorted(get_args(Key))


def test_a_full_report_has_every_figure() -> None:
    assert [one.key for one in FIGURES if one.get(phone_record()) is None] == []


def test_an_empty_report_has_only_the_package() -> None:
    assert {one.key for one in FIGURES if one.get(EMPTY) is not None} == {"package", "saved"}


def test_figures_are_those_of_the_record() -> None:
    record = phone_record()
    assert figure("saved").get(record) == pytest.approx(1 - 100_351_301 / 269_030_080)
    assert figure("added_power").get(record) == pytest.approx(3.3)
    assert figure("soc").get(record) == 74.0
    assert figure("short_answer").claim == 0.320


@pytest.mark.parametrize(
    ("record", "key", "gap"),
    [
        (BARE, "sustained", "no sustained load"),
        (BARE, "skin", "no sensor"),
        (BARE, "added_power", "no sensor"),
        (replace(BARE, power_gap="charging"), "tokens_per_joule", "charging"),
        (replace(phone_record(), sustained=None, cut_short=True), "kept", "cut short"),
        (EMPTY, "prefill", "cut short"),
        (EMPTY, "peak_rss", "no system figure"),
        (
            replace(BARE, conditions=replace(BARE.conditions, concurrency=4)),
            "long_answer",
            "not at batch 1",
        ),
    ],
)
def test_a_missing_figure_says_why(record: Record, key: Key, gap: str) -> None:
    assert gap_of(record, key) == gap
