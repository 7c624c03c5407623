"""check_device puts the facts together and never fails for want of one."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import tree_files

from pocketseek.device import memory
from pocketseek.device.permissions import check_permissions
from pocketseek.device.probe import check_device

ALWAYS_KNOWN = {"data_dir", "termux"}
CAN_BE_NONE = {"cpu_quota", "memory_limit_bytes"}  # None with a source

FakeRoot = Callable[[Mapping[str, object]], Path]


def test_an_empty_root_leaves_every_readable_fact_unknown(tmp_path: Path) -> None:
    facts = dataclasses.asdict(check_device(tmp_path, data_dir=tmp_path))
    assert {name for name, value in facts.items() if value not in (None, ())} - {"sources"} == ALWAYS_KNOWN
    assert set(facts["sources"]) == ALWAYS_KNOWN
    assert facts["termux"] is False
    assert check_device(tmp_path).data_dir is None


def test_another_root_says_nothing_of_this_machine(tmp_path: Path) -> None:
    facts = check_device(tree_files.plant("pc", tmp_path))
    assert (facts.architecture, facts.execution_provider, facts.permissions) == (None, None, None)
    assert (facts.data_dir, facts.storage_free_bytes, facts.storage_filesystem) == (None, None, None)


def test_no_limit_is_known_only_where_the_groups_can_be_seen(fake_root: FakeRoot, tmp_path: Path) -> None:
    root = fake_root({"proc/self/cgroup": "0::/", "proc/meminfo": "MemTotal: 8000 kB"})
    assert not CAN_BE_NONE & set(check_device(root, data_dir=tmp_path).sources)
    (root / "sys/fs/cgroup").mkdir(parents=True)
    facts = check_device(root, data_dir=tmp_path)
    assert set(facts.sources) >= CAN_BE_NONE
    assert (facts.cpu_quota, facts.memory_limit_bytes) == (None, None)


def test_accelerators_are_none_only_where_the_kernel_shows_all(fake_root: FakeRoot, tmp_path: Path) -> None:
    root = fake_root({"proc/version": "Linux"})
    assert check_device(root, data_dir=tmp_path).accelerators is None
    (root / "sys/class").mkdir(parents=True)
    facts = check_device(root, data_dir=tmp_path)
    assert (facts.accelerators, facts.sources["accelerators"]) == ((), "/sys/class")
    (root / "system").mkdir()
    (root / "system/build.prop").write_text("ro.soc.model=SM9999\n")  # a phone whose chip is not listed
    assert check_device(root, data_dir=tmp_path).accelerators is None


def test_this_machine_has_memory_cores_and_space() -> None:
    facts = check_device()
    assert facts.usable_cores
    assert facts.memory_total_bytes is not None
    assert facts.memory_available_bytes is not None
    assert 0 < facts.memory_available_bytes <= facts.memory_total_bytes
    assert facts.storage_free_bytes is not None


def test_available_memory_is_what_the_container_leaves(fake_root: FakeRoot, tmp_path: Path) -> None:
    root = fake_root(
        {
            "proc/meminfo": "MemTotal: 8000 kB\nMemAvailable: 5000 kB\n",
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/memory.max": str(3000 * 1024),
        },
    )
    facts = check_device(root, data_dir=tmp_path)
    assert facts.memory_total_bytes == 8000 * 1024
    assert facts.memory_available_bytes == facts.memory_limit_bytes == 3000 * 1024


def test_a_limit_above_the_machines_memory_is_no_limit(fake_root: FakeRoot, tmp_path: Path) -> None:
    root = fake_root(
        {
            "proc/meminfo": "MemTotal: 8000 kB\nMemAvailable: 5000 kB\n",
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/memory.max": str(9000 * 1024),
        },
    )
    facts = check_device(root, data_dir=tmp_path)
    assert facts.memory_limit_bytes is None
    assert facts.memory_available_bytes == 5000 * 1024


def test_every_known_fact_and_no_other_has_a_source(tmp_path: Path) -> None:
    for name in tree_files.NAMES:
        facts = check_device(tree_files.plant(name, tmp_path / name), data_dir=tmp_path)
        values = {field.name: getattr(facts, field.name) for field in dataclasses.fields(facts)}
        known = {fact for fact, value in values.items() if value is not None and value != ()}
        assert set(facts.sources) - CAN_BE_NONE == known - {"sources"} - CAN_BE_NONE, name
        assert all(facts.sources.values())


def test_distribution_kernel_and_board_are_read(fake_root: FakeRoot, tmp_path: Path) -> None:
    root = fake_root(
        {
            "etc/os-release": 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12"\n',
            "proc/sys/kernel/osrelease": "6.1.0\n",
            "proc/device-tree/model": "Raspberry Pi 5\0",
        },
    )
    facts = check_device(root, data_dir=tmp_path)
    assert (facts.os_name, facts.kernel_release) == ("Debian GNU/Linux 12", "6.1.0")
    assert facts.phone_model == "Raspberry Pi 5"


def test_free_space_is_known_before_the_data_directory_exists(tmp_path: Path) -> None:
    assert check_device(data_dir=tmp_path / "not" / "yet").storage_free_bytes


def test_what_has_no_blocks_is_no_disk() -> None:
    facts = check_device(data_dir=Path("/proc/nope"))
    assert (facts.storage_free_bytes, facts.storage_total_bytes) == (None, None)
    assert "storage_free_bytes" not in facts.sources


def test_process_memory_comes_from_its_status(fake_root: FakeRoot) -> None:
    root = fake_root({"proc/self/status": "VmHWM:\t300 kB\nVmRSS:\t200 kB\nRssAnon:\t100 kB\n"})
    assert memory.process_memory(root) == memory.ProcessMemory(200 * 1024, 300 * 1024, 100 * 1024)


def test_process_memory_of_this_process_is_plausible() -> None:
    now = memory.process_memory()
    assert now.rss_bytes is not None
    assert now.peak_rss_bytes is not None
    assert now.anonymous_bytes is not None
    assert now.peak_rss_bytes >= now.rss_bytes >= now.anonymous_bytes > 0


def test_a_battery_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    supplies = tmp_path / "sys/class/power_supply"
    supplies.mkdir(parents=True)
    assert check_permissions(tmp_path).read_battery is None
    (supplies / "battery").mkdir()
    assert check_permissions(tmp_path).read_battery is True
