"""How an adapter is trained: the figures, with their defaults, and what is refused of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pocketseek.errors import UsageError

Schedule = Literal["cosine", "linear", "constant"]
SCHEDULES: tuple[Schedule, ...] = ("cosine", "linear", "constant")

# The matrix of a layer that a target stands for, by the names that Hugging Face's models and PEFT use.
TARGETS = {
    "q_proj": "q",
    "k_proj": "k",
    "v_proj": "v",
    "o_proj": "o",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
}
MOST_RANK = 256
_DEFAULT_EPOCHS = 3.0


@dataclass(frozen=True)
class TrainSettings:
    """steps: optimiser steps; None: as many as `epochs` over the examples take (None: 3). batch: sequences of a step.
    alpha None: twice the rank. context: the most tokens of a sequence. warm_up: share of the steps in which the rate
    rises from 0 to learning_rate; then it falls to 0 along the schedule. clip_norm 0: gradients are not clipped.

    memory_bytes: for the whole process; None: what is free. num_threads: None: as torch has it.
    """

    rank: int = 16
    alpha: float | None = None
    targets: tuple[str, ...] = tuple(TARGETS)
    steps: int | None = None
    epochs: float | None = None
    learning_rate: float = 2e-4
    schedule: Schedule = "cosine"
    warm_up: float = 0.05
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    batch: int = 8
    context: int = 512
    seed: int = 0
    memory_bytes: int | None = None
    num_threads: int | None = None

    def __post_init__(self) -> None:
        """Raises UsageError."""
        _require(1 <= self.rank <= MOST_RANK, f"the rank is {self.rank}; use 1 to {MOST_RANK}")
        _require(0 < self.scaled_alpha < 1e6, f"alpha is {self.alpha}; use a number above 0, usually twice the rank")
        _check_targets(self.targets)
        _require(self.steps is None or self.epochs is None, "steps and epochs say the same in two ways; give one")
        _require(self.steps is None or 1 <= self.steps <= 10**7, f"steps is {self.steps}; use 1 or more")
        _require(self.epochs is None or 0 < self.epochs <= 1e4, f"epochs is {self.epochs}; use a number above 0")
        _require(
            0 < self.learning_rate <= 1, f"the learning rate is {self.learning_rate}; use one above 0 such as 2e-4"
        )
        _require(self.schedule in SCHEDULES, f"the schedule {self.schedule!r:.40} is unknown; use {_listed(SCHEDULES)}")
        _require(0 <= self.warm_up < 1, f"warm-up is {self.warm_up}; use a share of the steps such as 0.05")
        _require(0 <= self.weight_decay < 1, f"weight decay is {self.weight_decay}; use 0 or a little more")
        _require(self.clip_norm >= 0, f"the clip norm is {self.clip_norm}; use 0 (off) or more")
        _require(1 <= self.batch <= 4096, f"a batch has {self.batch} sequences; use 1 to 4096")
        _require(self.context >= 8, f"the context is {self.context}; use 8 tokens or more")

    @property
    def scaled_alpha(self) -> float:
        return 2.0 * self.rank if self.alpha is None else self.alpha

    @property
    def scale(self) -> float:
        """What multiplies B A x."""
        return self.scaled_alpha / self.rank

    def num_steps(self, num_sequences: int) -> int:
        if self.steps is not None:
            return self.steps
        epochs = _DEFAULT_EPOCHS if self.epochs is None else self.epochs
        return max(1, math.ceil(num_sequences * epochs / self.batch))


def learning_rate(settings: TrainSettings, step: int, num_steps: int) -> float:
    """Of step 0, 1, ... num_steps - 1: as get_cosine_schedule_with_warmup and its sisters of transformers have it."""
    warm_up = math.ceil(settings.warm_up * num_steps) if num_steps > 1 else 0
    if step < warm_up:
        return settings.learning_rate * step / warm_up
    if settings.schedule == "constant":
        return settings.learning_rate
    share = (step - warm_up) / max(1, num_steps - warm_up)
    left = 0.5 * (1 + math.cos(math.pi * share)) if settings.schedule == "cosine" else 1 - share
    return settings.learning_rate * left


def _check_targets(targets: Sequence[str]) -> None:
    _require(bool(targets), f"no targets are given; use some of {_listed(TARGETS)}")
    for target in targets:
        _require(target in TARGETS, f"the target {target!r:.40} is unknown; use some of {_listed(TARGETS)}")
    _require(len(set(targets)) == len(targets), "a target is given twice; name each once")


def _listed(names: Sequence[str] | dict[str, str]) -> str:
    return ", ".join(names)


def _require(is_fine: bool, problem: str) -> None:
    if not is_fine:
        raise UsageError(problem)
