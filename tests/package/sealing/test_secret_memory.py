"""Secret memory knows what is in it, keeps what it was not asked to drop, and is in no core dump."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.package.sealing.ciphers import wipe
from pocketseek.package.sealing.secret_memory import SecretMemory, secret_map

PAGE = mmap.PAGESIZE
NUM_BYTES = 10 * PAGE + 77
RANGES = st.tuples(st.integers(0, NUM_BYTES - 1), st.integers(1, NUM_BYTES)).map(
    lambda pair: (pair[0], min(pair[1], NUM_BYTES - pair[0]))
)


def fill(memory: SecretMemory, content: np.ndarray, offset: int, num_bytes: int) -> int:
    total = 0
    for start, size in memory.missing(offset, num_bytes):
        buffer, num_drops = memory.begin_fill(start, size)
        buffer[:] = content[start : start + size].tobytes()
        memory.end_fill(start, size, num_drops)
        total += size
    return total


@given(steps=st.lists(st.tuples(st.booleans(), RANGES), max_size=30))
def test_what_is_filled_is_there_and_nothing_else_counts(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    content = np.random.default_rng(1).integers(1, 256, NUM_BYTES, np.uint8)
    memory, model = SecretMemory(NUM_BYTES), np.zeros(NUM_BYTES, np.bool_)
    for is_fill, (offset, size) in steps:
        if is_fill:
            fill(memory, content, offset, size)
            model[offset // PAGE * PAGE : -(-(offset + size) // PAGE) * PAGE] = True
            assert memory.is_filled(offset, size)
        else:
            memory.drop(offset, size)
            end = NUM_BYTES if offset + size == NUM_BYTES else (offset + size) // PAGE * PAGE
            model[-(-offset // PAGE) * PAGE : end] = False
        assert (memory.data[model] == content[model]).all()
        assert memory.filled_bytes == PAGE * sum(model[start] for start in range(0, NUM_BYTES, PAGE))
        for start in range(0, NUM_BYTES, PAGE):
            assert memory.is_filled(start, 1) == model[start]


def test_nothing_is_filled_twice() -> None:
    content = np.ones(NUM_BYTES, np.uint8)
    memory = SecretMemory(NUM_BYTES)
    assert fill(memory, content, PAGE, PAGE) == PAGE
    assert fill(memory, content, 0, NUM_BYTES) == NUM_BYTES - PAGE
    assert fill(memory, content, 0, NUM_BYTES) == 0


def test_what_was_dropped_while_it_was_filled_does_not_count() -> None:
    memory = SecretMemory(NUM_BYTES)
    buffer, num_drops = memory.begin_fill(0, 4 * PAGE)
    buffer[:] = b"x" * (4 * PAGE)
    memory.drop(PAGE, PAGE)
    memory.end_fill(0, 4 * PAGE, num_drops)
    assert not memory.is_filled(0, 1)
    assert memory.missing(0, 4 * PAGE) == [(0, 4 * PAGE)]


def test_dropped_pages_are_zeros_and_take_no_memory() -> None:
    memory = SecretMemory(NUM_BYTES)
    fill(memory, np.full(NUM_BYTES, 7, np.uint8), 0, NUM_BYTES)
    memory.drop(0, NUM_BYTES)
    assert memory.filled_bytes == 0
    assert not memory.data.any()


def test_it_is_in_no_core_dump() -> None:
    memory = SecretMemory(64 * PAGE)
    fill(memory, np.ones(64 * PAGE, np.uint8), 0, 64 * PAGE)
    flags = _flags_of(memory.data.ctypes.data)
    if flags is None:
        pytest.skip("this system does not tell")
    assert "dd" in flags


def _flags_of(address: int) -> list[str] | None:
    smaps = Path("/proc/self/smaps")
    is_ours = False
    for line in smaps.read_text("ascii", "replace").splitlines() if smaps.exists() else ():
        first = line.split(" ", 1)[0]
        if "-" in first and not first.endswith(":"):
            start, _, end = first.partition("-")
            is_ours = int(start, 16) <= address < int(end, 16)
        elif is_ours and line.startswith("VmFlags:"):
            return line.split()[1:]
    return None


def test_memory_that_the_system_refuses_is_told() -> None:
    from pocketseek.errors import MemoryLimitError

    with pytest.raises(MemoryLimitError, match="refused by the system"):
        secret_map(1 << 60)


def test_a_wiped_key_is_zeros() -> None:
    key = bytearray(b"secret")
    wipe(key)
    assert key == bytes(6)
