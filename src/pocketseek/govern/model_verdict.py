"""Which models this device can run, how fast, and which one to take. Pure arithmetic over figures that were measured.

The ladder says how memory is split and what is streamed, as it does for `--min-speed`; expected_speed.py says how long
that takes. Without measured figures speeds are unknown, or upper limits if the chip's memory speed is published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pocketseek.formats import FORMATS
from pocketseek.govern.expected_speed import (
    PASS_TOKENS,
    STREAM_SHARE,
    MachineFigures,
    decode_overhead_s,
    load_to_first_token_s,
    pass_time,
    prompt_token_s,
)
from pocketseek.govern.ladder import ModelFacts, Rung, SpeedWish, choose_rung

Fit = Literal["resident", "streams", "no memory", "no storage", "unknown"]
Why = Literal["reads along", "usable", "fastest", "upper limit", "largest in memory"]
WhyNone = Literal["memory unknown", "nothing fits"]

PROMPT_TOKENS = 512  # the context that speeds are told for
RING_BYTES = 50_000_000  # that streamed weights go through, pages of the system's cache included
TYPICAL_TOKENS = 1024  # the context that memory is kept for
PAGE_TOKENS = 64
LARGE_PARAMETERS = 12_000_000_000
LARGE_STORAGE_BYTES = 15_000_000_000  # free, for a model of the 13B class: the package and room to update it
SLOW_STORAGE = frozenset({"eMMC", "SD card", "hard disk"})
LARGE_UFS_VERSION = 3.1  # of UFS, and faster kinds, a model of the 13B class wants
PLEASANT_TOKENS_PER_S = 5.0  # about as fast as people read
USABLE_TOKENS_PER_S = 1.0


@dataclass(frozen=True)
class ExpertNeeds:
    """num_bytes: of all experts. share: of them, that a token uses. least_bytes: of the slots that they are read into,
    at least."""

    num_bytes: int
    share: float
    least_bytes: int


@dataclass(frozen=True)
class ModelNeeds:
    """parameters: weights of the model. weights_bytes: of the package, all but the embedding.

    experts: which are part of weights_bytes, if the model has some. multiply_adds: of a token of a prompt, without the
    head, by the format of the weights; attention_multiply_adds: for each position that it looks back at. page_bytes: K
    and V of a page, by KV format. base_bytes: the process besides weights and pages. checkpoint_bytes: as published, to
    convert from; None: not known.
    """

    name: str
    quant: str
    parameters: int
    package_bytes: int
    weights_bytes: int
    multiply_adds: tuple[tuple[str, int], ...]
    attention_multiply_adds: int
    page_bytes: tuple[tuple[str, int], ...]
    base_bytes: int
    context_length: int
    vocab_size: int
    num_layers: int
    checkpoint_bytes: int | None = None
    is_installed: bool = False
    experts: ExpertNeeds | None = None

    @property
    def token_bytes(self) -> int:
        """Of weights that a pass with one token reads."""
        unused = 0.0 if self.experts is None else self.experts.num_bytes * (1 - self.experts.share)
        return self.weights_bytes - round(unused)

    @property
    def least_weight_bytes(self) -> int:
        """That have to be in memory: what everything else streams through, or what every token needs, and slots."""
        if self.experts is None:
            return min(RING_BYTES, self.weights_bytes)
        return min(self.weights_bytes, self.weights_bytes - self.experts.num_bytes + self.experts.least_bytes)

    def streamed_bytes(self, weight_bytes: int) -> int:
        """Read for a pass with one token where weights have so much memory. Of experts, as if all were chosen equally
        often: what is kept are those that are chosen most, so it is less where some are."""
        lacking = max(0, self.weights_bytes - max(0, weight_bytes - (RING_BYTES if self.experts is None else 0)))
        return lacking if self.experts is None else round(min(lacking, self.experts.num_bytes) * self.experts.share)

    def page_bytes_in(self, kv_format: str) -> int:
        return dict(self.page_bytes)[kv_format]


@dataclass(frozen=True)
class Room:
    """None: unknown. kv_bytes: for K and V where all weights fit beside them. storage_kind, storage_version: of what
    the data directory lies on, as device/storage_kind.py names them."""

    memory_bytes: int | None
    storage_free_bytes: int | None
    kv_bytes: int
    kv_format: str = "f16"
    storage_kind: str | None = None
    storage_version: str | None = None


@dataclass(frozen=True)
class ModelVerdict:
    """streamed_bytes: read from storage for each pass. memory_bytes: with all weights and a context of TYPICAL_TOKENS.

    least_memory_bytes: with all weights streamed. storage_bytes: that must be free (0 if it is installed);
    conversion_bytes: while it is converted here, checkpoint and package. slow_storage: a model of the 13B class wants
    faster storage than this (None: its kind is not known, or it matters not). context_tokens: in the KV format that is
    used; contexts: in each. load_s: until the first token, nothing of it in memory. Speeds are of one answer at
    PROMPT_TOKENS; None: not measured. is_estimate: they are upper limits, nothing was measured.
    """

    needs: ModelNeeds
    fit: Fit
    memory_bytes: int
    least_memory_bytes: int
    storage_bytes: int
    conversion_bytes: int | None = None
    slow_storage: bool | None = None
    streamed_bytes: int = 0
    context_tokens: int | None = None
    contexts: tuple[tuple[str, int], ...] = ()
    load_s: float | None = None
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None
    is_estimate: bool = False

    @property
    def runs(self) -> bool:
        return self.fit in ("resident", "streams")


def judge_models(models: Sequence[ModelNeeds], room: Room, figures: MachineFigures | None) -> list[ModelVerdict]:
    return [judge_model(model, room, figures) for model in models]


def judge_model(needs: ModelNeeds, room: Room, figures: MachineFigures | None) -> ModelVerdict:
    verdict = _of_sizes(needs, room)
    if room.storage_free_bytes is not None and room.storage_free_bytes < verdict.storage_bytes:
        return replace(verdict, fit="no storage")
    if room.memory_bytes is None:
        return verdict
    if room.memory_bytes < verdict.least_memory_bytes:
        return replace(verdict, fit="no memory")
    return _with_speeds(verdict, room, room.memory_bytes, figures)


def recommended(verdicts: Sequence[ModelVerdict]) -> ModelVerdict | None:
    """The largest model that writes as fast as people read; else the largest that is usable; else the fastest. Where
    speeds are unknown or upper limits, storage that is too slow for a model speaks against it."""
    running = [one for one in verdicts if one.runs and not (one.slow_storage and not _is_measured(one))]
    for floor in (PLEASANT_TOKENS_PER_S, USABLE_TOKENS_PER_S):
        fast = [one for one in running if (one.decode_tokens_per_s or 0.0) >= floor]
        if fast:
            return max(fast, key=lambda one: (one.needs.parameters, one.decode_tokens_per_s or 0.0))
    known = [one for one in running if one.decode_tokens_per_s is not None]
    if known:
        return max(known, key=lambda one: one.decode_tokens_per_s or 0.0)
    resident = [one for one in running if one.fit == "resident"]
    return max(resident, key=lambda one: one.needs.parameters, default=None)


def why_recommended(choice: ModelVerdict) -> Why:
    """What `recommended` went by."""
    rate = choice.decode_tokens_per_s
    if rate is None:
        return "largest in memory"
    if choice.is_estimate:
        return "upper limit"
    if rate >= PLEASANT_TOKENS_PER_S:
        return "reads along"
    return "usable" if rate >= USABLE_TOKENS_PER_S else "fastest"


def why_none(verdicts: Sequence[ModelVerdict]) -> WhyNone:
    """Why nothing is recommended."""
    return "memory unknown" if any(one.fit == "unknown" for one in verdicts) else "nothing fits"


def _is_measured(verdict: ModelVerdict) -> bool:
    return verdict.decode_tokens_per_s is not None and not verdict.is_estimate


def _of_sizes(needs: ModelNeeds, room: Room) -> ModelVerdict:
    """What is needed, whatever there is."""
    page_bytes = needs.page_bytes_in(room.kv_format)
    pages_bytes = -(-min(TYPICAL_TOKENS, needs.context_length) // PAGE_TOKENS) * page_bytes
    is_large = needs.parameters >= LARGE_PARAMETERS
    storage_bytes = 0 if needs.is_installed else needs.package_bytes
    if not needs.is_installed and is_large:
        storage_bytes = max(storage_bytes, LARGE_STORAGE_BYTES)
    return ModelVerdict(
        needs,
        "unknown",
        memory_bytes=needs.base_bytes + needs.weights_bytes + pages_bytes,
        least_memory_bytes=needs.base_bytes + needs.least_weight_bytes + pages_bytes,
        storage_bytes=storage_bytes,
        conversion_bytes=None if needs.checkpoint_bytes is None else needs.package_bytes + needs.checkpoint_bytes,
        slow_storage=_is_slow(room) if is_large else None,
    )


def _is_slow(room: Room) -> bool | None:
    """For a model of the 13B class."""
    if room.storage_kind in SLOW_STORAGE:
        return True
    if room.storage_kind != "UFS":
        return None if room.storage_kind in (None, "virtual disk", "memory") else False
    try:
        return float(room.storage_version) < LARGE_UFS_VERSION if room.storage_version else None
    except ValueError:
        return None


def _with_speeds(verdict: ModelVerdict, room: Room, memory_bytes: int, figures: MachineFigures | None) -> ModelVerdict:
    needs = verdict.needs
    typical = _rung(needs, room.kv_format, room, memory_bytes, min(TYPICAL_TOKENS, needs.context_length))
    contexts = tuple(
        (kv_format, _rung(needs, kv_format, room, memory_bytes, None).context_tokens)
        for kv_format, _ in needs.page_bytes
    )
    found = replace(
        verdict,
        fit="streams" if typical.streamed_bytes else "resident",
        streamed_bytes=typical.streamed_bytes,
        context_tokens=dict(contexts)[room.kv_format],
        contexts=contexts,
    )
    if figures is None or (typical.streamed_bytes and not figures.best_read_bytes_per_s):
        return found
    kv_bytes = PROMPT_TOKENS / PAGE_TOKENS * needs.page_bytes_in(room.kv_format)
    in_layers = [(name, count * FORMATS[name].bits_per_weight / 8) for name, count in needs.multiply_adds]
    one = pass_time(
        needs.token_bytes,
        typical.streamed_bytes,
        waits=needs.experts is not None,
        kv_bytes=kv_bytes,
        memory_bytes_per_s=needs.token_bytes / figures.read_s(in_layers, needs.token_bytes),
        storage_bytes_per_s=STREAM_SHARE * figures.best_read_bytes_per_s,
    )
    chunk_s = one.seconds
    if needs.experts is not None:  # so many tokens need all experts between them
        chunk_s = one.computing_s + one.storage_s / needs.experts.share
    looked_back = needs.attention_multiply_adds * PROMPT_TOKENS / 2
    prompt_s = prompt_token_s(needs.multiply_adds, looked_back, figures)
    return replace(
        found,
        load_s=load_to_first_token_s(needs.weights_bytes, figures),
        prefill_tokens_per_s=None if prompt_s is None else 1 / max(prompt_s, chunk_s / PASS_TOKENS),
        decode_tokens_per_s=1 / (one.seconds + decode_overhead_s(needs.vocab_size, needs.num_layers, figures.layer_s)),
        is_estimate=figures.is_estimate,
    )


def _rung(needs: ModelNeeds, kv_format: str, room: Room, memory_bytes: int, max_tokens: int | None) -> Rung:
    """How the ladder splits the memory. Its speeds are not used, so that its rates need not mean anything."""
    facts = ModelFacts(
        name=needs.name,
        base_bytes=needs.base_bytes,
        weights_bytes=needs.weights_bytes,
        ring_bytes=needs.least_weight_bytes,
        context_length=needs.context_length,
        page_bytes=((kv_format, needs.page_bytes_in(kv_format)),),
        streamed_bytes=needs.streamed_bytes,
        storage_bytes_per_s=1.0,
        memory_bytes_per_s=1.0,
    )
    wish = SpeedWish(
        min_speed=1e-9,  # any
        budget_bytes=memory_bytes,
        usual_kv_bytes=room.kv_bytes,
        page_tokens=PAGE_TOKENS,
        max_tokens=max_tokens,
        least_tokens=1,
    )
    return choose_rung(wish, [facts]).asked
