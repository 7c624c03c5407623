"""Which sequences a step learns from, and how they are put together."""

from __future__ import annotations

import numpy as np
from adapt.training_models import random_sequences
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.adapt.train_batches import indices_of_step, micro_groups, padded, set_aside


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 5))
def test_every_epoch_has_every_sequence_once(num_sequences: int, batch: int, seed: int) -> None:
    num_steps = -(-2 * num_sequences // batch)
    found = [index for step in range(num_steps) for index in indices_of_step(num_sequences, batch, seed, step)]
    for epoch in range(2):
        assert sorted(found[epoch * num_sequences : (epoch + 1) * num_sequences]) == list(range(num_sequences))


@given(st.integers(1, 20), st.integers(1, 200))
def test_parts_hold_all_tokens_within_the_limit(count: int, most_tokens: int) -> None:
    sequences = random_sequences(count)
    batches = [padded(group) for group in micro_groups(sequences, most_tokens)]
    assert sum(len(batch.ids) for batch in batches) == count
    assert all(batch.ids.size <= most_tokens or len(batch.ids) == 1 for batch in batches)
    assert sum(int(batch.wanted.sum()) for batch in batches) == sum(one.num_wanted for one in sequences)


def test_what_is_set_aside_is_not_learnt() -> None:
    sequences = random_sequences(40)
    learnt, checked = set_aside(sequences, 0.05)
    assert len(checked) == 2
    assert len(learnt) == 38
    assert not {id(one) for one in learnt} & {id(one) for one in checked}
    assert set_aside(sequences[:9], 0.05)[1] == []


def test_padding_is_never_wanted() -> None:
    for group in micro_groups(random_sequences(8), 10_000):
        batch = padded(group)
        for row, wanted in zip(batch.ids, batch.wanted, strict=True):
            last = int(np.flatnonzero(wanted)[-1])
            assert not wanted[last + 1 :].any()
            assert len(row) == batch.ids.shape[1]
