"""Tile rows told by older ones: the same bytes come out, in whatever formats, and little travels for little change."""

from __future__ import annotations

import itertools
from contextlib import suppress
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from package.delta.test_planes import rows_of

from pocketseek.errors import FormatError
from pocketseek.formats import FORMATS
from pocketseek.package.delta.planes import Rows, join_rows, split_rows
from pocketseek.package.delta.tiles import OldRows, read_tiles, write_tiles

COLS, NUM_ROWS = 320, 2


def there_and_back(format_name: str, data: np.ndarray, old: OldRows | None, cols: int = COLS) -> int:
    """The bytes that it takes."""
    delta = write_tiles(format_name, cols, data, old)
    assert delta is not None
    num_rows = len(split_rows(format_name, cols, data).codes)
    assert np.array_equal(read_tiles(format_name, cols, num_rows, delta, old), data)
    return len(delta)


@pytest.mark.parametrize(
    ("format_name", "old_format"), list(itertools.product(sorted(FORMATS), [*sorted(FORMATS), None]))
)
def test_every_format_is_told_by_every_other(format_name: str, old_format: str | None) -> None:
    old = None if old_format is None else OldRows(old_format, rows_of(old_format, COLS, NUM_ROWS, 8))
    there_and_back(format_name, rows_of(format_name, COLS, NUM_ROWS, 7), old)


@given(
    st.sampled_from(sorted(FORMATS)),
    st.sampled_from([None, *sorted(FORMATS)]),
    st.integers(1, 300),
    st.integers(1, 3),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_bytes_come_back_or_are_not_written(
    format_name: str, old_format: str | None, cols: int, num_rows: int, sound: bool
) -> None:
    """Infinite scales, codes out of anything."""
    draw = np.random.default_rng([cols, num_rows])

    def rows(name: str) -> np.ndarray:
        size = len(rows_of(name, cols, num_rows, 1))
        return rows_of(name, cols, num_rows, 1) if sound else np.frombuffer(draw.bytes(size), np.uint8)

    old = None if old_format is None else OldRows(old_format, rows(old_format))
    data = rows(format_name)
    delta = write_tiles(format_name, cols, data, old)
    if delta is None:
        assert not np.array_equal(join_rows(format_name, cols, split_rows(format_name, cols, data)), data)
    else:
        assert np.array_equal(read_tiles(format_name, cols, num_rows, delta, old), data)


@pytest.mark.parametrize("format_name", [name for name in sorted(FORMATS) if FORMATS[name].quantised])
def test_a_scale_that_changed_foretells_its_codes(format_name: str) -> None:
    """The same values on a slightly finer grid: nothing but the new scales travels."""
    name = "D" if format_name == "q4p" else "d"
    old_rows = split_rows(format_name, COLS, rows_of(format_name, COLS, NUM_ROWS, 4))
    sides = old_rows.sides | {name: old_rows.sides[name] + 1}
    data = join_rows(format_name, COLS, Rows(old_rows.codes, sides))
    old = OldRows(format_name, join_rows(format_name, COLS, old_rows))
    assert there_and_back(format_name, data, old) < 64


def test_few_changed_codes_take_few_bytes() -> None:
    old_rows = split_rows("q4p", COLS, rows_of("q4p", COLS, 8, 4))
    draw = np.random.default_rng(1)
    changed = np.clip(old_rows.codes + (draw.random(old_rows.codes.shape) < 0.01), 0, 15)
    data = join_rows("q4p", COLS, Rows(changed, old_rows.sides))
    assert there_and_back("q4p", data, OldRows("q4p", join_rows("q4p", COLS, old_rows))) < len(data) / 25


@cache
def some_delta() -> tuple[OldRows, bytes]:
    old = OldRows("q4p", rows_of("q4p", COLS, NUM_ROWS, 4))
    delta = write_tiles("q4p", COLS, rows_of("q4p", COLS, NUM_ROWS, 5), old)
    assert delta is not None
    return old, delta


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_delta_gives_rows_or_an_error_and_nothing_else(data: st.DataObject) -> None:
    old, delta = some_delta()
    damaged = bytearray(delta)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(FormatError):
        assert len(read_tiles("q4p", COLS, NUM_ROWS, bytes(damaged), old)) == len(old.data)
