"""`pocketseek bench` as it is without further wishes: a few runs, and a table or one JSON object of their medians."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.bench import bench_messages
from pocketseek.cli.bench.memory_limit import MemoryLimit
from pocketseek.cli.console import format_bytes, print_json, print_table, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.cli.run.engine_choice import engine_facts, provider_rows
from pocketseek.cli.run.min_speed import Chosen, fallback_facts
from pocketseek.settings import read_settings
from pocketseek.types import EngineKind

if TYPE_CHECKING:
    from pocketseek.apps.bench import BenchReport
    from pocketseek.apps.bench_runs import RequestMaker
    from pocketseek.runtime.engine import Engine
    from pocketseek.runtime.onnx.providers import ProviderChoice


def run_bench(
    chosen: Chosen,
    open_engine: Callable[[], Engine],
    words: Words,
    *,
    prompt_tokens: int,
    new_tokens: int,
    concurrency: int,
    repeats: int,
    kv: str | None,
    engine: EngineKind,
    limit: MemoryLimit | None,
    as_json: bool,
    make_request: RequestMaker | None = None,
) -> float:
    """Returns the decoding speed of one sequence. make_request: as for `bench_model`."""
    engines: list[Engine] = []

    def opened() -> Engine:
        engines.append(open_engine())
        return engines[-1]

    measured = _measure(
        opened,
        engine,
        chosen.path,
        words,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        concurrency=concurrency,
        repeats=repeats,
        make_request=make_request,
    )
    provider = engines[-1].provider_choice  # now, since one that failed meanwhile did not compute all of it
    if as_json:
        _print_json(chosen, kv, provider, limit, measured)
    else:
        rows = [*_rows(measured, words), *provider_rows(provider, words), *(limit.rows(words) if limit else [])]
        print_table((chosen.name, ""), rows)
    return measured.decode_tokens_per_s / concurrency


def _measure(
    open_engine: Callable[[], Engine],
    engine: EngineKind,
    path: Path,
    words: Words,
    *,
    prompt_tokens: int,
    new_tokens: int,
    concurrency: int,
    repeats: int,
    make_request: RequestMaker | None,
) -> BenchReport:
    from pocketseek.apps.bench import bench_model
    from pocketseek.apps.energy import model_work
    from pocketseek.apps.onnx_models import ensure_export, onnx_work
    from pocketseek.package.manifest import read_manifest

    with progress_bar(unit="runs") as show:
        label = words(bench_messages.MEASURING)
        return bench_model(
            open_engine,
            onnx_work(ensure_export(path, read_settings())) if engine == "onnx" else model_work(read_manifest(path)),
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            concurrency=concurrency,
            repeats=repeats,
            make_request=make_request,
            progress=lambda done, total: show(label, done, total),
        )


def _print_json(
    chosen: Chosen, kv: str | None, provider: ProviderChoice | None, limit: MemoryLimit | None, report: BenchReport
) -> None:
    from pocketseek.kernels.kv_memory import choose_kv_format

    memory = None if limit is None else limit.facts()
    facts = {"model": chosen.name, "kv": choose_kv_format(kv), "memory": memory}
    print_json({**facts, **engine_facts(provider), **fallback_facts(chosen), **dataclasses.asdict(report)})


def _rows(report: BenchReport, words: Words) -> list[tuple[str, str]]:
    def seconds(value: float) -> str:
        return words(bench_messages.SECONDS, seconds=value)

    def rate(value: float) -> str:
        return words(bench_messages.RATE, rate=value)

    def size(num_bytes: float | None) -> str:
        return format_bytes(None if num_bytes is None else round(num_bytes))

    cost = report.per_token
    return [
        (words(bench_messages.LOAD), seconds(report.load_s)),
        (words(bench_messages.LOAD_TO_FIRST), seconds(report.load_to_first_token_s)),
        (words(bench_messages.FIRST_TOKEN, tokens=report.prompt_tokens), seconds(report.first_token_s)),
        (words(bench_messages.PREFILL, tokens=report.prompt_tokens), rate(report.prefill_tokens_per_s)),
        (words(bench_messages.DECODE, tokens=report.new_tokens), rate(report.decode_tokens_per_s)),
        (words(bench_messages.STORAGE), size(cost.storage_bytes)),
        (words(bench_messages.WEIGHTS), size(cost.weight_bytes)),
        (words(bench_messages.ENERGY), words(bench_messages.MILLIJOULES, millijoules=1000 * cost.estimated_joules)),
        (words(bench_messages.RSS), size(report.peak_rss_bytes)),
        (words(bench_messages.ANONYMOUS), size(report.peak_anonymous_bytes)),
    ]
