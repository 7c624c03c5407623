"""Pages stay where they are when memory grows."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.random_model import config

from pocketseek.kernels.kv_memory import KvFormat, KvMemory, page_bytes


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
    assert page_bytes(config(), kv) == 64 * bytes_per_token


def test_the_heads_of_a_layer_are_views_into_the_page() -> None:
    memory = KvMemory(config(), 2, "q8")
    memory.page(1)[:] = 0
    memory.layer_of_page(1, 1)["key_scale"][0, 5] = 2.0
    assert memory.page(1).view(np.float32).max() == 2.0
    assert memory.page(0).size == memory.page(1).size
