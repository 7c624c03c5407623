"""The engine around a model that is open, whoever computes it: memory, heat, caches and the scheduler's parts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pocketseek.device.probe import DeviceFacts
from pocketseek.govern.budget import UNKNOWN_MEMORY_BYTES, default_kv_budget_bytes
from pocketseek.govern.elastic import known_bounds
from pocketseek.govern.governor import MemoryGovernor, MemoryStatus
from pocketseek.govern.memory_budget import MemoryBudget
from pocketseek.govern.verdict import KvVerdict, judge_kv_pages
from pocketseek.package.sealing.ciphers import RecordCipher, joined_key
from pocketseek.package.sealing.data_seal import DATA_SEAL_NAME
from pocketseek.runtime.adapters import AdapterShelf
from pocketseek.runtime.applied_limits import MemoryFollowing
from pocketseek.runtime.closing import Closeable
from pocketseek.runtime.cost_file import CostFile
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.guests import RoomState
from pocketseek.runtime.heat import connect, watch_heat
from pocketseek.runtime.memory_use import MeasuredExecutor, MemoryUse, kv_budget_bytes
from pocketseek.runtime.onnx.providers import ProviderChoice
from pocketseek.runtime.opening import available_bytes, cool_cores, has_address_limit
from pocketseek.runtime.policy import Policy
from pocketseek.runtime.prefix.store import PrefixStore
from pocketseek.runtime.routing_log import RoutingLog
from pocketseek.runtime.work import pages_for
from pocketseek.settings import Settings
from pocketseek.text.chat_template import ChatTemplate
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import Limits, ModelConfig, SamplingParams


@dataclass(frozen=True)
class OpenedModel:
    """identity: of the pages that are computed, so that a store gives nothing to another model (identity_of).

    used_page_bytes: of a page, as `read_page` gives it. warm: begin to read the weights. resources: closed, in order,
    after the executor. gives_states: whether embeddings can be made. provider: who computes in ONNX Runtime right now.
    pages_owner: what pages on disk go with when the model does (runtime/prefix/names.py). pages_key: of a sealed model,
    whose pages may not be written without. is_current: whether it lies there as it was opened, neither sealed nor
    unsealed nor removed.
    """

    executor: MeasuredExecutor
    config: ModelConfig
    tokenizer: Tokenizer
    template: ChatTemplate
    sampling: SamplingParams
    identity: bytes
    used_page_bytes: int
    cost_file: CostFile
    warm: Callable[[], None] = lambda: None
    resources: tuple[Closeable, ...] = ()
    gives_states: bool = True
    provider: Callable[[], ProviderChoice] | None = None
    pages_owner: str = ""
    pages_key: bytes | None = None
    is_current: Callable[[], bool] = lambda: True
    adapters: AdapterShelf | None = None


@dataclass(frozen=True)
class EngineWishes:
    """Arguments of `load` that are the same for every model; None: the default."""

    kv_bytes: int | None = None
    memory_bytes: int | None = None
    prefix_cache: bool = True
    prefix_store: Path | None = None
    prefix_store_bytes: int | None = None
    cache_key: bytes | None = None
    speculation: bool = True
    temperature_limit_c: float | None = None
    routing_log: RoutingLog | None = None


def start_engine(
    model: OpenedModel, settings: Settings, facts: DeviceFacts, fixed: Limits, wishes: EngineWishes
) -> Engine:
    """fixed: limits that do not depend on memory or heat. On an error the model stays open: its owner closes it.

    Raises MemoryLimitError, UsageError.
    """
    executor, kv_bytes, memory_bytes = model.executor, wishes.kv_bytes, wishes.memory_bytes
    use = MemoryUse(executor, model.config, max_tokens_per_pass=fixed.max_tokens_per_pass)
    if (adapters := model.adapters) is not None:
        use.has_adapters = lambda: adapters.num_bytes > 0
    usual_bytes = kv_bytes if kv_bytes is not None else default_kv_budget_bytes(available_bytes(facts))
    allowed_bytes = min(known_bounds(use.look(), memory_bytes).values(), default=UNKNOWN_MEMORY_BYTES)
    elastic_bytes = kv_budget_bytes(use, allowed_bytes, usual_bytes)
    judged = partial(
        judge_kv_pages,
        page_bytes=executor.page_bytes,
        pages_per_context=pages_for(model.config.context_length),
        max_sequences=fixed.max_sequences,
    )
    verdict = judged(kv_bytes if kv_bytes is not None else elastic_bytes)
    use.num_pages = verdict.num_pages
    budget = MemoryBudget(0)
    governor = MemoryGovernor(fixed, use.look, use.footprint, cap_bytes=memory_bytes, budget=budget)
    if kv_bytes is None and not has_address_limit():
        use.room_pages = lambda: _room_pages(use, governor.status, judged)
    limit_c = wishes.temperature_limit_c if wishes.temperature_limit_c is not None else settings.temperature_limit_c
    heat = watch_heat(
        governor,
        settings.home,
        limit_c=limit_c,
        cool_cores=cool_cores(facts),
        changes_threads=executor.changes_threads,
        screen_off=settings.screen_off,
    )
    try:
        if wishes.routing_log is not None:
            wishes.routing_log.base_bytes = use.base_bytes
        limits = heat.governor.limits()  # the first look at heat, too
        executor.set_weight_bytes(limits.weight_bytes)
        model.warm()
        budget.lease("process", use.base_bytes)
        budget.lease("weights", executor.weight_bytes)
        budget.lease("pages", (limits.num_pages or verdict.num_pages) * executor.page_bytes)
        engine = Engine(
            executor,
            model.tokenizer,
            model.template,
            heat.governor,
            num_pages=limits.num_pages or verdict.num_pages,
            max_pages=limits.max_pages,
            recommended_sampling=model.sampling,
            prefix_cache=wishes.prefix_cache,
            prefix_store=_prefix_store(model, settings, wishes),
            swap_folder=settings.home / "cache" / "swap" if _may_leave_traces(model, settings) else None,
            speculation=wishes.speculation,
            resources=[heat, *model.resources, model.cost_file],  # clocks concern all programs: they first
            policy=Policy(model.cost_file.costs),
            following=MemoryFollowing(budget, lambda: use.base_bytes, governor.rest_s, use.guests),
            clocks=heat.clocks,
            gives_states=model.gives_states,
            adapters=model.adapters,
        )
        engine.provider_source = model.provider
        connect(heat, engine.busy_source())
        use.demand = engine.demand_source()
        use.guests.connect(engine.limits_source(), partial(_room, use, governor, budget), partial(_is_tight, governor))
        if model.adapters is not None:
            model.adapters.room = partial(_adapter_room, use, governor)
        return engine
    except BaseException:  # also Ctrl-C: nothing stays open, and it is raised again
        heat.close()
        raise


def _room(use: MemoryUse, governor: MemoryGovernor, budget: MemoryBudget) -> RoomState:
    """Whether guests have what they leased, once the limits were applied."""
    status = governor.status
    short_bytes = 0 if status is None else status.split.short_bytes
    return RoomState(short_bytes, budget.of("process") >= use.base_bytes and not budget.over_bytes)


def _is_tight(governor: MemoryGovernor) -> bool:
    status = governor.status
    return status is not None and (status.bound == "pressure" or status.split.short_bytes > 0)


def _adapter_room(use: MemoryUse, governor: MemoryGovernor) -> tuple[int, int] | None:
    """What is left for one more when all weights are streamed, and the budget; None while that is unknown."""
    status = governor.status
    if status is None or status.bound == "unknown":
        return None
    return status.budget_bytes - use.least_bytes, status.budget_bytes


def _room_pages(use: MemoryUse, status: MemoryStatus | None, judged: Callable[[int], KvVerdict]) -> int:
    """As if the engine were opened now, by the budget that the governor has seen for some seconds; 0: unknown."""
    if status is None or status.bound == "unknown" or status.budget_bytes < use.least_bytes:
        return 0
    usual_bytes = default_kv_budget_bytes(status.budget_bytes)
    return judged(kv_budget_bytes(use, status.budget_bytes, usual_bytes)).num_pages


def _may_leave_traces(model: OpenedModel, settings: Settings) -> bool:
    """Whether what is computed may be written as it is."""
    return model.pages_key is None and not _is_sealed(settings)


def _is_sealed(settings: Settings) -> bool:
    """The data directory is, now."""
    return os.path.lexists(settings.home / DATA_SEAL_NAME)


def _prefix_store(model: OpenedModel, settings: Settings, wishes: EngineWishes) -> PrefixStore | None:
    """None: nothing of it goes to disk, as nothing may that goes into a sealed data directory without its key."""
    if not wishes.prefix_cache or wishes.prefix_store_bytes == 0:
        return None
    if wishes.cache_key is None and _is_sealed(settings):
        return None
    keys = [key for key in (model.pages_key, wishes.cache_key) if key is not None]
    return PrefixStore(
        wishes.prefix_store if wishes.prefix_store is not None else settings.prefix_dir,
        model.identity,
        page_bytes=model.used_page_bytes,
        limit_bytes=wishes.prefix_store_bytes,
        cipher=RecordCipher(joined_key(keys)) if keys else None,
        owner=model.pages_owner,
        may_write=lambda: model.is_current() and (wishes.cache_key is not None or not _is_sealed(settings)),
    )
