"""`pocketseek bench --compare A.json B.json`: two reports as a table, and with `--report` a page with both curves."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli import messages
from pocketseek.cli.bench import report_messages
from pocketseek.cli.bench.report_run import check_page
from pocketseek.cli.console import format_bytes, note, print_json, print_table
from pocketseek.cli.messages import Words

if TYPE_CHECKING:
    from pocketseek.apps.report.comparison import Change, Comparison, Difference
    from pocketseek.apps.report.same_work import Basis


def run_compare(first: Path, second: Path, words: Words, *, page: Path | None, as_json: bool) -> None:
    """Raises NotFoundError, FormatError, UnsupportedError for what are no two reports of this version."""
    from pocketseek.apps.report.comparison import compare
    from pocketseek.apps.report.record_file import read_record

    if page is not None:
        check_page(page)
    comparison = compare(read_record(first), read_record(second))
    try:  # the page first: standard output may be full or gone
        if page is not None:
            _write_page(comparison, page, words)
    finally:
        for warning in _warnings(comparison, words):
            note(warning)
        if as_json:
            print_json(_facts(comparison))
        else:
            print_table(_headings(words), _rows(comparison, words), essential=(0, 3))


def _headings(words: Words) -> tuple[str, str, str, str]:
    return (words(report_messages.COLUMN_FIGURE), "A", "B", words(report_messages.COLUMN_CHANGE))


def _rows(comparison: Comparison, words: Words) -> list[tuple[str, str, str, str]]:
    from pocketseek.cli.bench.report_figures import label, value_of

    return [
        (
            label(change.figure.key, comparison.first, words, comparison.second),
            value_of(change.figure, comparison.first, words),
            value_of(change.figure, comparison.second, words),
            _change(change, comparison, words),
        )
        for change in comparison.changes
    ]


def _change(change: Change, comparison: Comparison, words: Words) -> str:
    """How many times better or worse, or why neither can be said."""
    if change.first is None or change.second is None:
        return ""
    if change.other_work:
        what = words(report_messages.LIST_COMMA).join(_work(basis, comparison, words) for basis in change.other_work)
        return words(report_messages.OTHER_WORK, what=what)
    if change.ratio is None:
        return ""
    if change.is_better is None:
        return words(report_messages.SAME)
    amount = _amount(change, change.second - change.first, change.ratio, words)
    return words(report_messages.BETTER if change.is_better else report_messages.WORSE, change=amount)


def _amount(change: Change, difference: float, ratio: float, words: Words) -> str:
    """Whichever way better is; degrees and shares by their difference."""
    if change.figure.unit == "celsius":
        return f"{difference:+.1f} °C"
    if change.figure.unit == "share":
        return f"{difference:+.1%}"
    if ratio > 0:
        return words(report_messages.TIMES, factor=max(ratio, 1 / ratio))
    return f"{difference:+.2f} W"  # power above idle, which may be below 0 while something else ends


def _work(basis: Basis, comparison: Comparison, words: Words) -> str:
    from pocketseek.apps.report.same_work import basis_of

    values = (basis_of(basis, comparison.first), basis_of(basis, comparison.second))
    return _pair(basis, values, words)


def _pair(name: str, values: tuple[object, object], words: Words) -> str:
    """ "prompt 512 / 64 tokens": what it is called, in A and in B."""
    first, second = (_plain(name, value, words) for value in values)
    return words(report_messages.BOTH[name], a=first, b=second)


def _plain(name: str, value: object, words: Words) -> str:
    if value is None:
        return words(messages.NONE)
    if isinstance(value, bool):
        return words(report_messages.YES if value else report_messages.NO)
    if name == "num_parameters" and isinstance(value, int):
        return f"{value / 1e9:.2f}"
    if name == "memory_limit_bytes" and isinstance(value, int):
        return format_bytes(value)
    if isinstance(value, str) and name == "power_source":
        return words(report_messages.POWER_SOURCES[value])
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _warnings(comparison: Comparison, words: Words) -> list[str]:
    what = words(report_messages.LIST_COMMA).join(_condition_pairs(comparison, words))
    return [_warning(difference, what, words) for difference in comparison.differences]


def _warning(difference: Difference, what: str, words: Words) -> str:
    return words(report_messages.DIFFERENCES[difference], what=what)


def _condition_pairs(comparison: Comparison, words: Words) -> list[str]:
    first, second = comparison.first.conditions, comparison.second.conditions
    names = _different_conditions(comparison)
    return [_pair(name, (getattr(first, name), getattr(second, name)), words) for name in names]


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
            "other_work": list(change.other_work),
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
    from pocketseek.apps.report.write_pair import write_page
    from pocketseek.cli.bench.report_figures import device_name
    from pocketseek.cli.bench.report_page import language_of, made_at, sustained_charts

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
    write_page(page, html)
    note(words(report_messages.COMPARED, page=page))
