"""Sizes of caches in made-up trees."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pocketseek.device.caches import largest_cache_bytes

FakeRoot = Callable[[Mapping[str, object]], Path]


@pytest.mark.parametrize(
    ("sizes", "largest_bytes"),
    [
        (["32K", "512K", "32768K"], 32 << 20),
        (["48K", "2M", "1G"], 1 << 30),
        ([], None),
        (["", "x", "K", "-1K", "1T"], None),
    ],
)
def test_the_largest_counts(fake_root: FakeRoot, sizes: list[str], largest_bytes: int | None) -> None:
    folder = "sys/devices/system/cpu/cpu0/cache"
    root = fake_root({f"{folder}/index{number}/size": size for number, size in enumerate(sizes)})
    assert largest_cache_bytes(root) == largest_bytes
