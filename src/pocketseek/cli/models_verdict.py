"""`pocketseek device --models` and `--measure`: what this machine reaches, and which models that is enough for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pocketseek.cli import verdict_messages as said
from pocketseek.cli.console import format_bytes, print_facts, print_json, print_table, print_text, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.device.probe import check_device
from pocketseek.settings import Settings

if TYPE_CHECKING:
    from pocketseek.govern.expected_speed import MachineFigures
    from pocketseek.govern.model_verdict import ModelVerdict

_BITS = {"q4": "4", "q8": "8"}


def show_verdict(settings: Settings, *, measure: bool, as_json: bool) -> None:
    """Raises what measuring raises."""
    from pocketseek.apps.judge_device import is_usual, judge_device, published_figures
    from pocketseek.apps.measure_device import known_figures, measure_device

    words = Words(settings.language)
    facts = check_device(data_dir=settings.home)
    if measure:
        with progress_bar(unit="steps") as show:
            label = words(said.MEASURING_DEVICE)
            figures: MachineFigures | None = measure_device(
                settings, facts, progress=lambda done, total: show(label, done, total)
            )
    else:
        figures = known_figures(settings, facts) or published_figures(settings, facts)
    verdicts, choice = judge_device(settings, facts, figures)
    if as_json:
        print_json(
            {
                "figures": None if figures is None else asdict(figures),
                "models": [_facts(one) for one in verdicts],
                "recommended": None if choice is None else {"name": choice.needs.name, "quant": choice.needs.quant},
            }
        )
        return
    if figures is not None and measure:
        print_facts(_figure_rows(figures, words))
    shown = _worth_a_row([one for one in verdicts if is_usual(one)])
    _print_models(shown, choice, figures, words)


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


def _print_models(
    verdicts: Sequence[ModelVerdict], choice: ModelVerdict | None, figures: MachineFigures | None, words: Words
) -> None:

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
    print_text(words(said.NOTHING_FITS) if choice is None else _advice(choice, words))


def _remarks(verdicts: Sequence[ModelVerdict], figures: MachineFigures | None, words: Words) -> list[str]:
    from pocketseek.govern.model_verdict import PROMPT_TOKENS

    lines = []
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
    bits = _BITS.get(needs.quant, needs.quant)
    speeds = (rate(verdict.decode_tokens_per_s), rate(verdict.prefill_tokens_per_s))
    return (name, bits, fits, *speeds, load, context, size)


def _figures(value: float) -> str:
    """Two figures that count, never as a power of ten."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _advice(choice: ModelVerdict, words: Words) -> str:
    from pocketseek.govern.model_verdict import PLEASANT_TOKENS_PER_S, USABLE_TOKENS_PER_S

    rate = choice.decode_tokens_per_s
    if rate is None:
        reason = words(said.REASON_UNMEASURED)
    elif choice.is_estimate:
        reason = words(said.REASON_ESTIMATED, rate=_figures(rate))
    elif rate >= PLEASANT_TOKENS_PER_S:
        reason = words(said.REASON_FAST, rate=_figures(rate))
    else:
        usable = rate >= USABLE_TOKENS_PER_S
        reason = words(said.REASON_USABLE if usable else said.REASON_FASTEST, rate=_figures(rate))
    bits = _BITS.get(choice.needs.quant, choice.needs.quant)
    lines = [words(said.RECOMMENDED, model=choice.needs.name, bits=bits, reason=reason)]
    if choice.conversion_bytes is not None and not choice.needs.is_installed:
        size, conversion = format_bytes(choice.storage_bytes), format_bytes(choice.conversion_bytes)
        lines.append(words(said.STORAGE, storage=size, conversion=conversion))
    return "\n".join(lines)
