"""`pocketseek bench [MODEL]`: speed and memory of one model on this machine."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.console import format_bytes, print_json, print_table, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.cli.model_choice import choose_model
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.apps.bench import BenchReport


def bench(
    model: options.OptionalModelName = None,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Length of the prompt.")] = 512,
    new_tokens: Annotated[int, typer.Option(min=2, help="Length of the answer.")] = 128,
    concurrency: Annotated[int, typer.Option(min=1, help="Sequences at the same time.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Measured runs; the median counts.")] = 3,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Measure load time, time to first token, prefill and decode rates, and memory."""
    from pocketseek.apps.bench import bench_model
    from pocketseek.runtime.load import load

    settings = read_settings()
    words = Words(settings.language)
    name, path = choose_model(settings, model, yes=yes)
    with progress_bar(unit="runs") as show:
        label = words(messages.MEASURING)
        report = bench_model(
            lambda: load(path),
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            concurrency=concurrency,
            repeats=repeats,
            progress=lambda done, total: show(label, done, total),
        )
    if json:
        print_json({"model": name, **dataclasses.asdict(report)})
    else:
        print_table((name, ""), _rows(report, words))


def _rows(report: BenchReport, words: Words) -> list[tuple[str, str]]:
    def seconds(value: float) -> str:
        return words(messages.BENCH_SECONDS, seconds=value)

    def rate(value: float) -> str:
        return words(messages.BENCH_RATE, rate=value)

    return [
        (words(messages.BENCH_LOAD), seconds(report.load_s)),
        (words(messages.BENCH_LOAD_TO_FIRST), seconds(report.load_to_first_token_s)),
        (words(messages.BENCH_FIRST_TOKEN, tokens=report.prompt_tokens), seconds(report.first_token_s)),
        (words(messages.BENCH_PREFILL, tokens=report.prompt_tokens), rate(report.prefill_tokens_per_s)),
        (words(messages.BENCH_DECODE, tokens=report.new_tokens), rate(report.decode_tokens_per_s)),
        (words(messages.BENCH_RSS), format_bytes(report.peak_rss_bytes)),
        (words(messages.BENCH_ANONYMOUS), format_bytes(report.peak_anonymous_bytes)),
    ]
