"""Which model, KV format and context write at least so many tokens a second in the memory there is. Pure arithmetic.

A token of an answer takes the longer of two times: that of storage for the weights that are streamed, and that of the
processor for all weights. Keys and values take memory from the weights, so the speed of a rung is that with its context
full. Where nobody says how many tokens there will be, a full context takes a quarter of the memory. How much longer
attention takes over a long context is left out, as it is from the cost model.

The ladder, the gentlest step first, and only as far down as needed:

    as asked  |  int8 keys and values  |  a smaller context, as large as the floor allows
    the same three steps with each smaller sibling, the largest first

If no rung meets the floor, the fastest is taken, where a rung counts as faster only if it is so by a twentieth: nobody
gives up a model for less. A rung that cannot work (too little memory, too short a context) has the speed 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pocketseek.errors import UsageError
from pocketseek.govern.budget import MOST_KV_BYTES
from pocketseek.govern.expected_speed import pass_time
from pocketseek.govern.split import Footprint, split_memory, stepped_demand

Step = Literal["kv", "context", "model"]
LEAST_CONTEXT_TOKENS = 1024
_WORTH_IT = 1.05
_KV_SHARE = 4  # of the memory, as `default_kv_budget_bytes` has it


@dataclass(frozen=True)
class ModelFacts:
    """An installed model, before it is opened.

    base_bytes, weights_bytes, ring_bytes: as in `Footprint`. page_bytes: K and V of one page, by KV format, the asked
    one first and then those that take less. streamed_bytes(weight_bytes): what a pass reads from storage if so much is
    kept in memory, ring included. memory_bytes_per_s: weights in memory that a pass gets through.
    """

    name: str
    base_bytes: int
    weights_bytes: int
    ring_bytes: int
    context_length: int
    page_bytes: tuple[tuple[str, int], ...]
    streamed_bytes: Callable[[int], int]
    storage_bytes_per_s: float
    memory_bytes_per_s: float


@dataclass(frozen=True)
class SpeedWish:
    """What is wanted, and the memory for it.

    min_speed: tokens per second of one answer. budget_bytes: for the whole process. usual_kv_bytes: for K and V where
    all weights fit beside them; kv_bytes: the caller's word instead, whatever fits. max_tokens: held at the same time
    by num_sequences; None: not known. least_tokens: the context is not cut below these.
    """

    min_speed: float
    budget_bytes: int
    usual_kv_bytes: int
    page_tokens: int
    kv_bytes: int | None = None
    max_tokens: int | None = None
    num_sequences: int = 1
    least_tokens: int = LEAST_CONTEXT_TOKENS


@dataclass(frozen=True)
class Rung:
    """One way to answer. tokens_per_s: expected with the context full; 0.0: it cannot work.

    num_pages, context_tokens: what it holds at the most. is_cut: the pool has to be kept to these pages.
    streamed_bytes: of weights_bytes, read from storage for every token. storage_bound: that is what takes so long.
    """

    model: str
    kv: str
    num_pages: int
    page_bytes: int
    context_tokens: int
    tokens_per_s: float
    weights_bytes: int
    streamed_bytes: int
    storage_bound: bool
    is_cut: bool

    @property
    def works(self) -> bool:
        return self.tokens_per_s > 0


@dataclass(frozen=True)
class SpeedChoice:
    """asked: the first rung. chosen: the one to take, which may be the same."""

    min_speed: float
    budget_bytes: int
    asked: Rung
    chosen: Rung

    @property
    def meets_floor(self) -> bool:
        return self.chosen.tokens_per_s >= self.min_speed

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is different from what was asked for."""
        asked, chosen = self.asked, self.chosen
        changes: tuple[tuple[Step, bool], ...] = (
            ("kv", chosen.kv != asked.kv),
            ("context", chosen.context_tokens < asked.context_tokens),
            ("model", chosen.model != asked.model),
        )
        return tuple(step for step, changed in changes if changed)

    @property
    def is_news(self) -> bool:
        """There is something that the user should be told. What cannot work at all is an error when it is opened."""
        return self.chosen.works and bool(self.steps or not self.meets_floor)


def choose_rung(wish: SpeedWish, models: Sequence[ModelFacts]) -> SpeedChoice:
    """models: the one that is asked for, then its smaller siblings, the largest first. Raises UsageError."""
    if not 0 < wish.min_speed < math.inf:
        raise UsageError(f"the least speed is {wish.min_speed}; use a number of tokens per second above 0")
    wish = replace(wish, least_tokens=min(wish.least_tokens, _full_tokens(wish, models[0])))
    asked = best = _as_asked(wish, models[0])
    for rung in _rungs(wish, models, asked):
        if rung.tokens_per_s >= wish.min_speed:
            best = rung
            break
        if rung.tokens_per_s > _WORTH_IT * best.tokens_per_s:
            best = rung
    return SpeedChoice(wish.min_speed, wish.budget_bytes, asked, best)


