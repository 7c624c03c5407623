"""Pages of reports stand alone, say what was not measured and what is only claimed, in both languages."""

import re
from dataclasses import replace
from string import Formatter

import pytest
from sample_reports import bare_record, phone_record

from pocketseek.apps.report.figures import FIGURES
from pocketseek.apps.report.record import Record
from pocketseek.cli.bench import report_messages
from pocketseek.cli.bench.report_figures import figure_rows, missing_rows
from pocketseek.cli.bench.report_page import report_page
from pocketseek.cli.messages import Words


def text_of(page: str) -> str:
    return re.sub(r"<[^>]+>", " ", page.split("</style>")[1])


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("record", [phone_record(), bare_record(), replace(bare_record(), cut_short=True, load_s=None)])
def test_a_page_fetches_and_runs_nothing(record: Record, language: str) -> None:
    page = report_page(record, Words(language))
    for forbidden in ("http", "<script", "src=", "@import", "url(", "<link"):
        assert forbidden not in page
    assert f'lang="{"zh-Hans" if language == "zh" else "en"}"' in page
    assert "prefers-color-scheme:dark" in page


def test_a_full_report_has_a_chart_of_everything_that_was_sampled() -> None:
    page = report_page(phone_record(), Words("en"))
    assert page.count("<svg") == 5
    assert page.count("<polyline") == 8
    assert "not measured:" not in page


def test_what_no_sensor_tells_is_labelled_and_has_no_chart() -> None:
    page = report_page(bare_record(), Words("en"))
    assert "<svg" not in page
    assert "not measured: no readable sensor" in page
    assert "needs --minutes sustained, mean; sustained, at the end; speed kept" in re.sub(r"\s+", " ", text_of(page))


def test_a_reason_is_said_once_for_all_figures_and_each_figure_is_somewhere() -> None:
    for record in (phone_record(), bare_record()):
        reasons = missing_rows(record, Words("en"))
        told = "; ".join(labels for _, labels in reasons)
        assert len({reason for reason, _ in reasons}) == len(reasons)
        for name, _, _ in figure_rows(record, Words("en")):
            measured = {label for label, _, _ in figure_rows(record, Words("en"), is_all=False)}
            assert (name in measured) is not (name in told.split("; "))


def test_heat_is_named_over_a_chart_only_if_it_is_drawn() -> None:
    record = phone_record()
    assert "full heat allowed" in report_page(record, Words("en"))
    assert record.sustained is not None
    samples = replace(record.sustained.samples, heat_share=(None,) * len(record.sustained.samples.time_s))
    page = report_page(replace(record, sustained=replace(record.sustained, samples=samples)), Words("en"))
    assert "full heat allowed" not in page
    assert "Share of the time spent computing, %" in page


def test_claims_are_called_claims_of_another_system() -> None:
    text = text_of(report_page(phone_record(), Words("en")))
    for claim in ("claim: 47 s", "claim: 320 ms", "claim: −60%", "claim: +2.3 W", "claim: 42 / 48 °C"):
        assert claim in text
    assert "another system says of itself on a Xiaomi 14. It was not measured here" in text


def test_a_report_that_was_cut_short_says_so_first() -> None:
    for language, word in (("en", "Cut short"), ("zh", "提前结束")):
        assert word in report_page(replace(phone_record(), cut_short=True), Words(language))
        assert word not in report_page(phone_record(), Words(language))


def test_names_cannot_bring_in_markup() -> None:
    record = replace(phone_record(), model=replace(phone_record().model, name="<script>x"), complaints=("<img>",))
    page = report_page(record, Words("en"))
    assert "<script" not in page
    assert "<img" not in page
    assert "<X>" not in page


def test_a_load_out_of_memory_is_not_sold_as_one_from_storage() -> None:
    assert figure_rows(bare_record(), Words("en"))[0][0] == "load, files perhaps in memory already"
    assert figure_rows(phone_record(), Words("en"))[0][0] == "load"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_figure_has_words(language: str) -> None:
    rows = figure_rows(phone_record(), Words(language))
    assert len(rows) == len(FIGURES)
    assert all(label and value for label, value, _ in rows)


@pytest.mark.parametrize("table", ["FIGURES", "CARDS", "GAPS", "PHASES", "DIFFERENCES"])
def test_messages_in_tables_use_the_same_values_in_both_languages(table: str) -> None:
    for message in getattr(report_messages, table).values():
        values = [sorted(name for _, name, _, _ in Formatter().parse(text) if name) for text in message]
        assert values[0] == values[1]
