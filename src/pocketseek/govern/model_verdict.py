"""Which models this device can run, how fast, and which one to take. Pure arithmetic over figures that were measured.

A token of an answer takes as long as reading what a pass reads: all weights from memory, or what is streamed from
storage if that takes longer (govern/ladder.py says how much, as it does for `--min-speed`), and a fixed part for
deciding and sampling. A token of a prompt takes its multiply-adds. Both are held against what this machine reaches at
most, times the share of it that the kernels reach (docs/lab-notes.md); without measured figures speeds are unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pocketseek.govern.ladder import ModelFacts, SpeedWish, choose_rung

Fit = Literal["resident", "streams", "no memory", "no storage", "not yet", "unknown"]

READ_SHARE = 0.85  # of the read limit, a pass with one token reaches
STREAM_SHARE = 0.9  # of plain reads, streaming beside computing reaches
ATTENTION_SHARE = 0.1  # of the int8 peak: K and V are floats
PROMPT_TOKENS = 512
PREFILL_SHARE = 0.75  # of the int8 peak, a pass with many tokens reaches
PASS_OVERHEAD_S = 0.0006  # deciding, sampling, handing on: of a pass with one token
OPEN_S = 0.2  # the tokenizer and the rest, before weights are read
LOAD_SHARE = 0.5  # of plain reads, page faults reach when a model is read for the first time
PASS_TOKENS = 256
RING_BYTES = 50_000_000  # that streamed weights go through, pages of the system's cache included
TYPICAL_TOKENS = 1024  # the context that speeds are told for
PAGE_TOKENS = 64
LARGE_PARAMETERS = 12_000_000_000
LARGE_STORAGE_BYTES = 15_000_000_000  # free, for a model of the 13B class: the package and room to update it
PLEASANT_TOKENS_PER_S = 5.0  # about as fast as people read
USABLE_TOKENS_PER_S = 1.0


@dataclass(frozen=True)
class MachineFigures:
    """What was measured. flash: (bytes of one read, bytes per second), the smallest read first, by one reader.

    streaming_bytes_per_s: in the way that streaming reads; 0.0: not measured.
    """

    kernels: str
    num_threads: int
    read_bandwidth_bytes_per_s: float
    int8_multiply_adds_per_s: float
    flash: tuple[tuple[int, float], ...]
    streaming_bytes_per_s: float = 0.0

    @property
    def flash_bytes_per_s(self) -> float:
        return max((rate for _, rate in self.flash), default=0.0)

    @property
    def best_read_bytes_per_s(self) -> float:
        return self.streaming_bytes_per_s or self.flash_bytes_per_s


@dataclass(frozen=True)
class ModelNeeds:
    """parameters: weights of the model. weights_bytes: what a pass reads of the package.

    multiply_adds: of a token of a prompt, without the head; attention_multiply_adds: for each position that it looks
    back at. base_bytes: the process besides weights and pages. can_run: the engine knows its kind.
    """

    name: str
    quant: str
    parameters: int
    package_bytes: int
    weights_bytes: int
    multiply_adds: int
    attention_multiply_adds: int
    page_bytes: int
    base_bytes: int
    context_length: int
    is_installed: bool = False
    can_run: bool = True


@dataclass(frozen=True)
class Room:
    """None: unknown. kv_bytes: for K and V where all weights fit beside them."""

    memory_bytes: int | None
    storage_free_bytes: int | None
    kv_bytes: int


@dataclass(frozen=True)
class ModelVerdict:
    """streamed_bytes: read from storage for each pass. memory_bytes: with all weights and a context of TYPICAL_TOKENS.

    least_memory_bytes: with all weights streamed. storage_bytes: that must be free (0 if it is installed). load_s:
    until the first token, nothing of it in memory. Speeds are of one answer at TYPICAL_TOKENS; None: not measured.
    """

    needs: ModelNeeds
    fit: Fit
    memory_bytes: int
    least_memory_bytes: int
    storage_bytes: int
    streamed_bytes: int = 0
    context_tokens: int | None = None
    load_s: float | None = None
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None

    @property
    def runs(self) -> bool:
        return self.fit in ("resident", "streams")


def judge_models(models: Sequence[ModelNeeds], room: Room, figures: MachineFigures | None) -> list[ModelVerdict]:
    return [judge_model(model, room, figures) for model in models]


def judge_model(needs: ModelNeeds, room: Room, figures: MachineFigures | None) -> ModelVerdict:
    pages_bytes = -(-min(TYPICAL_TOKENS, needs.context_length) // PAGE_TOKENS) * needs.page_bytes
    least_bytes = needs.base_bytes + min(RING_BYTES, needs.weights_bytes) + pages_bytes
    memory_bytes = needs.base_bytes + needs.weights_bytes + pages_bytes
    storage_bytes = 0 if needs.is_installed else needs.package_bytes
    if not needs.is_installed and needs.parameters >= LARGE_PARAMETERS:
        storage_bytes = max(storage_bytes, LARGE_STORAGE_BYTES)

    def verdict(fit: Fit) -> ModelVerdict:
        return ModelVerdict(needs, fit, memory_bytes, least_bytes, storage_bytes)

    if not needs.can_run:
        return verdict("not yet")
    if room.storage_free_bytes is not None and room.storage_free_bytes < storage_bytes:
        return verdict("no storage")
    if room.memory_bytes is None:
        return verdict("unknown")
    if room.memory_bytes < least_bytes:
        return verdict("no memory")
    return _with_speeds(verdict("streams"), room, room.memory_bytes, figures)


def recommended(verdicts: Sequence[ModelVerdict]) -> ModelVerdict | None:
    """The largest model that writes as fast as people read; else the largest that is usable; else the fastest."""
    running = [one for one in verdicts if one.runs]
    for floor in (PLEASANT_TOKENS_PER_S, USABLE_TOKENS_PER_S):
        fast = [one for one in running if (one.decode_tokens_per_s or 0.0) >= floor]
        if fast:
            return max(fast, key=lambda one: (one.needs.parameters, one.decode_tokens_per_s or 0.0))
    measured = [one for one in running if one.decode_tokens_per_s is not None]
    if measured:
        return max(measured, key=lambda one: one.decode_tokens_per_s or 0.0)
    resident = [one for one in running if one.fit == "resident"]
    return max(resident, key=lambda one: one.needs.parameters, default=None)


def _with_speeds(verdict: ModelVerdict, room: Room, memory_bytes: int, figures: MachineFigures | None) -> ModelVerdict:
    needs = verdict.needs
    facts = _facts(needs, figures)
    typical = choose_rung(_wish(room, memory_bytes, min(TYPICAL_TOKENS, needs.context_length)), [facts]).asked
    longest = choose_rung(_wish(room, memory_bytes, None), [facts]).asked
    streamed_bytes = typical.streamed_bytes
    speeds: tuple[float | None, float | None, float | None] = (None, None, None)
    if figures is not None and (figures.best_read_bytes_per_s or not streamed_bytes):
        storage_s = streamed_bytes / (STREAM_SHARE * figures.best_read_bytes_per_s) if streamed_bytes else 0.0
        kv_bytes = TYPICAL_TOKENS / 2 / PAGE_TOKENS * needs.page_bytes
        reading_s = (needs.weights_bytes + kv_bytes) / (READ_SHARE * figures.read_bandwidth_bytes_per_s)
        token_s = max(storage_s, reading_s) + PASS_OVERHEAD_S
        looked_at = needs.attention_multiply_adds * PROMPT_TOKENS / 2
        prompt_s = needs.multiply_adds / (PREFILL_SHARE * figures.int8_multiply_adds_per_s)
        prompt_s += looked_at / (ATTENTION_SHARE * figures.int8_multiply_adds_per_s)
        prompt_s = max(prompt_s, storage_s / PASS_TOKENS, reading_s / PASS_TOKENS)
        load_s = OPEN_S + needs.weights_bytes / (LOAD_SHARE * figures.flash_bytes_per_s) if figures.flash else None
        speeds = (load_s, 1 / prompt_s, 1 / token_s)
    return ModelVerdict(
        needs,
        "streams" if streamed_bytes else "resident",
        verdict.memory_bytes,
        verdict.least_memory_bytes,
        verdict.storage_bytes,
        streamed_bytes,
        longest.context_tokens,
        *speeds,
    )


def _facts(needs: ModelNeeds, figures: MachineFigures | None) -> ModelFacts:
    """For the ladder, which splits the memory. Without figures its speeds mean nothing and are not used."""

    def streamed_bytes(weight_bytes: int) -> int:
        return max(0, needs.weights_bytes - max(0, weight_bytes - RING_BYTES))

    return ModelFacts(
        name=needs.name,
        base_bytes=needs.base_bytes,
        weights_bytes=needs.weights_bytes,
        ring_bytes=RING_BYTES,
        context_length=needs.context_length,
        page_bytes=(("f16", needs.page_bytes),),
        streamed_bytes=streamed_bytes,
        storage_bytes_per_s=max(1.0, figures.best_read_bytes_per_s if figures else 1.0),
        memory_bytes_per_s=figures.read_bandwidth_bytes_per_s if figures else 1.0,
    )


def _wish(room: Room, memory_bytes: int, max_tokens: int | None) -> SpeedWish:
    return SpeedWish(
        min_speed=1e-9,  # any
        budget_bytes=memory_bytes,
        usual_kv_bytes=room.kv_bytes,
        page_tokens=PAGE_TOKENS,
        max_tokens=max_tokens,
        least_tokens=1,
    )
