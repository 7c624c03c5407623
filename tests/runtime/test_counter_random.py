"""The generator is a pure function and looks random along both of its keys."""

import numpy as np
import pytest

from pocketseek.runtime.counter_random import uniform


def test_numbers_lie_in_the_half_open_unit_interval() -> None:
    values = [uniform(seed, position) for seed in (0, 1, 2**64 - 1) for position in range(1000)]
    assert min(values) >= 0.0
    assert max(values) < 1.0


def test_same_key_gives_same_number() -> None:
    assert uniform(7, 11) == uniform(7, 11)


def test_values_never_change_between_versions() -> None:
    keys = [(0, 0), (1, 0), (0, 1), (2**64 - 1, 5)]
    expected = [0.21722594638153103, 0.5057505287093461, 0.7002041945650141, 0.9905842649631735]
    assert [uniform(*key) for key in keys] == expected


def test_keys_give_distinct_numbers() -> None:
    assert len({uniform(seed, position) for seed in range(100) for position in range(100)}) == 10_000


@pytest.mark.parametrize("along", ["seed", "position"])
def test_numbers_are_uniform_along(along: str) -> None:
    values = [uniform(i, 3) if along == "seed" else uniform(3, i) for i in range(16_000)]
    counts = np.histogram(values, bins=16, range=(0.0, 1.0))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 50  # 15 degrees of freedom: beyond this once in 100 000


@pytest.mark.parametrize("along", ["seed", "position"])
def test_neighbours_are_uncorrelated_along(along: str) -> None:
    values = np.array([uniform(i, 3) if along == "seed" else uniform(3, i) for i in range(10_000)])
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.05
