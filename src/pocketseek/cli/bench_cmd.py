"""`pocketseek bench [MODEL]`: speed and memory of one model on this machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.console import format_bytes, print_json, print_table, progress_bar
from pocketseek.cli.load_bench_run import run_load_bench
from pocketseek.cli.messages import Words
from pocketseek.cli.model_choice import choose_model
from pocketseek.errors import UsageError
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.apps.bench import BenchReport


def bench(
    model: options.OptionalModelName = None,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Length of the prompt.")] = 512,
    new_tokens: Annotated[int, typer.Option(min=2, help="Length of the answer.")] = 128,
    concurrency: Annotated[int, typer.Option(min=1, help="Sequences (with --profile: clients) at the same time.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Measured runs; the median counts.")] = 3,
    profile: Annotated[
        Literal["chat", "doc", "mixed"] | None,
        typer.Option(help="Simulate clients that keep asking, instead.", show_default=False),
    ] = None,
    seconds: Annotated[float, typer.Option(help="With --profile: how long.")] = 20.0,
    report: Annotated[
        Path | None, typer.Option(help="With --profile: write a page with charts (HTML) here.", show_default=False)
    ] = None,
    kv: options.Kv = None,
    speculation: options.Speculation = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Measure load time, time to first token, prefill and decode rates, and memory; or how it behaves under load.

    Without speculation unless asked for: the made-up prompts are answered with loops, which are guessed too well.
    """
    from pocketseek.apps.bench import bench_model
    from pocketseek.kernels.kv_memory import choose_kv_format
    from pocketseek.runtime.load import load

    if report is not None and profile is None:
        raise UsageError("--report is for the load benchmark; give a --profile as well")
    settings = read_settings()
    words = Words(settings.language)
    name, path = choose_model(settings, model, yes=yes)
    if profile is not None:
        run_load_bench(
            name,
            path,
            words,
            concurrency=concurrency,
            profile=profile,
            seconds=seconds,
            page=report,
            as_json=json,
        )
        return
    with progress_bar(unit="runs") as show:
        label = words(messages.MEASURING)
        measured = bench_model(
            lambda: load(path, kv=kv, prefix_cache=False, speculation=speculation),
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            concurrency=concurrency,
            repeats=repeats,
            progress=lambda done, total: show(label, done, total),
        )
    if json:
        print_json({"model": name, "kv": choose_kv_format(kv or settings.kv), **dataclasses.asdict(measured)})
    else:
        print_table((name, ""), _rows(measured, words))


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
