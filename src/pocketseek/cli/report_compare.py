"""`pocketseek bench --compare A.json B.json`: two reports as a table, and with `--report` a page with both curves."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli import report_messages
from pocketseek.cli.console import note, print_json, print_table
from pocketseek.cli.messages import Words
from pocketseek.cli.report_run import check_page

if TYPE_CHECKING:
    from pocketseek.apps.report.comparison import Change, Comparison, Difference


def run_compare(first: Path, second: Path, words: Words, *, page: Path | None, as_json: bool) -> None:
    """Raises NotFoundError, FormatError, UnsupportedError for what are no two reports of this version."""
    from pocketseek.apps.report.comparison import compare
    from pocketseek.apps.report.record_file import read_record

    if page is not None:
        check_page(page)
    comparison = compare(read_record(first), read_record(second))
    for warning in _warnings(comparison, words):
        note(warning)
    if as_json:
        print_json(_facts(comparison))
    else:
        print_table(_headings(words), _rows(comparison, words), essential=(0, 3))
    if page is not None:
        _write_page(comparison, page, words)


def _headings(words: Words) -> tuple[str, str, str, str]:
    return (words(report_messages.COLUMN_FIGURE), "A", "B", words(report_messages.COLUMN_CHANGE))


def _rows(comparison: Comparison, words: Words) -> list[tuple[str, str, str, str]]:
    """Labels are those of A; where the conditions differ, a warning says so."""
    from pocketseek.cli.report_figures import label, value_of

    return [
        (
            label(change.figure.key, comparison.first, words),
            value_of(change.figure, comparison.first, words),
            value_of(change.figure, comparison.second, words),
            _change(change, words),
        )
        for change in comparison.changes
    ]


def _change(change: Change, words: Words) -> str:
    """How many times better or worse, whichever way better is; degrees and shares by their difference."""
    if change.first is None or change.second is None or change.ratio is None:
        return ""
    if change.is_better is None:
        return words(report_messages.SAME)
    difference = change.second - change.first
    if change.figure.unit == "celsius":
        amount = f"{difference:+.1f} °C"
    elif change.figure.unit == "share":
        amount = f"{difference:+.1%}"
    elif change.ratio > 0:
        amount = words(report_messages.TIMES, factor=max(change.ratio, 1 / change.ratio))
    else:
        amount = f"{difference:+.2f}"
    return words(report_messages.BETTER if change.is_better else report_messages.WORSE, change=amount)


def _warnings(comparison: Comparison, words: Words) -> list[str]:
    names = ", ".join(_different_conditions(comparison))
    return [_warning(difference, names, words) for difference in comparison.differences]


def _warning(difference: Difference, names: str, words: Words) -> str:
    return words(report_messages.DIFFERENCES[difference], names=names)


def _different_conditions(comparison: Comparison) -> list[str]:
    """As the JSON calls them."""
    first, second = comparison.first.conditions, comparison.second.conditions
    names = [field.name for field in dataclasses.fields(first)]
    return [name for name in names if getattr(first, name) != getattr(second, name)]


def _facts(comparison: Comparison) -> dict[str, object]:
    figures = {
        change.figure.key: {
            "unit": change.figure.unit,
            "a": change.first,
            "b": change.second,
            "ratio": change.ratio,
            "better": change.is_better,
        }
        for change in comparison.changes
    }
    return {
        "a": dataclasses.asdict(comparison.first.model),
        "b": dataclasses.asdict(comparison.second.model),
        "differences": list(comparison.differences),
        "different_conditions": _different_conditions(comparison),
        "figures": figures,
    }


def _write_page(comparison: Comparison, page: Path, words: Words) -> None:
    from pocketseek.apps import html_page
    from pocketseek.apps.report.write_pair import write_whole
    from pocketseek.cli.report_figures import device_name
    from pocketseek.cli.report_page import language_of, made_at, sustained_charts
    from pocketseek.package.storage import storage_errors

    parts: list[str] = []
    records = (("A", comparison.first), ("B", comparison.second))
    for letter, record in records:
        text = words(
            report_messages.COMPARE_WHICH,
            letter=letter,
            model=record.model.name,
            device=device_name(record.device),
            created=made_at(record),
        )
        parts.append(html_page.paragraph(text))
    parts += [html_page.paragraph(warning, "warn") for warning in _warnings(comparison, words)]
    runs = [(letter, record.sustained) for letter, record in records if record.sustained is not None]
    if runs:
        charts = sustained_charts(runs, words)
        parts += [html_page.heading(words(report_messages.SUSTAINED)), html_page.charts(charts)]
    parts.append(html_page.heading(words(report_messages.ALL_FIGURES)))
    parts.append(html_page.table(_rows(comparison, words), _headings(words)))
    html = html_page.render(words(report_messages.COMPARE_TITLE), language_of(words), parts)
    with storage_errors(page):
        write_whole(page, html.encode("utf-8"))
    note(words(report_messages.COMPARED, page=page))
