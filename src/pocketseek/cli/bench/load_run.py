"""The part of `pocketseek bench` that simulates clients (`--profile`): run, write the page, print."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.bench import bench_messages
from pocketseek.cli.bench.memory_limit import MemoryLimit
from pocketseek.cli.console import note, print_json, print_table, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.cli.run.engine_choice import EngineOptions, tell_provider
from pocketseek.cli.run.heat_limit import LimitNote
from pocketseek.cli.run.min_speed import Chosen, fallback_facts
from pocketseek.errors import UsageError
from pocketseek.settings import read_settings
from pocketseek.types import EngineKind

if TYPE_CHECKING:
    from pocketseek.apps.load_bench import ClassReport, LoadReport, Profile
    from pocketseek.apps.load_page import PageLabels
    from pocketseek.package.sealing.key_slots import Secret
    from pocketseek.runtime.engine import Engine


def run_load_bench(
    chosen: Chosen,
    words: Words,
    *,
    concurrency: int,
    profile: Profile,
    seconds: float,
    page: Path | None,
    speculation: bool,
    temperature_limit_c: float | None,
    limit: MemoryLimit | None,
    engine: EngineKind,
    options: EngineOptions,
    secret: Secret | None,
    adapter: str | None,
    as_json: bool,
) -> None:
    from pocketseek.apps.load_bench import bench_load
    from pocketseek.apps.load_page import render_page
    from pocketseek.apps.report.write_pair import write_page
    from pocketseek.kernels.kv_memory import choose_kv_format
    from pocketseek.runtime.load import load

    if page is not None and (page.is_dir() or not page.parent.is_dir()):
        raise UsageError(f"{str(page)!r:.200} cannot be a report; name a file in a folder that exists")
    limit_note = LimitNote(words)

    def open_engine() -> Engine:
        opened = load(
            chosen.path,
            kv=chosen.kv,
            kv_bytes=chosen.kv_bytes,
            memory_bytes=None if limit is None else limit.limit_bytes,
            speculation=speculation,
            temperature_limit_c=temperature_limit_c,
            prefix_store_bytes=0,
            engine=engine,
            provider=options.provider,
            secret=secret,
            adapter=adapter,
        )
        tell_provider(opened.provider_choice, words, options, quiet=as_json)
        return limit_note.watch(opened)

    with progress_bar(unit="seconds") as show:
        label = words(bench_messages.MEASURING)
        report = bench_load(
            open_engine,
            concurrency=concurrency,
            profile=profile,
            seconds=seconds,
            progress=lambda done, total: show(label, done, total),
        )
    limit_note.look()
    rows = _rows(report, words)
    try:  # the page first: standard output may be full or gone
        if page is not None:
            write_page(page, render_page(f"pocketseek bench {chosen.name}", report, rows, _labels(words)))
            note(words(bench_messages.LOAD_PAGE, path=page))
    finally:
        if as_json:
            facts = {
                "model": chosen.name,
                "kv": choose_kv_format(chosen.kv or read_settings().kv),
                "engine": engine,
                "speculation": speculation,
                "memory": None if limit is None else limit.facts(),
                **fallback_facts(chosen),
            }
            print_json({**facts, **dataclasses.asdict(report)})
        else:
            print_table((chosen.name, ""), [*rows, *(limit.rows(words) if limit else [])])


def _labels(words: Words) -> PageLabels:
    from pocketseek.apps.load_page import PageLabels

    return PageLabels(
        language=words.language,
        first=words(bench_messages.LOAD_PAGE_FIRST),
        first_note=words(bench_messages.LOAD_PAGE_FIRST_NOTE),
        between=words(bench_messages.LOAD_PAGE_BETWEEN),
        between_note=words(bench_messages.LOAD_PAGE_BETWEEN_NOTE),
        interactive=words(bench_messages.LOAD_INTERACTIVE),
        background=words(bench_messages.LOAD_BACKGROUND),
        alone=words(bench_messages.LOAD_ALONE),
        nothing=words(bench_messages.LOAD_PAGE_NOTHING),
    )


def _rows(report: LoadReport, words: Words) -> list[tuple[str, str]]:
    rows = [
        (
            words(bench_messages.LOAD_PROFILE),
            words(
                bench_messages.LOAD_PROFILE_VALUE,
                profile=report.profile,
                clients=report.concurrency,
                seconds=report.seconds,
            ),
        ),
        (words(bench_messages.LOAD_WRITTEN), words(bench_messages.RATE, rate=report.tokens_per_s)),
        (words(bench_messages.LOAD_READ), words(bench_messages.RATE, rate=report.prompt_tokens_per_s)),
        (words(bench_messages.LOAD_PER_PASS), f"{report.tokens_per_pass:.1f}"),
        (words(bench_messages.LOAD_PASSES), f"{report.passes_per_s:.1f}"),
        (words(bench_messages.LOAD_WAKEUPS), str(report.wakeups)),
        (words(bench_messages.LOAD_PAGES), f"{report.peak_pages} / {report.num_pages}"),
        (words(bench_messages.LOAD_CACHED), str(report.cached_prompt_tokens)),
        (words(bench_messages.LOAD_DRAFTS), f"{report.accepted_tokens} / {report.drafted_tokens}"),
        (words(bench_messages.LOAD_PREEMPTIONS), f"{report.preemptions} / {report.swapped_out}"),
    ]
    classes = (
        (bench_messages.LOAD_INTERACTIVE, report.interactive),
        (bench_messages.LOAD_BACKGROUND, report.background),
        (bench_messages.LOAD_ALONE, report.interactive_alone),
    )
    for heading, one in classes:
        if one is not None:
            rows += _class_rows(words(heading), one, words)
    return rows


def _class_rows(heading: str, one: ClassReport, words: Words) -> list[tuple[str, str]]:
    rows = [(f"{heading}: {words(bench_messages.LOAD_REQUESTS)}", str(one.requests))] if one.first_token else []
    for message, latency in (
        (bench_messages.LOAD_FIRST_TOKEN, one.first_token),
        (bench_messages.LOAD_BETWEEN, one.between_tokens),
    ):
        if latency is not None:
            figures = " / ".join(f"{value * 1000:.1f}" for value in (latency.p50_s, latency.p95_s, latency.p99_s))
            rows.append((f"{heading}: {words(message)}", figures))
    return rows
