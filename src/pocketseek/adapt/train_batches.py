"""Which sequences a step learns from, and how they are padded. All of it follows from the seed, so that an interrupted
training goes on as if nothing had been."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketseek.adapt.data_tokens import TokenSequence

_MOST_VALIDATION = 64
_LEAST_FOR_VALIDATION = 10


@dataclass(frozen=True)
class Batch:
    """ids int64, wanted bool: (texts, length), padded at the end with 0 and False."""

    ids: NDArray[np.int64]
    wanted: NDArray[np.bool_]


def indices_of_step(num_sequences: int, batch: int, seed: int, step: int) -> list[int]:
    """A fresh order for each epoch; a batch may lie in two."""
    wanted = []
    order: NDArray[np.int64] = np.empty(0, np.int64)
    epoch_of_order = -1
    for place in range(step * batch, (step + 1) * batch):
        epoch, inside = divmod(place, num_sequences)
        if epoch != epoch_of_order:
            order, epoch_of_order = np.random.default_rng([seed, 1, epoch]).permutation(num_sequences), epoch
        wanted.append(int(order[inside]))
    return wanted


class HasIds(Protocol):
    @property
    def ids(self) -> NDArray[np.int32]: ...


Sized = TypeVar("Sized", bound=HasIds)


def micro_groups(sequences: Sequence[Sized], most_tokens: int) -> Iterator[list[Sized]]:
    """At most so many tokens at once, padding included, but one sequence at least; similar lengths together."""
    group: list[Sized] = []
    for sequence in sorted(sequences, key=lambda one: -len(one.ids)):
        if group and (len(group) + 1) * len(group[0].ids) > most_tokens:
            yield group
            group = []
        group.append(sequence)
    if group:
        yield group


def set_aside(sequences: Sequence[TokenSequence], share: float) -> tuple[list[TokenSequence], list[TokenSequence]]:
    """(to learn from, to validate with): evenly spread ones, at most 64 and fewer than half; none of fewer than 10."""
    if share <= 0 or len(sequences) < _LEAST_FOR_VALIDATION:
        return list(sequences), []
    count = min(_MOST_VALIDATION, max(1, round(share * len(sequences))), len(sequences) // 2)
    chosen = {int((index + 0.5) * len(sequences) / count) for index in range(count)}
    learnt = [one for index, one in enumerate(sequences) if index not in chosen]
    return learnt, [sequences[index] for index in sorted(chosen)]


def padded(group: Sequence[TokenSequence]) -> Batch:
    """To the longest."""
    ids, wanted = padded_ids(group), np.zeros((len(group), max(len(one.ids) for one in group)), np.bool_)
    for row, sequence in enumerate(group):
        wanted[row, : len(sequence.ids)] = sequence.wanted
    return Batch(ids, wanted)


def padded_ids(group: Sequence[HasIds]) -> NDArray[np.int64]:
    """(texts, length of the longest)."""
    ids = np.zeros((len(group), max(len(one.ids) for one in group)), np.int64)
    for row, sequence in enumerate(group):
        ids[row, : len(sequence.ids)] = sequence.ids
    return ids
