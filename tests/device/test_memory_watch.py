"""What the watch reads, from made-up trees of both versions of cgroups and from this machine."""

import resource
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pocketseek.device.memory_watch import MemoryFacts, MemoryWatch, read_memory

MEGABYTE = 1_000_000
NO_LIMIT_V1 = 9223372036854771712

FakeRoot = Callable[[Mapping[str, object]], Path]


def v2_group(folder: str, *, limit: object, usage_bytes: int, cache_bytes: int = 0) -> dict[str, object]:
    return {
        f"sys/fs/cgroup/{folder}/memory.max": limit,
        f"sys/fs/cgroup/{folder}/memory.high": "max",
        f"sys/fs/cgroup/{folder}/memory.current": usage_bytes,
        f"sys/fs/cgroup/{folder}/memory.stat": f"anon 7\ninactive_file {cache_bytes}\nactive_file 0\n",
    }


def v1_group(folder: str, *, limit: object, usage_bytes: int, cache_bytes: int = 0) -> dict[str, object]:
    return {
        f"sys/fs/cgroup/memory/{folder}/memory.limit_in_bytes": limit,
        f"sys/fs/cgroup/memory/{folder}/memory.usage_in_bytes": usage_bytes,
        f"sys/fs/cgroup/memory/{folder}/memory.stat": (
            f"active_file 99\ninactive_file 99\ntotal_inactive_file 0\ntotal_active_file {cache_bytes}\n"
        ),
    }


def pressure(some_us: int) -> str:
    return (
        f"some avg10=0.00 avg60=0.00 avg300=0.00 total={some_us}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=999999"
    )


def room_and_limit(root: Path) -> tuple[int | None, int | None]:
    facts = read_memory(root)
    return facts.group_room_bytes, facts.group_limit_bytes


def test_an_empty_root_leaves_all_but_the_page_faults_unknown(tmp_path: Path) -> None:
    facts = read_memory(tmp_path)
    assert facts == MemoryFacts(major_faults=facts.major_faults)
    assert facts.major_faults is not None


def test_machine_and_own_memory_are_read(fake_root: FakeRoot) -> None:
    root = fake_root(
        {
            "proc/meminfo": "MemTotal:  8000 kB\nMemFree: 1 kB\nMemAvailable:    5000 kB",
            "proc/self/status": "Name:\tpython\nRssAnon:\t  100 kB\nRssFile:\t 9 kB\nRssShmem:\t 20 kB\nVmSwap:\t 7 kB",
        }
    )
    facts = read_memory(root)
    assert (facts.machine_total_bytes, facts.machine_available_bytes) == (8000 * 1024, 5000 * 1024)
    assert facts.own_anonymous_bytes == 120 * 1024


def test_shared_memory_that_is_not_told_is_none(fake_root: FakeRoot) -> None:
    root = fake_root({"proc/self/status": "RssAnon:\t100 kB"})
    assert read_memory(root).own_anonymous_bytes == 100 * 1024


@pytest.mark.parametrize(
    "text", ["MemAvailable: kB", "MemAvailable: -5 kB", "MemAvailable: 5 MB", "MemAvailable", "\0"]
)
def test_nonsense_is_unknown(fake_root: FakeRoot, text: str) -> None:
    assert read_memory(fake_root({"proc/meminfo": text})).machine_available_bytes is None


def test_file_cache_of_the_group_counts_as_room_in_version_2(fake_root: FakeRoot) -> None:
    group = v2_group("app", limit=600 * MEGABYTE, usage_bytes=500 * MEGABYTE, cache_bytes=300 * MEGABYTE)
    root = fake_root({"proc/self/cgroup": "0::/app"} | group)
    assert room_and_limit(root) == (400 * MEGABYTE, 600 * MEGABYTE)


def test_file_cache_of_all_groups_below_counts_as_room_in_version_1(fake_root: FakeRoot) -> None:
    group = v1_group("app", limit=600 * MEGABYTE, usage_bytes=500 * MEGABYTE, cache_bytes=300 * MEGABYTE)
    root = fake_root({"proc/self/cgroup": "5:cpu:/x\n4:memory:/app\n0::/"} | group)
    assert room_and_limit(root) == (400 * MEGABYTE, 600 * MEGABYTE)


def test_room_is_that_of_the_group_with_the_least_wherever_the_limit_is_tightest(fake_root: FakeRoot) -> None:
    outer = v2_group("a", limit=900 * MEGABYTE, usage_bytes=890 * MEGABYTE)
    inner = v2_group("a/b", limit=600 * MEGABYTE, usage_bytes=100 * MEGABYTE)
    root = fake_root({"proc/self/cgroup": "0::/a/b"} | outer | inner)
    assert room_and_limit(root) == (10 * MEGABYTE, 600 * MEGABYTE)


