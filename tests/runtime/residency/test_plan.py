"""Which units stay, and where the others are read: nested, evenly spread, and never onto what is still needed."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.runtime.residency.plan import (
    BLOCK_BYTES,
    Plan,
    lay_out,
    least_ring_bytes,
    make_plan,
    slot_bytes,
    spread_order,
    stretches_of,
    usual_ring_bytes,
)
from pocketseek.runtime.residency.units import Piece, Unit


def units_of_sizes(sizes: Sequence[int]) -> tuple[Unit, ...]:
    """One piece each, behind one another in one chunk."""
    units, offset = [], 0
    for index, size in enumerate(sizes):
        units.append(Unit(index, 0, (), (0, 0), (Piece("layer.0.q", index, 1, 0, offset, size),)))
        offset += size
    return tuple(units)


many_sizes = st.lists(st.integers(64, 60_000), min_size=1, max_size=40)


@given(st.integers(1, 400))
def test_every_beginning_of_the_order_is_spread_evenly(count: int) -> None:
    order = spread_order(count)
    assert sorted(order) == list(range(count))
    for taken in {count // 8, count // 3, count // 2, count * 3 // 4}:
        chosen = sorted(order[:taken])
        gaps = [after - before for before, after in itertools.pairwise(chosen)]
        assert not gaps or max(gaps) <= 3 * -(-count // taken) + 1


@given(many_sizes, st.integers(0, 3_000_000), st.integers(0, 3_000_000))
def test_more_memory_keeps_what_less_memory_keeps(sizes: list[int], one: int, other: int) -> None:
    units = units_of_sizes(sizes)
    ring_bytes = usual_ring_bytes(units)
    small, large = (make_plan(units, num_bytes, ring_bytes) for num_bytes in sorted((one, other)))
    assert small.resident <= large.resident


@given(many_sizes, st.integers(0, 3_000_000))
def test_a_plan_keeps_to_its_memory_or_streams_everything(sizes: list[int], num_bytes: int) -> None:
    units = units_of_sizes(sizes)
    plan = make_plan(units, num_bytes, usual_ring_bytes(units))
    assert plan.memory_bytes <= num_bytes or not plan.resident
    assert plan.resident | {slot.unit.index for slot in plan.slots} == set(range(len(units)))
    assert plan.resident_bytes + sum(slot.unit.num_bytes for slot in plan.slots) == sum(sizes)


def test_all_in_memory_needs_no_ring() -> None:
    units = units_of_sizes([4096, 8192])
    assert make_plan(units, None, 65_536) == make_plan(units, 12_288, 65_536) == Plan(units, frozenset({0, 1}), (), 0)


@given(many_sizes, st.integers(0, 200_000))
def test_no_unit_is_read_onto_one_that_is_not_released(sizes: list[int], more_bytes: int) -> None:
    units = units_of_sizes(sizes)
    slots = lay_out(units, least_ring_bytes(units) + more_bytes)
    areas = [(slot.ranges[0].position, slot.ranges[-1].position + slot.ranges[-1].num_bytes) for slot in slots]
    assert all(0 <= start < end <= least_ring_bytes(units) + more_bytes for start, end in areas)
    for index, slot in enumerate(slots):
        start, end = areas[index]
        assert 1 <= slot.distance <= len(slots)
        for back in range(1, slot.distance):  # those that may still be in use
            other_start, other_end = areas[index - back]
            assert other_end <= start or end <= other_start


def test_a_ring_of_several_units_reads_ahead_all_along() -> None:
    units = units_of_sizes([65_536] * 200)
    distances = [slot.distance for slot in lay_out(units, usual_ring_bytes(units))]
    assert min(distances) >= 6


@given(many_sizes)
def test_ranges_are_whole_blocks_and_pieces_lie_in_them(sizes: list[int]) -> None:
    units = units_of_sizes(sizes)
    for slot in lay_out(units, usual_ring_bytes(units)):
        for part in slot.ranges:
            assert part.offset % BLOCK_BYTES == part.num_bytes % BLOCK_BYTES == part.position % BLOCK_BYTES == 0
        (piece,) = slot.unit.pieces
        position = slot.position_of(piece)
        (part,) = slot.ranges
        assert part.position <= position
        assert position + piece.num_bytes <= part.position + part.num_bytes
        assert (position - piece.offset) % BLOCK_BYTES == 0


def test_pieces_that_lie_close_together_are_read_at_once_and_others_apart() -> None:
    def piece(chunk: int, offset: int) -> Piece:
        return Piece("layer.0.q", 0, 1, chunk, offset, 8192)

    unit = Unit(0, 0, (), (0, 0), (piece(0, 0), piece(0, 16_384), piece(0, 1 << 20), piece(1, 0)))
    (slot,) = lay_out([unit], slot_bytes(unit))
    assert [(part.chunk, part.offset, part.num_bytes) for part in slot.ranges] == [
        (0, 0, 24_576),
        (0, 1 << 20, 8192),
        (1, 0, 8192),
    ]


def test_a_unit_that_is_larger_than_the_ring_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        lay_out(units_of_sizes([8192]), 4096)


@given(st.lists(many_sizes, min_size=1, max_size=4), st.integers(4096, 200_000))
def test_stretches_are_all_units_in_order_of_one_stage_each_and_not_much_longer_than_asked(
    sizes_of_stages: list[list[int]], stretch_bytes: int
) -> None:
    units = [
        Unit(index, layer, (), (0, 0), (Piece("t", index, 1, layer, 0, size),))
        for index, (layer, size) in enumerate((n, size) for n, sizes in enumerate(sizes_of_stages) for size in sizes)
    ]
    stretches = list(stretches_of(units, stretch_bytes))
    assert [unit for stretch in stretches for unit in stretch] == units
    for stretch in stretches:
        assert len({unit.layer for unit in stretch}) == 1
        assert sum(unit.num_bytes for unit in stretch) <= 1.5 * stretch_bytes + max(unit.num_bytes for unit in units)


def test_pieces_that_share_a_block_are_read_as_one_range() -> None:
    pieces = (Piece("a", 0, 1, 0, 0, 5000), Piece("b", 0, 1, 0, 5000, 5000))
    (slot,) = lay_out([Unit(0, 0, (), (0, 0), pieces)], 8 * BLOCK_BYTES)
    assert [(part.offset, part.num_bytes) for part in slot.ranges] == [(0, 3 * BLOCK_BYTES)]
    assert [slot.position_of(piece) for piece in pieces] == [0, 5000]
