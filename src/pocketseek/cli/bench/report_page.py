"""The page of a bench report, and of two that are compared: what `html_page` and `svg_chart` draw, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pocketseek.apps import html_page
from pocketseek.apps.html_page import Card
from pocketseek.apps.report.claims import REFERENCE
from pocketseek.apps.report.curve import averaged, interval_of
from pocketseek.apps.report.figures import Key, figure
from pocketseek.apps.report.record import Record, Samples, Sustained
from pocketseek.apps.svg_chart import Axis, Line, line_chart, round_axis, time_axis
from pocketseek.cli.bench import report_messages
from pocketseek.cli.bench.report_figures import (
    amount,
    claim_of,
    condition_rows,
    device_name,
    device_rows,
    figure_rows,
    missing,
    missing_rows,
)
from pocketseek.cli.messages import Message, Words

Column = Callable[[Samples], Sequence[float | None]]
_LATE = 1.004
_LONG_S = 180.0  # from here on the axis of time counts minutes


def report_page(record: Record, words: Words) -> str:
    parts = [html_page.paragraph(_made(record, words), "quiet")]
    if record.cut_short:
        parts.append(html_page.paragraph(words(report_messages.CUT_SHORT), "warn"))
    parts.append(html_page.cards(_card(key, record, words) for key in _card_keys(record)))
    parts.append(html_page.paragraph(words(report_messages.CLAIM_NOTE, device=REFERENCE.device), "quiet"))
    parts += _sustained_parts(record, words)
    headings = (
        words(report_messages.COLUMN_FIGURE),
        words(report_messages.COLUMN_MEASURED),
        words(report_messages.COLUMN_CLAIM, device=REFERENCE.device),
    )
    parts += [
        html_page.heading(words(report_messages.ALL_FIGURES)),
        html_page.table(figure_rows(record, words, is_all=False), headings, is_figures=True),
        *_missing_parts(record, words),
        html_page.heading(words(report_messages.CONDITIONS)),
        html_page.table(condition_rows(record, words)),
        html_page.heading(words(report_messages.DEVICE)),
        html_page.table(device_rows(record.device, words)),
    ]
    if record.complaints:
        parts.append(html_page.heading(words(report_messages.COMPLAINTS)))
        parts += [html_page.paragraph(complaint, "quiet") for complaint in record.complaints]
    title = words(report_messages.TITLE, model=record.model.name)
    return html_page.render(title, language_of(words), parts)


def _missing_parts(record: Record, words: Words) -> list[str]:
    rows = missing_rows(record, words)
    if not rows:
        return []
    return [html_page.heading(words(report_messages.NOT_MEASURED)), html_page.table(rows)]


def _made(record: Record, words: Words) -> str:
    return words(
        report_messages.MADE,
        created=made_at(record),
        version=record.program_version,
        device=device_name(record.device),
    )


def made_at(record: Record) -> str:
    return record.created.replace("T", " ").replace("+00:00", " UTC")


def language_of(words: Words) -> str:
    return "zh-Hans" if words.language == "zh" else "en"


def _card_keys(record: Record) -> list[Key]:
    keys: list[Key] = ["load", "short_answer", "decode", "saved", "added_power"]
    hot: list[Key] = [kind for kind in ("skin", "battery", "soc") if record.heat_of(kind) is not None]
    return keys + (["sustained"] if record.sustained is not None else []) + (hot or ["soc"])


def _card(key: Key, record: Record, words: Words) -> Card:
    one = figure(key)
    value, claim = one.get(record), claim_of(one, words)
    if value is None:
        text = None
    elif key == "saved":
        text = f"{-value:+.1%}".replace("-", "−")
    elif key == "added_power":
        text = f"{value:+.2f} W".replace("-", "−")
    else:
        text = amount(one, value, words)
    if key == "saved":
        claim = f"−{claim}"
    note = words(report_messages.CLAIM, value=claim) if claim else ""
    return Card(words(report_messages.CARDS[key]), text, missing(key, record, words) if text is None else "", note)


def _sustained_parts(record: Record, words: Words) -> list[str]:
    parts = [html_page.heading(words(report_messages.SUSTAINED))]
    sustained = record.sustained
    if sustained is None:
        ended = record.conditions.sustained_s > 0
        text = missing("sustained", record, words) if ended else words(report_messages.NO_SUSTAINED)
        return [*parts, html_page.paragraph(text, "quiet")]
    note = words(
        report_messages.SUSTAINED_NOTE,
        minutes=sustained.measured_s / 60,
        tokens=sustained.num_tokens,
        interval=interval_of(sustained.samples),
    )
    return [*parts, html_page.paragraph(note, "quiet"), html_page.charts(sustained_charts([("", sustained)], words))]


def sustained_charts(runs: Sequence[tuple[str, Sustained]], words: Words) -> list[tuple[str, str, str]]:
    """runs: a name ("" for a report alone) and what was measured. Charts that nobody has values for are left out."""
    x, scale = _time_axis(max(sustained.measured_s for _, sustained in runs), words)
    charts: list[tuple[str, str, str]] = []
    for heading, from_zero, columns in _COLUMNS:
        lines = [
            Line(
                _line_name(name, message, words),
                averaged(sustained.samples, column(sustained.samples), scale),
                colour if len(columns) > 1 else number,
                dashed=number > 0,
            )
            for number, (name, sustained) in enumerate(runs)
            for colour, (message, column) in enumerate(columns)
        ]
        lines = [line for line in lines if any(y is not None for _, y in line.points)]
        if lines:
            y = round_axis((y for line in lines for _, y in line.points if y is not None), from_zero=from_zero)
            is_alone = heading is report_messages.CHART_DUTY and all(line.colour == 0 for line in lines)
            title = words(report_messages.CHART_DUTY_ALONE if is_alone else heading)
            name = "" if is_alone else _single_name(lines)
            charts.append((title, name, line_chart(title, lines, x, y)))
    return charts


def _line_name(name: str, message: Message | None, words: Words) -> str:
    return ", ".join(part for part in (name, words(message) if message else "") if part)


def _single_name(lines: Sequence[Line]) -> str:
    """A chart of one line has no legend."""
    return lines[0].name if len(lines) == 1 else ""


def _time_axis(measured_s: float, words: Words) -> tuple[Axis, float]:
    """And how many seconds its unit has. A load ends with a pass, a little later than asked for: within 0.4 %
    that is not shown."""
    scale = 1.0 if measured_s < _LONG_S else 60.0
    unit = words(report_messages.SECONDS if scale == 1.0 else report_messages.MINUTES)
    return time_axis(measured_s / scale / _LATE, unit), scale


def _scaled(values: Sequence[float | None], factor: float) -> list[float | None]:
    return [None if value is None else value * factor for value in values]


_COLUMNS: tuple[tuple[Message, bool, tuple[tuple[Message | None, Column], ...]], ...] = (
    (report_messages.CHART_SPEED, True, ((None, lambda samples: samples.tokens_per_s),)),
    (
        report_messages.CHART_HEAT,
        False,
        (
            (report_messages.LINE_SKIN, lambda samples: samples.skin_c),
            (report_messages.LINE_BATTERY, lambda samples: samples.battery_c),
            (report_messages.LINE_SOC, lambda samples: samples.soc_c),
        ),
    ),
    (report_messages.CHART_POWER, True, ((None, lambda samples: samples.power_w),)),
    (report_messages.CHART_FREQUENCY, True, ((None, lambda samples: _scaled(samples.frequency_hz, 1e-9)),)),
    (
        report_messages.CHART_DUTY,
        True,
        (
            (report_messages.LINE_DUTY, lambda samples: _scaled(samples.duty, 100)),
            (report_messages.LINE_HEAT_SHARE, lambda samples: _scaled(samples.heat_share, 100)),
        ),
    ),
)
