"""`pocketseek bench [MODEL]`: speed and memory of one model on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.console import format_bytes, print_json, print_table, progress_bar
from pocketseek.cli.load_bench_run import run_load_bench
from pocketseek.cli.memory_limit import MemoryLimit, run_limited
from pocketseek.cli.messages import Words
from pocketseek.cli.min_speed import Chosen, choose_for_speed, fallback_facts
from pocketseek.cli.model_choice import choose_model
from pocketseek.cli.sizes import parse_size
from pocketseek.errors import UsageError
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.apps.bench import BenchReport
    from pocketseek.runtime.engine import Engine
    from pocketseek.runtime.speed_plan import SpeedNeed


def bench(
    context: typer.Context,
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
    memory: Annotated[
        int | None,
        typer.Option(
            parser=parse_size,
            metavar="SIZE",
            help="Measure inside so much memory (600MB), enforced by the kernel where that is allowed.",
            show_default=False,
        ),
    ] = None,
    drop_caches: Annotated[
        bool,
        typer.Option("--drop-caches", help="Begin without the model's files in the page cache (as --memory does)."),
    ] = False,
    min_speed: options.MinSpeed = None,
    memory_group: Annotated[Path | None, typer.Option(hidden=True)] = None,
    kv: options.Kv = None,
    speculation: options.Speculation = False,
    temperature_limit: options.TemperatureLimit = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Measure load time, time to first token, prefill and decode rates, and memory; or how it behaves under load.

    Without speculation unless asked for: the made-up prompts are answered with loops, which are guessed too well.
    """
    from pocketseek.apps.load_bench import LONGEST_REQUEST_TOKENS
    from pocketseek.apps.page_cache import drop_cached_pages
    from pocketseek.runtime.load import load

    if report is not None and profile is None:
        raise UsageError("--report is for the load benchmark; give a --profile as well")
    settings = read_settings()
    words = Words(settings.language)
    name, path = choose_model(settings, model, yes=yes)
    if memory is not None and memory_group is None:
        code = run_limited(memory, ["bench", *_again(context, name)], words)
        if code is not None:
            raise typer.Exit(code)
    limit = None if memory is None else MemoryLimit(memory, memory_group)
    chosen = choose_for_speed(
        settings,
        name,
        path,
        min_speed=min_speed,
        kv=kv,
        memory_bytes=memory,
        need=lambda _: _need(concurrency, prompt_tokens + new_tokens if profile is None else LONGEST_REQUEST_TOKENS),
        quiet=json,
    )
    if drop_caches or limit is not None:  # pages that somebody else has read cost a group nothing
        drop_cached_pages(chosen.path)
    if profile is not None:
        run_load_bench(
            chosen,
            words,
            concurrency=concurrency,
            profile=profile,
            seconds=seconds,
            page=report,
            speculation=speculation,
            temperature_limit_c=temperature_limit,
            limit=limit,
            as_json=json,
        )
        return
    measured = _measure(
        lambda: load(
            chosen.path,
            kv=chosen.kv,
            kv_bytes=chosen.kv_bytes,
            memory_bytes=memory,
            prefix_cache=False,
            speculation=speculation,
            temperature_limit_c=temperature_limit,
        ),
        chosen.path,
        words,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        concurrency=concurrency,
        repeats=repeats,
    )
    if json:
        _print_json(chosen, chosen.kv or settings.kv, limit, measured)
    else:
        print_table((chosen.name, ""), [*_rows(measured, words), *(limit.rows(words) if limit else [])])
    if chosen.floor is not None:
        chosen.floor.tell_measured(measured.decode_tokens_per_s / concurrency)


def _need(num_sequences: int, num_tokens: int) -> SpeedNeed:
    """What is measured is not cut."""
    from pocketseek.runtime.speed_plan import SpeedNeed

    return SpeedNeed(num_sequences * num_tokens, num_sequences, num_sequences * num_tokens)


def _again(context: typer.Context, name: str) -> list[str]:
    """The arguments that mean the same once more, the model chosen."""
    arguments: list[str] = []
    for option in context.command.params:
        value = context.params.get(option.name or "")
        if option.param_type_name != "option" or value is None:
            continue
        if isinstance(value, bool):
            arguments += option.opts[:1] if value else option.secondary_opts[:1]
        else:
            arguments += [option.opts[0], str(value)]
    return [*arguments, "--", name]


def _measure(
    open_engine: Callable[[], Engine],
    path: Path,
    words: Words,
    *,
    prompt_tokens: int,
    new_tokens: int,
    concurrency: int,
    repeats: int,
) -> BenchReport:
    from pocketseek.apps.bench import bench_model
    from pocketseek.apps.energy import model_work
    from pocketseek.package.manifest import read_manifest

    with progress_bar(unit="runs") as show:
        label = words(messages.MEASURING)
        return bench_model(
            open_engine,
            model_work(read_manifest(path)),
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            concurrency=concurrency,
            repeats=repeats,
            progress=lambda done, total: show(label, done, total),
        )


def _print_json(chosen: Chosen, kv: str | None, limit: MemoryLimit | None, report: BenchReport) -> None:
    from pocketseek.kernels.kv_memory import choose_kv_format

    memory = None if limit is None else limit.facts()
    facts = {"model": chosen.name, "kv": choose_kv_format(kv), "memory": memory}
    print_json({**facts, **fallback_facts(chosen), **dataclasses.asdict(report)})


def _rows(report: BenchReport, words: Words) -> list[tuple[str, str]]:
    def seconds(value: float) -> str:
        return words(messages.BENCH_SECONDS, seconds=value)

    def rate(value: float) -> str:
        return words(messages.BENCH_RATE, rate=value)

    def size(num_bytes: float | None) -> str:
        return format_bytes(None if num_bytes is None else round(num_bytes))

    cost = report.per_token
    return [
        (words(messages.BENCH_LOAD), seconds(report.load_s)),
        (words(messages.BENCH_LOAD_TO_FIRST), seconds(report.load_to_first_token_s)),
        (words(messages.BENCH_FIRST_TOKEN, tokens=report.prompt_tokens), seconds(report.first_token_s)),
        (words(messages.BENCH_PREFILL, tokens=report.prompt_tokens), rate(report.prefill_tokens_per_s)),
        (words(messages.BENCH_DECODE, tokens=report.new_tokens), rate(report.decode_tokens_per_s)),
        (words(messages.BENCH_STORAGE), size(cost.storage_bytes)),
        (words(messages.BENCH_WEIGHTS), size(cost.weight_bytes)),
        (words(messages.BENCH_ENERGY), words(messages.BENCH_MILLIJOULES, millijoules=1000 * cost.estimated_joules)),
        (words(messages.BENCH_RSS), size(report.peak_rss_bytes)),
        (words(messages.BENCH_ANONYMOUS), size(report.peak_anonymous_bytes)),
    ]
