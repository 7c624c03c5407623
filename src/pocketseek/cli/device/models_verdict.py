"""`pocketseek device --models` and `--measure`: what this machine reaches, and which models that is enough for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pocketseek.cli.console import (
    format_bytes,
    note,
    print_exact,
    print_facts,
    print_json,
    print_table,
    print_text,
    progress_bar,
)
from pocketseek.cli.device import verdict_messages as said
from pocketseek.cli.messages import Words
from pocketseek.device.probe import check_device
from pocketseek.settings import Settings

if TYPE_CHECKING:
    from pocketseek.errors import StorageError
    from pocketseek.govern.expected_speed import MachineFigures
    from pocketseek.govern.model_verdict import ModelNeeds, ModelVerdict

_BITS = {"q4": "4", "q8": "8"}


def show_verdict(settings: Settings, *, measure: bool, as_json: bool) -> None:
    """Raises what measuring raises."""
    from pocketseek.apps.judge_device import is_usual, judge_device, published_figures
    from pocketseek.apps.measure_device import known_figures, measure_device

    words = Words(settings.language)
    facts = check_device(data_dir=settings.home)
    failed: list[StorageError] = []
    if measure:
        with progress_bar(unit="steps") as show:
            label = words(said.MEASURING_DEVICE)
            figures: MachineFigures | None = measure_device(
                settings, facts, progress=lambda done, total: show(label, done, total), storage_failed=failed.append
            )
    else:
        figures = known_figures(settings, facts) or published_figures(settings, facts)
    for error in failed:
        note(words(said.NO_STORAGE_FIGURES, why=error))
    verdicts, choice = judge_device(settings, facts, figures)
    if as_json:
        print_json(
            {
                "figures": None if figures is None else asdict(figures),
                "storage_problem": str(failed[0]) if failed else None,
                "models": [_facts(one) for one in verdicts],
                "recommended": None if choice is None else _recommended(choice, facts.storage_free_bytes, words),
                "not_recommended": _why_none(verdicts, words) if choice is None else None,
            }
        )
        return
    if figures is not None and measure:
        print_facts(_figure_rows(figures, words))
    shown = _worth_a_row([one for one in verdicts if is_usual(one)])
    _print_models(shown, figures, words)
    if choice is None:
        print_text(_why_none(verdicts, words)["text"])
        return
    for line in _advice(choice, facts.storage_free_bytes, words):
        print_text(line)
    if not choice.needs.is_installed and not _is_demo(choice.needs):  # in one line, so that it can be copied
        print_exact(f"    pocketseek pull {choice.needs.name} --quant {choice.needs.quant}")


def _worth_a_row(verdicts: Sequence[ModelVerdict]) -> list[ModelVerdict]:
    """Each model once, and in more bits as well if it runs in fewer."""
    shown: list[ModelVerdict] = []
    for one in verdicts:
        if not shown or shown[-1].needs.name != one.needs.name or shown[-1].runs:
            shown.append(one)
    return shown


def _facts(verdict: ModelVerdict) -> dict[str, object]:
    """Flat, for programs."""
    value = asdict(verdict)
    needs = value.pop("needs")
    pairs = {name: dict(needs[name]) for name in ("multiply_adds", "page_bytes")}
    return {**needs, **value, **pairs, "contexts": dict(verdict.contexts)}


def _recommended(choice: ModelVerdict, free_bytes: int | None, words: Words) -> dict[str, object]:
    from pocketseek.govern.model_verdict import why_recommended

    lines = _advice(choice, free_bytes, words)
    codes = (why_recommended(choice), "convert elsewhere" if _is_short(choice, free_bytes) else "storage")
    told = [{"code": code, "text": text} for code, text in zip(codes, lines[:-1], strict=False)]  # the last is how
    return {"name": choice.needs.name, "quant": choice.needs.quant, "reasons": told}


def _why_none(verdicts: Sequence[ModelVerdict], words: Words) -> dict[str, str]:
    from pocketseek.govern.model_verdict import why_none

    code = why_none(verdicts)
    return {"code": code, "text": words(said.WHY_NONE[code])}


def _is_short(choice: ModelVerdict, free_bytes: int | None) -> bool:
    """Too little storage to convert it here."""
    return free_bytes is not None and (choice.conversion_bytes or 0) > free_bytes


def _figure_rows(figures: MachineFigures, words: Words) -> list[tuple[str, str]]:
    rows = [
        (words(said.FIGURE_MEMORY), words(said.GIGABYTES, value=figures.read_bandwidth_bytes_per_s / 1e9)),
        (
            words(said.FIGURE_INT8),
            words(
                said.GIGA_OPERATIONS,
                value=(figures.int8_multiply_adds_per_s or 0.0) / 1e9,
                kernels=figures.kernels,
                threads=figures.num_threads,
            ),
        ),
    ]
    for label, rates in ((said.FIGURE_FLASH, figures.flash), (said.FIGURE_DIRECT, figures.direct)):
        if rates:
            rows.append((words(label), _rates(rates)))
    if figures.streaming_bytes_per_s:
        rows.append((words(said.FIGURE_STREAMING), words(said.GIGABYTES, value=figures.streaming_bytes_per_s / 1e9)))
    if figures.long_read_bytes_per_s:
        rows.append((words(said.FIGURE_LONG_READ), words(said.GIGABYTES, value=figures.long_read_bytes_per_s / 1e9)))
    return rows


def _rates(rates: Sequence[tuple[int, float]]) -> str:
    names = (f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB" for size, _ in rates)
    return ", ".join(f"{rate / 1e9:.2g} ({name})" for name, (_, rate) in zip(names, rates, strict=True)) + " GB/s"


def _print_models(verdicts: Sequence[ModelVerdict], figures: MachineFigures | None, words: Words) -> None:
    columns = (
        said.COLUMN_MODEL,
        said.COLUMN_BITS,
        said.COLUMN_FITS,
        said.COLUMN_WRITES,
        said.COLUMN_READS,
        said.COLUMN_LOAD,
        said.COLUMN_CONTEXT,
        said.COLUMN_SIZE,
    )
    print_table([words(column) for column in columns], [_row(one, words) for one in verdicts], essential=(0, 1, 2, 3))
    for line in _remarks(verdicts, figures, words):
        print_text(line)


def _remarks(verdicts: Sequence[ModelVerdict], figures: MachineFigures | None, words: Words) -> list[str]:
    from pocketseek.govern.model_verdict import PROMPT_TOKENS

    lines = [words(said.INSTALLED)] if any(one.needs.is_installed for one in verdicts) else []
    if figures is None:
        lines.append(words(said.NOT_MEASURED))
    elif figures.is_estimate:
        lines.append(words(said.ESTIMATED, value=figures.read_bandwidth_bytes_per_s / 1e9))
    else:
        lines.append(words(said.EXPLAINED, tokens=PROMPT_TOKENS))
    if any(one.slow_storage and not one.needs.is_installed for one in verdicts):
        lines.append(words(said.SLOW_STORAGE))
    return lines


def _row(verdict: ModelVerdict, words: Words) -> tuple[str, ...]:
    needs = verdict.needs
    fits = words(
        said.FITS[verdict.fit],
        memory=format_bytes(verdict.least_memory_bytes),
        storage=format_bytes(verdict.storage_bytes),
    )

    def rate(value: float | None) -> str:
        if value is None:
            return ""
        return words(said.AT_MOST_TOKENS_PER_S if verdict.is_estimate else said.TOKENS_PER_S, rate=_figures(value))

    load = "" if verdict.load_s is None else words(said.SECONDS, seconds=verdict.load_s)
    context = "" if verdict.context_tokens is None else f"{verdict.context_tokens}"
    size = format_bytes(needs.package_bytes)
    name = f"{needs.name} *" if needs.is_installed else needs.name
    bits = _bits(needs)
    speeds = (rate(verdict.decode_tokens_per_s), rate(verdict.prefill_tokens_per_s))
    return (name, bits, fits, *speeds, load, context, size)


def _figures(value: float) -> str:
    """Two figures that count, never as a power of ten."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _bits(needs: ModelNeeds) -> str:
    """Of a weight; of what was converted in another way, all of its package per weight."""
    return _BITS.get(needs.quant) or f"{8 * needs.package_bytes / needs.parameters:.1f}"


