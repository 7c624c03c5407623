"""From a package on disk to an engine that answers: the parts are opened, checked and put together here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

from pocketseek import __version__
from pocketseek.device.probe import check_device
from pocketseek.govern.budget import UNKNOWN_MEMORY_BYTES, default_kv_budget_bytes
from pocketseek.govern.elastic import known_bounds
from pocketseek.govern.governor import MAX_SEQUENCES, FixedGovernor, MemoryGovernor
from pocketseek.govern.memory_budget import MemoryBudget
from pocketseek.govern.verdict import judge_kv_pages
from pocketseek.kernels.choose import build_of, choose_kernels
from pocketseek.kernels.kv_memory import choose_kv_format, page_bytes, used_page_bytes
from pocketseek.package.manifest import render_manifest
from pocketseek.package.reader import Package
from pocketseek.package.store import ModelStore
from pocketseek.runtime.applied_limits import MemoryFollowing
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.heat import connect, watch_heat
from pocketseek.runtime.memory_use import MemoryUse, kv_budget_bytes
from pocketseek.runtime.opening import available_bytes, cool_cores, cost_file_of, num_cores, template_of
from pocketseek.runtime.policy import Policy
from pocketseek.runtime.prefix.store import PrefixStore, identity_of
from pocketseek.runtime.residency.read_probe import read_mode_for
from pocketseek.runtime.speed_plan import plan_speed
from pocketseek.runtime.work import pages_for
from pocketseek.runtime.worker import Closeable
from pocketseek.settings import read_settings
from pocketseek.text.sampling_file import parse_recommended
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import SamplingParams

Progress = Callable[[int, int], None]


def load(
    model: str | Path = "demo",
    *,
    num_threads: int | None = None,
    kernels: str | None = None,
    kv: str | None = None,
    kv_bytes: int | None = None,
    memory_bytes: int | None = None,
    min_speed: float | None = None,
    max_sequences: int | None = None,
    prefix_cache: bool = True,
    prefix_store: Path | None = None,
    prefix_store_bytes: int | None = None,
    speculation: bool = True,
    temperature_limit_c: float | None = None,
    progress: Progress | None = None,
) -> Engine:
    """Open an installed model by name, or a package by path, and return an engine for it.

    num_threads, kernels: instead of what the environment or this machine suggest. kv: how K and V are kept, "f16" or
    "q8" (about half the memory, see docs/runtime.md). kv_bytes: memory for K and V of all running sequences (default: a
    share of what is free). speculation: see `Engine`.
    memory_bytes: the most that the whole process may take; weights that do not fit are read anew in every pass. By
    default what the machine and the container have left, now and while it runs.
    min_speed: tokens per second of an answer. Where less is to be expected in that memory, K and V in int8, a smaller
    context or a smaller installed model of the same line are taken instead: `Engine.speed_choice` says what and why.
    max_sequences: answers that are written at the same time; others wait (default: 16).
    prefix_cache: keep computed pages of prompts for later ones, in the KV memory while nobody needs it and on disk in
    the directory prefix_store (default: cache/prefix in the data directory), in at most prefix_store_bytes (default:
    1 GiB or a tenth of what is free; 0: not on disk).
    temperature_limit_c: of the skin or battery, where it can be read: the pace falls so that it stays below. 0: it does
    not; by default what the environment says, else 45. See docs/govern.md.
    progress(done_bytes, total_bytes) is called while the package
    is hashed, which happens before its first use and after it was touched.
    Raises NotFoundError, FormatError, IntegrityError, StorageError, UsageError, NativeCoreError, MemoryLimitError.
    """
    settings = read_settings()
    path = ModelStore(settings.models_dir).resolve(str(model))
    speed_choice = None
    if min_speed is not None:
        plan = plan_speed(
            path,
            str(model),
            settings,
            min_speed=min_speed,
            kv=kv,
            kv_bytes=kv_bytes,
            memory_bytes=memory_bytes,
            num_threads=num_threads,
            kernels=kernels,
            progress=progress,
        )
        path, kv, kv_bytes, speed_choice = plan.path, plan.kv, plan.kv_bytes, plan.choice
    choice = choose_kernels(kernels or settings.kernels)
    kv_format = choose_kv_format(kv or settings.kv)
    package = Package.open(path, progress=progress)
    opened: list[Closeable] = [package]
    try:
        facts = check_device(data_dir=settings.home)
        fixed = FixedGovernor(
            num_cores(facts),
            num_threads=num_threads if num_threads is not None else settings.num_threads,
            max_sequences=max_sequences if max_sequences is not None else MAX_SEQUENCES,
        ).limits()
        model_config = package.manifest.model
        cost_file = cost_file_of(settings.home, package.manifest, facts, choice.name, kv_format)
        text_settings = parse_text_settings(package.file("text.json"))
        tokenizer = Tokenizer.from_json(package.file("tokenizer.json"), text_settings)
        executor = KernelExecutor(
            package,
            choice,
            num_threads=fixed.num_threads,
            kv_format=kv_format,
            read_mode=partial(read_mode_for, settings.home, package),
        )
        opened.insert(0, executor)
        use = MemoryUse(executor, model_config, max_tokens_per_pass=fixed.max_tokens_per_pass)
        usual_bytes = kv_bytes if kv_bytes is not None else default_kv_budget_bytes(available_bytes(facts))
        allowed_bytes = min(known_bounds(use.look(), memory_bytes).values(), default=UNKNOWN_MEMORY_BYTES)
        elastic_bytes = kv_budget_bytes(use, allowed_bytes, usual_bytes)
        verdict = judge_kv_pages(
            kv_bytes if kv_bytes is not None else elastic_bytes,
            page_bytes=page_bytes(model_config, kv_format),
            pages_per_context=pages_for(model_config.context_length),
            max_sequences=fixed.max_sequences,
        )
        use.num_pages = verdict.num_pages
        budget = MemoryBudget(0)
        governor = MemoryGovernor(fixed, use.look, use.footprint, cap_bytes=memory_bytes, budget=budget)
        limit_c = temperature_limit_c if temperature_limit_c is not None else settings.temperature_limit_c
        heat = watch_heat(
            governor,
            settings.home,
            limit_c=limit_c,
            cool_cores=cool_cores(facts),
            screen_off=settings.screen_off,
        )
        opened.append(heat)
        limits = governor.limits()
        executor.set_weight_bytes(limits.weight_bytes)
        executor.weights.warm_all()
        budget.lease("process", use.base_bytes)
        budget.lease("weights", executor.weight_bytes)
        budget.lease("pages", (limits.num_pages or verdict.num_pages) * executor.page_bytes)
        store = PrefixStore(
            prefix_store if prefix_store is not None else settings.home / "cache" / "prefix",
            _identity(package, choice.name, kv_format),
            page_bytes=used_page_bytes(model_config, kv_format),
            limit_bytes=prefix_store_bytes,
        )
        engine = Engine(
            executor,
            tokenizer,
            template_of(package, text_settings),
            heat.governor,
            num_pages=limits.num_pages or verdict.num_pages,
            max_pages=limits.max_pages,
            recommended_sampling=_recommended_sampling(package),
            prefix_cache=prefix_cache,
            prefix_store=store if prefix_cache and prefix_store_bytes != 0 else None,
            swap_folder=settings.home / "cache" / "swap",
            speculation=speculation,
            resources=[heat, package, cost_file],
            policy=Policy(cost_file.costs),
            following=MemoryFollowing(budget, lambda: use.base_bytes, governor.rest_s),
            clocks=heat.clocks,
        )
        connect(heat, engine.busy_source())
        use.demand = engine.demand_source()
        engine.speed_choice = speed_choice
        return engine
    except BaseException:  # also Ctrl-C: nothing stays open, and it is raised again
        for part in opened:
            part.close()
        raise


def _identity(package: Package, kernels: str, kv_format: str) -> bytes:
    """Of the pages that this model computes here. Other weights, kernels or layouts compute others."""
    return identity_of(
        {
            "manifest": sha256(render_manifest(package.manifest)).hexdigest(),
            "adapter": "",
            "kv_format": kv_format,
            "kernels": build_of(kernels),
            "pocketseek": __version__,
        }
    )


def _recommended_sampling(package: Package) -> SamplingParams:
    return parse_recommended(package.file("sampling.json")) if package.has_file("sampling.json") else SamplingParams()
