"""Figures of a report in words: values with their units, claims, and why something was not measured."""

from __future__ import annotations

from collections.abc import Iterable

from pocketseek.apps.report.claims import REFERENCE
from pocketseek.apps.report.figures import FIGURES, Figure, Gap, Key, gap_of
from pocketseek.apps.report.record import Conditions, DeviceSeen, Record
from pocketseek.cli import messages
from pocketseek.cli.bench import bench_messages, report_messages
from pocketseek.cli.console import format_bytes
from pocketseek.cli.messages import Words


def figure_rows(record: Record, words: Words, *, is_all: bool = True) -> list[tuple[str, str, str]]:
    """Label, value and claim of all that there is to say; or only of what was measured."""
    return [
        (label(figure.key, record, words), value_of(figure, record, words), claim_of(figure, words))
        for figure in FIGURES
        if is_all or figure.get(record) is not None
    ]


def missing_rows(record: Record, words: Words) -> list[tuple[str, str]]:
    """What was not measured: a reason, and all figures that it holds for."""
    found: dict[Gap, list[str]] = {}
    for figure in FIGURES:
        if figure.get(record) is None:
            found.setdefault(gap_of(record, figure.key), []).append(label(figure.key, record, words))
    separator = words(report_messages.LIST_SEPARATOR)
    return [(words(report_messages.GAPS[gap]), separator.join(labels)) for gap, labels in found.items()]


def value_of(figure: Figure, record: Record, words: Words) -> str:
    """Figures of which nothing is known say why."""
    value = figure.get(record)
    return missing(figure.key, record, words) if value is None else amount(figure, value, words)


def missing(key: Key, record: Record, words: Words) -> str:
    return words(report_messages.NOT_MEASURED_WHY, why=words(report_messages.GAPS[gap_of(record, key)]))


def amount(figure: Figure, value: float, words: Words) -> str:
    if figure.unit == "seconds" and value < 1:
        return words(report_messages.MILLISECONDS, value=value * 1000)
    if figure.unit == "seconds":
        return f"{value:.{2 if value < 10 else 1}f} {words(report_messages.SECONDS)}"
    if figure.unit == "tokens/s":
        return words(bench_messages.RATE, rate=value)
    if figure.unit == "bytes":
        return format_bytes(round(value))
    if figure.unit == "share":
        return f"{value:.1%}"
    if figure.unit == "tokens/J":
        return words(report_messages.RATE_PER_JOULE, value=value)
    return f"{value:.1f} °C" if figure.unit == "celsius" else f"{value:.2f} W"


def claim_of(figure: Figure, words: Words) -> str:
    """What the other system says of the same; "" if nothing. It does not say which sensors its two temperatures are."""
    if figure.key == "soc":
        return words(report_messages.HEAT_CLAIM, cpu=REFERENCE.cpu_c, gpu=REFERENCE.gpu_c)
    if figure.claim is None:
        return ""
    if figure.unit == "share":
        return f"{figure.claim:.0%}"
    if figure.unit == "seconds" and figure.claim >= 1:
        return f"{figure.claim:g} {words(report_messages.SECONDS)}"
    return f"{figure.claim:+g} W" if figure.unit == "watts" else amount(figure, figure.claim, words)


def label(key: Key, record: Record, words: Words, other: Record | None = None) -> str:
    """other: one that is shown beside it; where the two differ, the label has both values."""
    records = (record,) if other is None else (record, other)
    return words(
        report_messages.FIGURES[key],
        prompt=_both(str(one.conditions.prompt_tokens) for one in records),
        new=_both(str(one.conditions.new_tokens) for one in records),
        f16=_both(format_bytes(one.model.f16_bytes) for one in records),
        source=_both(_power_source(one, words) for one in records),
        cached=_both("" if one.conditions.from_storage else words(report_messages.PERHAPS_CACHED) for one in records),
    )


def _both(values: Iterable[str]) -> str:
    """ "512 / 64"; of a remark that only one of them has, that one."""
    return " / ".join(value for value in dict.fromkeys(values) if value)


def _power_source(record: Record, words: Words) -> str:
    if record.power is None:
        return ""
    return words(report_messages.OF_BATTERY if record.power.source == "battery" else report_messages.OF_PROCESSOR)


def device_name(device: DeviceSeen) -> str:
    names = (device.phone_model, device.soc_model if device.phone_model else None, None)
    known = [name for name in names if name]
    return ", ".join(known) or device.cpu_model or device.architecture


def device_rows(device: DeviceSeen, words: Words) -> list[tuple[str, str]]:
    android = f"Android {device.android_version}" if device.android_version else None
    kernel = f"Linux {device.kernel_release}" if device.kernel_release else None
    unknown = words(messages.UNKNOWN)
    rows = (
        (report_messages.DEVICE_PHONE, device.phone_model),
        (report_messages.DEVICE_CHIP, device.soc_model),
        (report_messages.DEVICE_PROCESSOR, f"{device.cpu_model or unknown} ({device.architecture})"),
        (report_messages.DEVICE_CORES, str(device.num_usable_cores or unknown)),
        (report_messages.DEVICE_MEMORY, format_bytes(device.memory_total_bytes, unknown)),
        (report_messages.DEVICE_SYSTEM, ", ".join(part for part in (android, device.os_name, kernel) if part) or None),
    )
    return [(words(name), value) for name, value in rows if value is not None]


def _heat_limit(conditions: Conditions, words: Words) -> str:
    limit_c = conditions.temperature_limit_c
    if limit_c is None:
        return words(report_messages.CONDITION_HEAT_NONE)
    return words(report_messages.CONDITION_HEAT_VALUE, limit=f"{limit_c:g}")


def condition_rows(record: Record, words: Words) -> list[tuple[str, str]]:
    conditions, model = record.conditions, record.model
    runs = words(
        report_messages.CONDITION_RUNS_VALUE,
        short=record.short_answer.count if record.short_answer else 0,
        repeats=conditions.repeats,
    )
    loaded = report_messages.LOADED_STORAGE if conditions.from_storage else report_messages.LOADED_CACHE
    limit_bytes = conditions.memory_limit_bytes
    parameters = words(report_messages.CONDITION_MODEL_VALUE, name=model.name, parameters=model.num_parameters / 1e9)
    rows = [
        (report_messages.CONDITION_MODEL, parameters),
        (report_messages.CONDITION_KERNELS, f"{conditions.kernels}, {conditions.kv}"),
        (report_messages.CONDITION_RUNS, runs),
        (report_messages.CONDITION_THREADS, str(conditions.num_threads or words(messages.UNKNOWN))),
        (report_messages.CONDITION_HEAT, _heat_limit(conditions, words)),
        (report_messages.CONDITION_SEQUENCES, str(conditions.concurrency)),
        (report_messages.CONDITION_REST, f"{conditions.idle_s:g}"),
        (report_messages.CONDITION_LOADED, words(loaded)),
    ]
    if limit_bytes is not None:
        rows.append((report_messages.CONDITION_MEMORY, format_bytes(limit_bytes)))
    return [(words(name), value) for name, value in rows]
