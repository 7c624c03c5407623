"""Which units stay in memory for a given number of bytes, and where in the ring the others are read. Pure arithmetic.

What stays is spread evenly through the pass, so that storage and processor have work at the same time all along, but
in *stretches* of about STRETCH_BYTES that lie together in a file: storage is fastest, often by half, in long runs, when
the system or the device has begun to read ahead. Every number of bytes takes a beginning of one order of all units
(stretches by the golden ratio, `spread_order`); so when memory grows or shrinks only the units in between move.

The ring is laid out anew for every pass in the same way, so a unit's place never changes while the plan stands: units
follow each other, and a pass goes a whole number of times around, each time about as far. A unit may be read once all
earlier units whose bytes it overwrites are released: `Slot.distance` says how far back the latest of those is, counted
through the passes. Ranges of a file begin and end at multiples of BLOCK_BYTES, in file and ring, as direct I/O wants.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from pocketseek.runtime.residency.units import Piece, Unit

BLOCK_BYTES = 4096
RING_UNITS = 16  # of the usual size more than a stretch: the next one is begun while the end of one is copied
STRETCH_BYTES = 24 << 20
CACHED_BYTES = 16 << 20
_RING_SHARE = 8  # of all weights, at most
_CACHED_SHARE = 16  # likewise
_MERGE_BYTES = 64 * 1024  # a gap in a file that is cheaper to read than to leave out
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class FileRange:
    """num_bytes of a chunk, to be read to `position` of the ring."""

    chunk: int
    offset: int
    num_bytes: int
    position: int


@dataclass(frozen=True)
class Slot:
    """A streamed unit's place in the ring. distance: it overwrites no unit later than this many before it.

    left_behind: (chunk, offset, bytes) that are of no use in the page cache once the unit is read: its ranges and the
    end of the unit before, if that lies before them, since the system keeps and drops pages in clusters that may
    straddle the two. Without the last block where the next unit follows, which may begin with it.
    """

    unit: Unit
    ranges: tuple[FileRange, ...]
    distance: int
    left_behind: tuple[tuple[int, int, int], ...] = ()

    @property
    def num_bytes(self) -> int:
        return sum(part.num_bytes for part in self.ranges)

    def follows(self, before: Slot) -> bool:
        """It begins where that one ends in a file."""
        return _lies_behind(self.ranges[0], before.ranges[-1])

    def position_of(self, piece: Piece) -> int:
        """Where in the ring the piece begins."""
        for part in self.ranges:
            if part.chunk == piece.chunk and part.offset <= piece.offset < part.offset + part.num_bytes:
                return part.position + piece.offset - part.offset
        raise KeyError(f"{piece.tensor} is not in this slot")


@dataclass(frozen=True)
class Plan:
    """resident: indices of the units that stay in memory. slots: the others, in the order of the pass. cached_bytes: of
    these, what lies in the page cache on its way."""

    units: tuple[Unit, ...]
    resident: frozenset[int]
    slots: tuple[Slot, ...]
    ring_bytes: int
    cached_bytes: int = 0

    @cached_property
    def slot_of(self) -> Mapping[int, Slot]:
        """By index of the unit."""
        return {slot.unit.index: slot for slot in self.slots}

    @cached_property
    def resident_bytes(self) -> int:
        return sum(unit.num_bytes for unit in self.units if unit.index in self.resident)

    @property
    def memory_bytes(self) -> int:
        return self.resident_bytes + self.ring_bytes + self.cached_bytes

    @cached_property
    def streamed_bytes(self) -> int:
        """What storage is asked for by a whole pass."""
        return sum(slot.num_bytes for slot in self.slots)


def make_plan(units: tuple[Unit, ...], memory_bytes: int | None, ring_bytes: int, cached_bytes: int = 0) -> Plan:
    """memory_bytes: for units, ring and what is cached together; None: all that it takes. ring_bytes: see
    `least_ring_bytes`; cached_bytes: see `usual_cached_bytes`.

    With less than these two everything is streamed. They are there only if something is streamed.
    """
    total_bytes = sum(unit.num_bytes for unit in units)
    if memory_bytes is None or memory_bytes >= total_bytes:
        return Plan(units, frozenset(unit.index for unit in units), (), 0)
    resident = frozenset(_fitting(units, memory_bytes - ring_bytes - cached_bytes))
    streamed = [unit for unit in units if unit.index not in resident]
    return Plan(units, resident, tuple(lay_out(streamed, ring_bytes)), ring_bytes, cached_bytes)


def spread_order(count: int) -> list[int]:
    """0 .. count - 1, so that every beginning of it is spread evenly over them."""
    return sorted(range(count), key=lambda index: (index * _GOLDEN) % 1.0)


def least_ring_bytes(units: Iterable[Unit]) -> int:
    """The smallest ring in which one unit can be read while another is computed with."""
    return 2 * max(slot_bytes(unit) for unit in units)


def usual_ring_bytes(units: Sequence[Unit]) -> int:
    """Room for RING_UNITS, but no large part of a small model: that is better kept than read."""
    most_bytes = sum(unit.num_bytes for unit in units) // _RING_SHARE
    return max(least_ring_bytes(units), min(RING_UNITS * max(slot_bytes(unit) for unit in units), most_bytes))


def usual_cached_bytes(units: Sequence[Unit]) -> int:
    """What reading through the page cache keeps there: the system reads some MB ahead of each reader, and what was read
    is dropped a unit later. Not counted, it takes the place of weights that shall stay, pass after pass."""
    return min(CACHED_BYTES, sum(unit.num_bytes for unit in units) // _CACHED_SHARE)


def slot_bytes(unit: Unit) -> int:
    return sum(part.num_bytes for part in _ranges(unit, 0))


def lay_out(units: Sequence[Unit], ring_bytes: int) -> list[Slot]:
    """Places for units that are streamed in this order, pass after pass. Raises ValueError if one does not fit."""
    sizes = [slot_bytes(unit) for unit in units]
    largest_bytes, total_bytes = max(sizes, default=0), sum(sizes)
    if largest_bytes > ring_bytes:
        raise ValueError(f"a unit of {largest_bytes} bytes does not fit in a ring of {ring_bytes}")
    num_rounds = -(-total_bytes // max(1, ring_bytes - largest_bytes))
    places: list[tuple[int, int]] = []
    end, done_bytes, number = 0, 0, 1
    for size in sizes:
        if done_bytes >= total_bytes * number / num_rounds or end + size > ring_bytes:
            end, number = 0, number + 1
        places.append((end, end + size))
        end += size
        done_bytes += size
    all_ranges = [tuple(_ranges(unit, start)) for unit, (start, _) in zip(units, places, strict=True)]
    left_behind = _left_behind(all_ranges)
    return [
        Slot(unit, ranges, _distance(places, index), left)
        for index, (unit, ranges, left) in enumerate(zip(units, all_ranges, left_behind, strict=True))
    ]


def _left_behind(all_ranges: Sequence[Sequence[FileRange]]) -> Iterator[tuple[tuple[int, int, int], ...]]:
    """For each unit; see `Slot`."""
    before: FileRange | None = None
    for ranges, after in zip(all_ranges, [*all_ranges[1:], ()], strict=True):
        left: list[tuple[int, int, int]] = []
        for part, behind in zip(ranges, [*ranges[1:], *after[:1], None], strict=False):
            start, end = part.offset, part.offset + part.num_bytes
            if before is not None and _lies_behind(part, before):
                start = before.offset
            if behind is not None and _lies_behind(behind, part):
                end -= BLOCK_BYTES
            if start < end:
                left.append((part.chunk, start, end - start))
            before = part
        yield tuple(left)


def _lies_behind(part: FileRange, before: FileRange) -> bool:
    """In the file, but for a small gap; the two may share a block."""
    gap_bytes = part.offset - (before.offset + before.num_bytes)
    return part.chunk == before.chunk and -BLOCK_BYTES <= gap_bytes <= _MERGE_BYTES


def _distance(places: Sequence[tuple[int, int]], index: int) -> int:
    start, end = places[index]
    for distance in range(1, len(places)):
        other_start, other_end = places[index - distance]
        if start < other_end and other_start < end:
            return distance
    return len(places)


def _fitting(units: Sequence[Unit], num_bytes: int) -> Iterator[int]:
    stretches = list(stretches_of(units))
    for number in spread_order(len(stretches)):
        for unit in stretches[number]:
            num_bytes -= unit.num_bytes
            if num_bytes < 0:
                return
            yield unit.index


def stretches_of(units: Sequence[Unit], stretch_bytes: int = STRETCH_BYTES) -> Iterator[list[Unit]]:
    """Units that follow each other, of one stage, which lies together in files: about so many bytes each."""
    for _, group in groupby(units, lambda unit: unit.layer):
        of_stage = list(group)
        total_bytes, done_bytes = sum(unit.num_bytes for unit in of_stage), 0
        stretches: list[list[Unit]] = [[] for _ in range(max(1, round(total_bytes / stretch_bytes)))]
        for unit in of_stage:
            stretches[done_bytes * len(stretches) // total_bytes].append(unit)
            done_bytes += unit.num_bytes
        yield from (stretch for stretch in stretches if stretch)


def _ranges(unit: Unit, position: int) -> Iterator[FileRange]:
    """What to read for a unit; pieces that lie close together in a file are one range."""
    runs: list[tuple[int, int, int]] = []  # chunk, start, end
    for piece in unit.pieces:
        start = piece.offset // BLOCK_BYTES * BLOCK_BYTES
        end = -(-(piece.offset + piece.num_bytes) // BLOCK_BYTES) * BLOCK_BYTES
        if runs and runs[-1][0] == piece.chunk and -BLOCK_BYTES <= start - runs[-1][2] <= _MERGE_BYTES:
            runs[-1] = piece.chunk, runs[-1][1], max(end, runs[-1][2])
        else:
            runs.append((piece.chunk, start, end))
    for chunk, start, end in runs:
        yield FileRange(chunk, start, end - start, position)
        position += end - start


def cut(offset: int, num_bytes: int, read_bytes: int, grid_bytes: int) -> Iterator[tuple[int, int]]:
    """(offset, bytes) of reads of at most read_bytes; grid_bytes: they end at multiples of it (0: anywhere)."""
    end = offset + num_bytes
    while offset < end:
        most_bytes = read_bytes - (offset % grid_bytes if grid_bytes else 0)
        size = min(most_bytes, end - offset)
        yield offset, size
        offset += size
