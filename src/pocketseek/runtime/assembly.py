"""The scheduler with all that an engine lends it: a pool of pages, a cache over them, a place on disk for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pocketseek.runtime.adapters import AdapterSource
from pocketseek.runtime.constrain import Constrainer
from pocketseek.runtime.kv_pool import KvPool
from pocketseek.runtime.policy import Policy
from pocketseek.runtime.prefix.archive import PrefixArchive
from pocketseek.runtime.prefix.cache import PrefixCache
from pocketseek.runtime.prefix.store import PrefixStore
from pocketseek.runtime.scheduler import Scheduler
from pocketseek.runtime.speculate import PromptLookup, Speculation
from pocketseek.runtime.swap import SwapSpace
from pocketseek.runtime.work import Executor
from pocketseek.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Assembly:
    """archive, swap: None if there is no place for them."""

    scheduler: Scheduler
    archive: PrefixArchive | None
    swap: SwapSpace | None


def assemble(
    executor: Executor,
    tokenizer: Tokenizer,
    *,
    num_pages: int,
    max_pages: int | None,
    prefix_cache: bool,
    prefix_store: PrefixStore | None,
    swap_folder: Path | None,
    speculation: bool,
    policy: Policy | None,
    adapters: AdapterSource | None = None,
) -> Assembly:
    """Arguments as of `Engine`. The executor gets its pages here."""
    most_pages = max(num_pages, max_pages or 0)
    executor.reserve_pages(most_pages)
    pool = KvPool(num_pages)
    archive = PrefixArchive(prefix_store, executor) if prefix_cache and prefix_store is not None else None
    root = prefix_store.identity if prefix_store else b""
    swap = _swap_space(swap_folder, executor, most_pages) if swap_folder is not None else None
    scheduler = Scheduler(
        pool,
        vocab_size=executor.vocab_size,
        context_length=executor.context_length,
        logits_math=executor.logits_math,
        policy=policy,
        cache=PrefixCache(pool, enabled=prefix_cache, root=root, archive=archive),
        memory=executor,
        swap=swap,
        speculation=Speculation(PromptLookup) if speculation else None,
        constrainer=Constrainer(tokenizer, executor.vocab_size),
        adapters=adapters,
    )
    scheduler.set_max_pages(max_pages)
    return Assembly(scheduler, archive, swap)


def _swap_space(folder: Path, executor: Executor, num_pages: int) -> SwapSpace:
    """Never more on disk than there is in memory."""
    return SwapSpace(folder, executor, limit_bytes=num_pages * executor.read_page(0).nbytes)
