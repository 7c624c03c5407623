"""The tightest limit counts, in both versions of cgroups, seen from inside or outside a container."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pocketseek.device.cgroup import MemoryLimit, cpu_quota, memory_limit

MEGABYTE = 1_000_000

FakeRoot = Callable[[Mapping[str, object]], Path]


def test_no_cgroup_files_mean_no_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None
    assert cpu_quota(tmp_path) is None


def test_version_2_limit_counts_inactive_file_cache_as_free(fake_root: FakeRoot) -> None:
    root = fake_root(
        {
            "proc/self/cgroup": "0::/app",
            "sys/fs/cgroup/app/memory.max": 600 * MEGABYTE,
            "sys/fs/cgroup/app/memory.current": 500 * MEGABYTE,
            "sys/fs/cgroup/app/memory.stat": f"anon 1\ninactive_file {300 * MEGABYTE}\nactive_file 5",
        },
    )
    assert memory_limit(root) == MemoryLimit(600 * MEGABYTE, 400 * MEGABYTE)


def test_a_tighter_group_above_is_found(fake_root: FakeRoot) -> None:
    root = fake_root(
        {
            "proc/self/cgroup": "0::/a/b",
            "sys/fs/cgroup/a/memory.max": 100 * MEGABYTE,
            "sys/fs/cgroup/a/b/memory.max": "max",
        },
    )
    assert memory_limit(root) == MemoryLimit(100 * MEGABYTE, 100 * MEGABYTE)


def test_version_1_limit_is_found_at_the_mount_when_the_path_is_the_hosts(fake_root: FakeRoot) -> None:
    root = fake_root(
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 200 * MEGABYTE,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": 250 * MEGABYTE,
        },
    )
    assert memory_limit(root) == MemoryLimit(200 * MEGABYTE, 0)


def test_the_huge_number_of_version_1_is_no_limit(fake_root: FakeRoot) -> None:
    root = fake_root(
        {"proc/self/cgroup": "4:memory:/", "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712},
    )
    assert memory_limit(root) is None


def test_a_path_that_climbs_out_of_the_mount_is_ignored(fake_root: FakeRoot) -> None:
    root = fake_root({"proc/self/cgroup": "0::/../../x", "sys/fs/x/memory.max": 1})
    assert memory_limit(root) is None


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": 200000,
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": 100000,
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": -1,
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": 100000,
            },
            None,
        ),
    ],
)
def test_processor_quota_is_the_ratio_of_its_two_figures(
    fake_root: FakeRoot, files: dict[str, object], quota: float | None
) -> None:
    assert cpu_quota(fake_root(files)) == quota
