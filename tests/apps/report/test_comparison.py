"""What two reports differ in is said, and better is better in the unit's own direction."""

from dataclasses import replace

import pytest
from sample_reports import CONDITIONS, DEVICE, MODEL, bare_record, phone_record

from pocketseek.apps.report.comparison import Change, Comparison, compare
from pocketseek.apps.report.figures import Key, figure
from pocketseek.apps.report.record import Record


def change_of(comparison: Comparison, key: Key) -> Change:
    return next(change for change in comparison.changes if change.figure.key == key)


def test_a_report_does_not_differ_from_itself() -> None:
    comparison = compare(phone_record(), phone_record())
    assert comparison.differences == ()
    assert {change.is_better for change in comparison.changes} == {None}


def test_faster_is_better_for_times_and_for_rates() -> None:
    comparison = compare(phone_record(), phone_record(pace=1.25))
    short, decode = change_of(comparison, "short_answer"), change_of(comparison, "decode")
    assert short.ratio == pytest.approx(0.8)
    assert decode.ratio == pytest.approx(1.25)
    assert short.is_better
    assert decode.is_better
    assert change_of(compare(phone_record(pace=1.25), phone_record()), "decode").is_better is False


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (replace(phone_record(), device=replace(DEVICE, soc_model="SM8750")), "device"),
        (replace(phone_record(), model=replace(MODEL, identity="cd" * 32)), "model"),
        (replace(phone_record(), conditions=replace(phone_record().conditions, kv="q8")), "conditions"),
        (replace(phone_record(), program_version="9"), "program"),
        (replace(phone_record(), cut_short=True), "cut short"),
    ],
)
def test_what_makes_a_comparison_doubtful_is_named(other: Record, difference: str) -> None:
    assert compare(phone_record(), other).differences == (difference,)


def test_an_updated_system_is_the_same_device() -> None:
    memory_bytes = (DEVICE.memory_total_bytes or 0) + 50_000_000
    device = replace(DEVICE, android_version="16", kernel_release="7.0", memory_total_bytes=memory_bytes)
    assert compare(phone_record(), replace(phone_record(), device=device)).differences == ()


def test_a_figure_of_one_only_is_shown_without_a_ratio_and_of_none_not_at_all() -> None:
    comparison = compare(replace(phone_record(), heat=()), replace(bare_record(), conditions=CONDITIONS, load_s=2.5))
    assert change_of(comparison, "added_power").ratio is None
    assert change_of(comparison, "load").ratio == 2
    assert "skin" not in {change.figure.key for change in comparison.changes}


def test_a_hair_is_no_change() -> None:
    assert Change(figure("decode"), 100.0, 101.0).is_better is None
    assert Change(figure("decode"), 0.0, 101.0).ratio is None


def test_a_watt_less_than_nothing_is_no_ratio() -> None:
    assert Change(figure("added_power"), -0.2, 1.0).ratio is None
