"""`pocketseek device --models` and `--measure`: what this machine reaches, and which models that is enough for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pocketseek.cli import verdict_messages as said
from pocketseek.cli.console import format_bytes, print_json, print_table, print_text, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.device.probe import check_device
from pocketseek.settings import Settings

if TYPE_CHECKING:
    from pocketseek.govern.model_verdict import MachineFigures, ModelVerdict

_BITS = {"q4": "4", "q8": "8"}


def show_verdict(settings: Settings, *, measure: bool, as_json: bool) -> None:
    """Raises what measuring raises."""
    from pocketseek.apps.judge_device import judge_device
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
        figures = known_figures(settings, facts)
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
        print_table(("", ""), _figure_rows(figures, words))
    _print_models(verdicts, choice, figures, words)


def _facts(verdict: ModelVerdict) -> dict[str, object]:
    """Flat, for programs."""
    value = asdict(verdict)
    needs = value.pop("needs")
    return {**needs, **value}


def _figure_rows(figures: MachineFigures, words: Words) -> list[tuple[str, str]]:
    rows = [
        (words(said.FIGURE_MEMORY), words(said.GIGABYTES, value=figures.read_bandwidth_bytes_per_s / 1e9)),
        (
            words(said.FIGURE_INT8),
            words(
                said.GIGA_OPERATIONS,
                value=figures.int8_multiply_adds_per_s / 1e9,
                kernels=figures.kernels,
                threads=figures.num_threads,
            ),
        ),
    ]
    rates = ", ".join(f"{rate / 1e9:.2g} ({size >> 10} KiB)" for size, rate in figures.flash)
    rows.append((words(said.FIGURE_FLASH), f"{rates} GB/s"))
    if figures.streaming_bytes_per_s:
        rows.append((words(said.FIGURE_STREAMING), words(said.GIGABYTES, value=figures.streaming_bytes_per_s / 1e9)))
    return rows


def _print_models(
    verdicts: Sequence[ModelVerdict], choice: ModelVerdict | None, figures: MachineFigures | None, words: Words
) -> None:
    from pocketseek.govern.model_verdict import TYPICAL_TOKENS

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
    print_text(words(said.EXPLAINED, tokens=TYPICAL_TOKENS) if figures else words(said.NOT_MEASURED))
    print_text(words(said.NOTHING_FITS) if choice is None else _advice(choice, words))


def _row(verdict: ModelVerdict, words: Words) -> tuple[str, ...]:
    needs = verdict.needs
    fits = words(
        said.FITS[verdict.fit],
        memory=format_bytes(verdict.least_memory_bytes),
        storage=format_bytes(verdict.storage_bytes),
    )

    def rate(value: float | None) -> str:
        return "" if value is None else words(said.TOKENS_PER_S, rate=value)

    load = "" if verdict.load_s is None else words(said.SECONDS, seconds=verdict.load_s)
    context = "" if verdict.context_tokens is None else f"{verdict.context_tokens}"
    size = format_bytes(needs.package_bytes)
    name = f"{needs.name} *" if needs.is_installed else needs.name
    bits = _BITS.get(needs.quant, needs.quant)
    speeds = (rate(verdict.decode_tokens_per_s), rate(verdict.prefill_tokens_per_s))
    return (name, bits, fits, *speeds, load, context, size)


def _advice(choice: ModelVerdict, words: Words) -> str:
    from pocketseek.govern.model_verdict import PLEASANT_TOKENS_PER_S, USABLE_TOKENS_PER_S

    rate = choice.decode_tokens_per_s
    if rate is None:
        reason = words(said.REASON_UNMEASURED)
    elif rate >= PLEASANT_TOKENS_PER_S:
        reason = words(said.REASON_FAST, rate=rate)
    else:
        usable = rate >= USABLE_TOKENS_PER_S
        reason = words(said.REASON_USABLE if usable else said.REASON_FASTEST, rate=rate)
    bits = _BITS.get(choice.needs.quant, choice.needs.quant)
    return words(said.RECOMMENDED, model=choice.needs.name, bits=bits, reason=reason)
