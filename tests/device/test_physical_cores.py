"""Processors that share a core are counted once; what the kernel does not tell is unknown."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pocketseek.device.physical_cores import count_cores, one_per_core, physical_cores

FakeRoot = Callable[[Mapping[str, object]], Path]


def files(lists: dict[int, str], name: str = "core_cpus_list") -> dict[str, str]:
    return {f"sys/devices/system/cpu/cpu{number}/topology/{name}": text for number, text in lists.items()}


def test_the_list_of_each_processor_makes_the_cores(fake_root: FakeRoot) -> None:
    known = physical_cores(fake_root(files({0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3", 4: "4"})))
    assert known is not None
    assert (known.value, known.source) == (((0, 2), (1, 3), (4,)), "topology/core_cpus_list")


def test_older_kernels_have_the_list_under_another_name(fake_root: FakeRoot) -> None:
    known = physical_cores(fake_root(files({0: "0-1", 1: "0-1"}, "thread_siblings_list")))
    assert known is not None
    assert (known.value, known.source) == (((0, 1),), "topology/thread_siblings_list")


@pytest.mark.parametrize("text", ["", "x", "7", "0-99999999", "-1", "0,"])
def test_lists_that_are_none_or_of_another_processor_are_not_believed(fake_root: FakeRoot, text: str) -> None:
    assert physical_cores(fake_root(files({0: text}))) is None


def test_nothing_is_known_of_an_empty_root(tmp_path: Path) -> None:
    assert physical_cores(tmp_path) is None


def test_a_processor_without_a_core_counts_for_itself() -> None:
    assert count_cores((0, 1, 2, 3), ((0, 1), (2, 3))) == 2
    assert count_cores((0, 2, 7), ((0, 1), (2, 3))) == 3
    assert count_cores((0, 1, 2), None) == 3


def test_the_first_processor_stands_for_its_core() -> None:
    assert one_per_core((9, 1, 8, 3), ((0, 8), (1, 9), (2, 10))) == (1, 3, 8)
