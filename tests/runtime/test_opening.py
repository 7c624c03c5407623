"""What is chosen from the facts of a device before an engine is opened."""

from dataclasses import replace

import pytest

from pocketseek.device.clusters import CoreCluster
from pocketseek.device.probe import check_device
from pocketseek.runtime.opening import cool_cores, num_cores

PRIME = CoreCluster((7,), 3.3e9, "Cortex-X4", 1024)
MIDDLE = CoreCluster((3, 4, 5, 6), 3.0e9, "Cortex-A720", 800)
LITTLE = CoreCluster((0, 1, 2), 2.2e9, "Cortex-A520", 300)


@pytest.mark.parametrize(
    ("clusters", "performance", "cool"),
    [
        ((PRIME, MIDDLE, LITTLE), (3, 4, 5, 6, 7), (3, 4, 5, 6)),
        ((MIDDLE, LITTLE), (3, 4, 5, 6), ()),
        ((), (0, 1), ()),
        ((PRIME, MIDDLE, LITTLE), None, ()),
    ],
)
def test_the_cooler_ones_are_fast_but_not_the_fastest(
    clusters: tuple[CoreCluster, ...], performance: tuple[int, ...] | None, cool: tuple[int, ...]
) -> None:
    facts = replace(check_device(), clusters=clusters, performance_cores=performance, usable_cores=tuple(range(8)))
    assert cool_cores(replace(facts, physical_cores=None)) == cool


def test_of_a_cooler_core_with_two_threads_one_computes() -> None:
    facts = replace(
        check_device(), clusters=(PRIME, MIDDLE), performance_cores=(3, 4, 5, 6, 7), usable_cores=tuple(range(8))
    )
    assert cool_cores(replace(facts, physical_cores=((3, 4), (5, 6), (7,)))) == (3, 5)


def test_a_core_with_two_threads_counts_once() -> None:
    facts = replace(check_device(), performance_cores=(4, 5, 6, 7), cpu_quota=None)
    assert num_cores(replace(facts, physical_cores=((0,), (1,), (4, 5), (6, 7)))) == 2
    assert num_cores(replace(facts, physical_cores=None)) == 4
    assert num_cores(replace(facts, physical_cores=((4, 5), (6, 7)), cpu_quota=1.5)) == 1