def test_room_is_never_negative(fake_root: FakeRoot) -> None:
    root = fake_root({"proc/self/cgroup": "4:memory:/"} | v1_group("", limit=100, usage_bytes=250))
    assert room_and_limit(root) == (0, 100)


@pytest.mark.parametrize(("version", "limit"), [("v1", NO_LIMIT_V1), ("v2", "max")])
def test_no_limit_means_no_room_is_counted(fake_root: FakeRoot, version: str, limit: object) -> None:
    group = (v1_group if version == "v1" else v2_group)("app", limit=limit, usage_bytes=5)
    assert room_and_limit(fake_root({"proc/self/cgroup": "0::/app\n4:memory:/app"} | group)) == (None, None)


def test_the_level_at_which_version_2_throttles_is_a_limit(fake_root: FakeRoot) -> None:
    group = v2_group("app", limit=600, usage_bytes=100) | {"sys/fs/cgroup/app/memory.high": 400}
    assert room_and_limit(fake_root({"proc/self/cgroup": "0::/app"} | group)) == (300, 400)


def test_a_limit_without_a_usage_is_known_but_its_room_is_not(fake_root: FakeRoot) -> None:
    root = fake_root({"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/memory.max": 400})
    assert room_and_limit(root) == (None, 400)


def test_groups_beside_version_1_are_found_under_unified(fake_root: FakeRoot) -> None:
    group = v2_group("unified/app", limit=600, usage_bytes=100)
    assert room_and_limit(fake_root({"proc/self/cgroup": "4:memory:/app\n0::/app"} | group)) == (500, 600)


def test_a_limit_that_changes_is_noticed(fake_root: FakeRoot) -> None:
    watch = MemoryWatch(fake_root({"proc/self/cgroup": "0::/app"} | v2_group("app", limit="max", usage_bytes=100)))
    assert watch.read().group_limit_bytes is None
    fake_root({"sys/fs/cgroup/app/memory.max": 300})
    assert watch.read().group_room_bytes == 200


def test_a_move_to_another_group_is_noticed(fake_root: FakeRoot) -> None:
    groups = v2_group("a", limit=600, usage_bytes=100) | v2_group("b", limit=300, usage_bytes=100)
    watch = MemoryWatch(fake_root({"proc/self/cgroup": "0::/a"} | groups))
    assert watch.read().group_limit_bytes == 600
    fake_root({"proc/self/cgroup": "0::/b"})
    assert watch.read().group_limit_bytes == 300


def test_a_group_that_is_gone_is_unknown(fake_root: FakeRoot) -> None:
    root = fake_root({"proc/self/cgroup": "0::/app"} | v2_group("app", limit=600, usage_bytes=100))
    watch = MemoryWatch(root)
    for file in (root / "sys/fs/cgroup/app").iterdir():
        file.unlink()
    assert watch.read().group_limit_bytes is None


def test_stalls_are_those_of_the_own_group_before_those_of_the_machine(fake_root: FakeRoot) -> None:
    facts = read_memory(fake_root({"proc/self/cgroup": "0::/app", "proc/pressure/memory": pressure(5)}))
    assert (facts.stall_us, facts.stall_is_own) == (5, False)
    group = "sys/fs/cgroup/app"
    facts = read_memory(fake_root({f"{group}/memory.pressure": pressure(123), f"{group}/cgroup.type": "domain"}))
    assert (facts.stall_us, facts.stall_is_own) == (123, True)


def test_the_root_group_is_the_whole_machine(fake_root: FakeRoot) -> None:
    facts = read_memory(fake_root({"proc/self/cgroup": "0::/", "sys/fs/cgroup/unified/memory.pressure": pressure(7)}))
    assert (facts.stall_us, facts.stall_is_own) == (7, False)


def test_stalls_are_unknown_without_a_readable_file(fake_root: FakeRoot) -> None:
    assert read_memory(fake_root({"proc/pressure/memory": "full avg10=0.00 total=5"})).stall_us is None


def test_this_machine_is_read() -> None:
    watch = MemoryWatch()
    facts = watch.read()
    assert facts.machine_total_bytes is not None
    assert facts.machine_available_bytes is not None
    assert facts.own_anonymous_bytes is not None
    assert 0 < facts.machine_available_bytes <= facts.machine_total_bytes
    assert 0 < facts.own_anonymous_bytes < facts.machine_total_bytes
    assert facts.group_limit_bytes is None or facts.group_room_bytes is not None
    assert facts.major_faults is not None
    assert facts.major_faults <= resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def test_memory_that_this_process_takes_is_seen() -> None:
    watch = MemoryWatch()
    before = watch.read().own_anonymous_bytes or 0
    taken = bytearray(b"x") * (64 << 20)
    assert (watch.read().own_anonymous_bytes or 0) - before > len(taken) // 2