def _advice(choice: ModelVerdict, free_bytes: int | None, words: Words) -> list[str]:
    """What to take and why, what it takes, and how one gets it."""
    name, bits, rate = choice.needs.name, _bits(choice.needs), choice.decode_tokens_per_s
    if rate is None:
        lines = [words(said.UNMEASURED, model=name, bits=bits)]
    else:
        lines = [words(said.RECOMMENDED, model=name, bits=bits, reason=_reason(choice, rate, words))]
    if not choice.needs.is_installed and choice.conversion_bytes is not None:
        sizes = (choice.storage_bytes, choice.conversion_bytes, free_bytes)
        storage, conversion, free = (format_bytes(size) for size in sizes)
        message = said.STORAGE_SHORT if _is_short(choice, free_bytes) else said.STORAGE
        lines.append(words(message, storage=storage, conversion=conversion, free=free))
    return [*lines, _start(choice.needs, words)]


def _reason(choice: ModelVerdict, rate: float, words: Words) -> str:
    from pocketseek.govern.model_verdict import why_recommended

    return words(said.WHY[why_recommended(choice)], rate=_figures(rate))


def _start(needs: ModelNeeds, words: Words) -> str:
    from pocketseek.apps.catalogue import catalogue

    if needs.is_installed:
        return words(said.START_INSTALLED, model=needs.name)
    if _is_demo(needs):
        return words(said.START_DEMO)
    repository = next(model.repository for model in catalogue() if model.name == needs.name)
    return words(said.START_PULL, repository=repository)


def _is_demo(needs: ModelNeeds) -> bool:
    from pocketseek.apps.demo_model import DEMO_NAME

    return needs.name == DEMO_NAME
