"""Pages stay where they are when memory grows."""

from __future__ import annotations

from kernels.random_model import config

from pocketseek.kernels.kv_memory import KvMemory, page_bytes


def test_growing_keeps_pages_addresses_and_contents() -> None:
    memory = KvMemory(config(), 3)
    memory.page(2)[:] = 7
    before = memory.addresses.copy()
    memory.grow(2)
    assert memory.num_pages == 5
    assert (memory.addresses[:3] == before).all()
    assert (memory.page(2) == 7).all()


def test_addresses_are_aligned_and_a_page_apart() -> None:
    memory = KvMemory(config(), 4)
    assert (memory.addresses % 64 == 0).all()
    assert [int(b - a) for a, b in zip(memory.addresses[:-1], memory.addresses[1:], strict=True)] == [
        page_bytes(config())
    ] * 3
    assert memory.page(3).ctypes.data == int(memory.addresses[3])
