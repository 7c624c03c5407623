"""A pass takes the longer of two times, a prompt its arithmetic; nothing is told of what was not measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pocketseek.formats import FORMATS
from pocketseek.govern.expected_speed import (
    LOAD_SHARE,
    LONG_READ_BYTES,
    MAPPED_SHARE,
    OPEN_S,
    READ_SHARE,
    FormatRates,
    MachineFigures,
    load_to_first_token_s,
    pass_time,
    prompt_token_s,
)

FIGURES = MachineFigures("neon-i8mm", 4, 40e9, 300e9, 75e9, ((1 << 20, 1.5e9), (4 << 20, 2e9)), ((4 << 20, 3e9),))


def test_a_pass_takes_the_longer_of_memory_and_storage() -> None:
    rates = {"memory_bytes_per_s": 30e9, "storage_bytes_per_s": 1e9}
    assert pass_time(3e9, 0, **rates).seconds == pytest.approx(0.1)
    assert not pass_time(3e9, 5e7, **rates).storage_bound
    streamed = pass_time(3e9, 5e8, **rates)
    assert (streamed.seconds, streamed.storage_bound) == (pytest.approx(0.5), True)


def test_storage_of_which_nothing_is_known_does_not_matter_where_nothing_is_streamed() -> None:
    assert pass_time(3e9, 0, memory_bytes_per_s=30e9, storage_bytes_per_s=0.0).storage_s == 0.0


def test_keys_and_values_take_longer_than_as_many_bytes_of_weights() -> None:
    rates = {"memory_bytes_per_s": 30e9, "storage_bytes_per_s": 1e9}
    assert pass_time(3e9, 0, kv_bytes=1e9, **rates).seconds > pass_time(4e9, 0, **rates).seconds


@pytest.mark.parametrize("kernels", ["avx512", "avx2", "neon-dotprod"])
def test_every_format_of_weights_has_its_share(kernels: str) -> None:
    for name in FORMATS:
        seconds = prompt_token_s([(name, 10**9)], 0, replace(FIGURES, kernels=kernels))
        assert seconds is not None
        assert seconds > 10**9 / 300e9


def test_several_formats_add_up() -> None:
    one, other = prompt_token_s([("q4p", 10**9)], 0, FIGURES), prompt_token_s([("q8s", 10**8)], 0, FIGURES)
    assert one is not None
    assert other is not None
    assert prompt_token_s([("q4p", 10**9), ("q8s", 10**8)], 0, FIGURES) == pytest.approx(one + other)


MEASURED = replace(FIGURES, passes=(FormatRates("q4p", 20e9, 90e9), FormatRates("q8s", 25e9, 50e9)))


def test_what_passes_were_measured_to_reach_counts_before_shares_of_the_limits() -> None:
    assert prompt_token_s([("q4p", 9 * 10**9)], 0, MEASURED) == pytest.approx(0.1)
    assert prompt_token_s([("q4s", 10**9)], 0, MEASURED) == prompt_token_s([("q4s", 10**9)], 0, FIGURES)
    assert MEASURED.read_s([("q4p", 2e9)], 2e9) == pytest.approx(0.1 / MAPPED_SHARE)
    assert FIGURES.read_s([("q4p", 2e9)], 2e9) == pytest.approx(2 / 40 / READ_SHARE)


def test_formats_are_read_at_their_own_rates_and_what_is_in_no_layer_as_they_are_on_average() -> None:
    layers = MEASURED.read_s([("q4p", 2e9), ("q8s", 5e8)], 2.5e9)
    assert layers == pytest.approx((0.1 + 0.02) / MAPPED_SHARE)
    assert MEASURED.read_s([("q4p", 2e9), ("q8s", 5e8)], 5e9) == pytest.approx(2 * layers)


def test_without_rates_of_arithmetic_or_of_storage_nothing_is_told() -> None:
    assert prompt_token_s([("q4p", 1)], 0, replace(FIGURES, int8_multiply_adds_per_s=None)) is None
    assert load_to_first_token_s(1, replace(FIGURES, flash=())) is None


def test_loading_reads_through_the_page_cache_and_streaming_as_is_fastest() -> None:
    assert load_to_first_token_s(10**9, FIGURES) == pytest.approx(OPEN_S + 1e9 / (LOAD_SHARE * 2e9))
    assert FIGURES.best_read_bytes_per_s == 3e9
    assert replace(FIGURES, streaming_bytes_per_s=2.5e9).best_read_bytes_per_s == 2.5e9


def test_what_storage_keeps_up_counts_for_large_models_and_for_streaming() -> None:
    slow = replace(FIGURES, long_read_bytes_per_s=0.5e9)
    assert slow.best_read_bytes_per_s == 0.5e9
    assert load_to_first_token_s(LONG_READ_BYTES, slow) > load_to_first_token_s(LONG_READ_BYTES, FIGURES)
    assert load_to_first_token_s(LONG_READ_BYTES - 1, slow) == load_to_first_token_s(LONG_READ_BYTES - 1, FIGURES)
