"""Pages stay where they are when memory grows; what is released goes back to the system and can be taken again."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
from kernels.random_model import config

from pocketseek.device.memory import process_memory
from pocketseek.errors import MemoryLimitError, UsageError
from pocketseek.kernels.kv_memory import KvFormat, KvMemory, choose_kv_format, page_bytes


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


@pytest.mark.parametrize(("kv", "bytes_per_token"), [("f16", 2 * 2 * (24 + 32) * 2), ("q8", 2 * 2 * (24 + 32 + 8))])
def test_a_page_takes_what_its_format_says(kv: KvFormat, bytes_per_token: int) -> None:
    assert KvMemory(config(), 1, kv).page(0).size == 64 * bytes_per_token
    assert 0 <= page_bytes(config(), kv) - 64 * bytes_per_token < mmap.PAGESIZE


def test_the_heads_of_a_layer_are_views_into_the_page() -> None:
    memory = KvMemory(config(), 2, "q8")
    memory.page(1)[:] = 0
    memory.layer_of_page(1, 1)["key_scale"][0, 5] = 2.0
    assert memory.page(1).view(np.float32).max() == 2.0
    assert memory.page(0).size == memory.page(1).size


def test_pages_lie_on_whole_pages_of_the_system() -> None:
    memory = KvMemory(config(head_dim=26, num_kv_heads=1), 3, "q8")
    assert memory.page(0).size % mmap.PAGESIZE
    assert (memory.addresses % mmap.PAGESIZE == 0).all()


def test_released_pages_lose_their_contents_and_the_others_keep_theirs() -> None:
    memory = KvMemory(config(), 4)
    memory.grow(3)
    before = memory.addresses.copy()
    for page_id in range(7):
        memory.page(page_id)[:] = page_id + 1
    memory.release([5, 0, 3, 4])  # 3 and 4 are neighbours in two slabs
    assert [int(memory.page(page_id).max()) for page_id in range(7)] == [0, 2, 3, 0, 0, 0, 7]
    memory.page(4)[:] = 9
    assert (memory.page(4) == 9).all()
    assert (memory.addresses == before).all()


@pytest.mark.skipif(process_memory().anonymous_bytes is None, reason="/proc does not say what a process takes")
@pytest.mark.parametrize("kv", ["f16", "q8"])
def test_released_memory_really_goes_back_and_can_be_taken_again(kv: KvFormat) -> None:
    def taken_bytes() -> int:
        return (process_memory().anonymous_bytes or 0) - before

    size = config(num_layers=8, num_kv_heads=8, num_heads=8, head_dim=128)
    memory, each = KvMemory(size, 40, kv), page_bytes(size, kv)
    slack = 4 << 20  # of the process, and of huge pages
    before = process_memory().anonymous_bytes or 0
    for page_id in range(40):
        memory.page(page_id)[:] = 1
    assert abs(taken_bytes() - 40 * each) < slack
    memory.release(range(10, 40))
    assert abs(taken_bytes() - 10 * each) < slack
    for page_id in range(10, 30):
        memory.page(page_id)[:] = 1
    assert abs(taken_bytes() - 30 * each) < slack
    memory.release(range(30))
    assert taken_bytes() < slack


def test_more_than_the_system_gives_is_a_memory_limit() -> None:
    memory = KvMemory(config(), 1)
    with pytest.raises(MemoryLimitError, match="refused by the system"):
        memory.grow(1 << 40)
    assert memory.num_pages == 1


def test_formats_go_by_their_names() -> None:
    assert (choose_kv_format(), choose_kv_format("q8")) == ("f16", "q8")
    with pytest.raises(UsageError, match="'q9'; choose one of f16, q8"):
        choose_kv_format("q9")
