"""`pocketseek bench [MODEL]`: speed and memory of one model on this machine, a report, and two reports compared."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pocketseek.cli import options
from pocketseek.cli.bench.load_run import run_load_bench
from pocketseek.cli.bench.memory_limit import MemoryLimit, run_limited
from pocketseek.cli.bench.once import run_bench
from pocketseek.cli.bench.report_compare import run_compare
from pocketseek.cli.bench.report_run import IDLE_S, SHORT_IDLE_S, check_page, run_report
from pocketseek.cli.bench.routing_run import Recording, run_replay
from pocketseek.cli.guard.key_options import KeyCommand, KeyFile, KeyOptions, secret_for
from pocketseek.cli.messages import Words
from pocketseek.cli.rates import parse_rate
from pocketseek.cli.run.engine_choice import EngineOptions, check_adapter, prepare_engine, tell_provider
from pocketseek.cli.run.heat_limit import LimitNote
from pocketseek.cli.run.min_speed import choose_for_speed
from pocketseek.cli.run.model_choice import choose_model
from pocketseek.cli.sizes import parse_size
from pocketseek.errors import UsageError
from pocketseek.settings import read_settings

if TYPE_CHECKING:
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
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1440, help="Keep the model busy for so long and watch speed and heat.", show_default=False
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write a page with charts here (F.html), and its figures to F.json.", show_default=False),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Measure nothing: compare two reports (their .json files).", show_default=False),
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
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Record whom the router chooses, of a model with experts, in this file; answers are sampled.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(help="With --trace: prompts are pieces of this text.", show_default=False),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            help="Measure nothing: what such a recording would cost in other memory, by every policy.",
            show_default=False,
        ),
    ] = None,
    storage_speed: Annotated[
        int | None,
        typer.Option(
            parser=parse_rate, metavar="RATE", help="With --replay: of the storage (1.2GB/s).", show_default="1GB/s"
        ),
    ] = None,
    min_speed: options.MinSpeed = None,
    adapter: options.Adapter = None,
    memory_group: Annotated[Path | None, typer.Option(hidden=True)] = None,
    kv: options.Kv = None,
    speculation: options.Speculation = False,
    temperature_limit: options.TemperatureLimit = None,
    engine: options.Engine = None,
    provider: options.Provider = None,
    key_file: KeyFile = None,
    key_command: KeyCommand = None,
    trust: options.Trust = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Measure load time, time to first token, prefill and decode rates, and memory; or how it behaves under load.

    Without speculation unless asked for: the made-up prompts are answered with loops, which are guessed too well.
    """
    from pocketseek.apps.load_bench import LONGEST_REQUEST_TOKENS
    from pocketseek.apps.page_cache import drop_cached_pages
    from pocketseek.apps.report.record import Conditions
    from pocketseek.device.probe import check_device
    from pocketseek.device.sensors import Sensors
    from pocketseek.kernels.choose import choose_kernels
    from pocketseek.kernels.kv_memory import choose_kv_format
    from pocketseek.runtime.load import load
    from pocketseek.runtime.opening import num_cores

    settings = read_settings()
    words = Words(settings.language)
    if compare is not None:
        _check_alone(context, "compare", ("report", "json"))
        run_compare(*compare, words, page=report, as_json=json)
        return
    if replay is not None:
        _check_alone(context, "replay", ("memory", "storage_speed", "json"))
        run_replay(replay, words, memory_bytes=memory, storage_bytes_per_s=storage_speed, as_json=json)
        return
    if storage_speed is not None:
        raise UsageError("--storage-speed belongs to --replay; leave it out to measure")
    if trace is None and text is not None:
        raise UsageError("--text belongs to --trace; leave it out to measure with made-up prompts")
    if trace is not None and (profile is not None or minutes is not None or report is not None):
        raise UsageError("--trace records plain runs; leave out --profile, --minutes and --report")
    if minutes is not None and profile is not None:
        raise UsageError("--minutes and --profile are two ways to load a model; use one of them")
    if report is not None and profile is None:
        check_page(report)
    name, path = choose_model(settings, model, yes=yes, may_be_onnx=True, trust=trust)
    if memory is not None and memory_group is None:
        code = run_limited(memory, ["bench", *_again(context, name)], words)
        if code is not None:
            raise typer.Exit(code)
    engine_options = EngineOptions(engine, provider)
    check_adapter(settings, path, engine_options, adapter)
    kind = prepare_engine(settings, path, engine_options, quiet=json)
    if kind == "onnx" and ((report is not None and profile is None) or minutes is not None):
        raise UsageError("--report and --minutes measure the native core; leave them out, or use --engine native")
    limit = None if memory is None else MemoryLimit(memory, memory_group)
    key = KeyOptions(key_file, key_command)
    chosen = choose_for_speed(
        settings,
        name,
        path,
        min_speed=min_speed,
        kv=kv,
        memory_bytes=memory,
        need=lambda _: _need(concurrency, prompt_tokens + new_tokens if profile is None else LONGEST_REQUEST_TOKENS),
        key=key,
        quiet=json,
        is_onnx=kind == "onnx",
    )
    secret = secret_for(chosen.path, settings, key)
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
            engine=kind,
            options=engine_options,
            secret=secret,
            adapter=adapter,
            as_json=json,
        )
        return

    limit_note = LimitNote(words)
    recording = None if trace is None else Recording(trace, text)

    def open_engine() -> Engine:
        opened = load(
            chosen.path,
            kv=chosen.kv,
            kv_bytes=chosen.kv_bytes,
            memory_bytes=memory,
            prefix_cache=False,
            speculation=speculation,
            temperature_limit_c=temperature_limit,
            engine=kind,
            provider=provider,
            secret=secret,
            routing_log=None if recording is None else recording.log,
            adapter=adapter,
        )
        tell_provider(opened.provider_choice, words, engine_options, quiet=json)
        return limit_note.watch(opened)

    if report is not None or minutes is not None:
        tokens_per_s = run_report(
            chosen,
            open_engine,
            Sensors().read,
            Conditions(
                kernels=choose_kernels(settings.kernels).name,
                kv=choose_kv_format(chosen.kv or settings.kv),
                speculation=speculation,
                concurrency=concurrency,
                prompt_tokens=prompt_tokens,
                new_tokens=new_tokens,
                repeats=repeats,
                idle_s=IDLE_S if minutes else SHORT_IDLE_S,
                sustained_s=60 * (minutes or 0.0),
                from_storage=drop_caches or limit is not None,
                memory_limit_bytes=memory,
                num_threads=settings.num_threads or num_cores(check_device(data_dir=settings.home)),
            ),
            words,
            page=report,
            limit=limit,
            as_json=json,
        )
    else:
        tokens_per_s = run_bench(
            chosen,
            open_engine,
            words,
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            concurrency=concurrency,
            repeats=repeats,
            kv=chosen.kv or settings.kv,
            engine=kind,
            limit=limit,
            as_json=json,
            make_request=None if recording is None else recording.make_request,
        )
    if recording is not None:
        recording.write(words)
    limit_note.look()
    if chosen.floor is not None:
        chosen.floor.tell_measured(tokens_per_s)


def _check_alone(context: typer.Context, main: str, beside: Collection[str]) -> None:
    """Files are looked at, nothing is measured."""
    *others, last = (f"--{name.replace('_', '-')}" for name in beside)
    allowed = f"{', '.join(others)} and {last}"
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if name not in (main, *beside) and source is not None and source.name == "COMMANDLINE":
            option = next(one for one in context.command.params if one.name == name)
            called = option.opts[0] if option.param_type_name == "option" else repr(value)[:80]
            raise UsageError(f"--{main} measures nothing; leave out {called} and use only {allowed}")


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