def _rungs(wish: SpeedWish, models: Sequence[ModelFacts], asked: Rung) -> Iterator[Rung]:
    """All of them, each worked out when it is its turn."""
    for model in models:
        first = asked if model is models[0] else _as_asked(wish, model)
        yield first
        full_tokens = first.context_tokens or _full_tokens(wish, model)
        for kv, page_bytes in model.page_bytes[1:]:
            yield _uncut(wish, model, kv, page_bytes, full_tokens)
        if wish.least_tokens < full_tokens:
            yield _shorter(wish, model, *model.page_bytes[-1], full_tokens)


def _as_asked(wish: SpeedWish, model: ModelFacts) -> Rung:
    return _uncut(wish, model, *model.page_bytes[0], _full_tokens(wish, model))


def _uncut(wish: SpeedWish, model: ModelFacts, kv: str, page_bytes: int, tokens: int) -> Rung:
    """With the pool that `load` opens by itself."""
    return _rung(wish, model, kv, page_bytes, _opened_pages(wish, model, page_bytes), tokens, is_cut=False)


def _cut_to(wish: SpeedWish, model: ModelFacts, kv: str, page_bytes: int, tokens: int) -> Rung:
    """With a pool that never holds more than these."""
    num_pages = min(_pages(wish, tokens), _most_pages(wish, model, page_bytes))
    return _rung(wish, model, kv, page_bytes, num_pages, tokens, is_cut=True)


def _shorter(wish: SpeedWish, model: ModelFacts, kv: str, page_bytes: int, full_tokens: int) -> Rung:
    """The longest context below the full one that meets the floor, or else the least: shorter is never slower."""
    low, high = _pages(wish, wish.least_tokens), _pages(wish, full_tokens)
    found = _cut_to(wish, model, kv, page_bytes, wish.least_tokens)
    if found.tokens_per_s < wish.min_speed:
        return found
    while low + 1 < high:
        middle = (low + high) // 2
        rung = _cut_to(wish, model, kv, page_bytes, middle * wish.page_tokens)
        if rung.tokens_per_s >= wish.min_speed:
            low, found = middle, rung
        else:
            high = middle
    return found


def _rung(
    wish: SpeedWish, model: ModelFacts, kv: str, page_bytes: int, opened_pages: int, tokens: int, *, is_cut: bool
) -> Rung:
    """tokens: the full context, of which it holds what the opened pages do."""
    num_pages = min(_pages(wish, tokens), opened_pages)
    context_tokens = min(tokens, num_pages * wish.page_tokens)
    footprint = Footprint(
        base_bytes=model.base_bytes,
        weights_bytes=model.weights_bytes,
        ring_bytes=model.ring_bytes,
        page_bytes=page_bytes,
        opened_pages=max(1, opened_pages),
        pages_in_use=num_pages,
    )
    if num_pages < 1 or context_tokens < wish.least_tokens or wish.budget_bytes < footprint.least_bytes:
        return Rung(model.name, kv, 0, page_bytes, 0, 0.0, model.weights_bytes, model.weights_bytes, True, is_cut)
    split = split_memory(wish.budget_bytes, footprint, stepped_demand(wish.budget_bytes, footprint))
    streamed_bytes = 0 if split.weight_bytes is None else model.streamed_bytes(split.weight_bytes)
    one = pass_time(
        model.weights_bytes,
        streamed_bytes,
        memory_bytes_per_s=model.memory_bytes_per_s,
        storage_bytes_per_s=model.storage_bytes_per_s,
    )
    return Rung(
        model=model.name,
        kv=kv,
        num_pages=num_pages,
        page_bytes=page_bytes,
        context_tokens=context_tokens,
        tokens_per_s=1 / one.seconds,
        weights_bytes=model.weights_bytes,
        streamed_bytes=streamed_bytes,
        storage_bound=one.storage_bound,
        is_cut=is_cut,
    )


def _full_tokens(wish: SpeedWish, model: ModelFacts) -> int:
    """The context that the speed is told for, if there is memory for it."""
    tokens = wish.max_tokens
    if tokens is None:
        kv_bytes = min(wish.usual_kv_bytes, wish.budget_bytes // _KV_SHARE) if wish.kv_bytes is None else wish.kv_bytes
        tokens = max(wish.least_tokens, kv_bytes // model.page_bytes[0][1] * wish.page_tokens)
    return min(tokens, model.context_length * wish.num_sequences)


def _opened_pages(wish: SpeedWish, model: ModelFacts, page_bytes: int) -> int:
    """The most pages that an engine has which nobody limits, as `load` opens it."""
    if wish.kv_bytes is not None:
        kv_bytes = wish.kv_bytes
    elif model.base_bytes + model.weights_bytes + wish.usual_kv_bytes <= wish.budget_bytes:
        kv_bytes = wish.usual_kv_bytes
    else:
        kv_bytes = MOST_KV_BYTES
    return min(kv_bytes // page_bytes, _most_pages(wish, model, page_bytes))


def _most_pages(wish: SpeedWish, model: ModelFacts, page_bytes: int) -> int:
    """If all weights are streamed."""
    least_weight_bytes = min(model.ring_bytes, model.weights_bytes)
    return max(0, wish.budget_bytes - model.base_bytes - least_weight_bytes) // page_bytes


def _pages(wish: SpeedWish, tokens: int) -> int:
    return -(-tokens // wish.page_tokens)
