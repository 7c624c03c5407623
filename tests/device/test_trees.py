"""The made-up phones and computers are recognised for what they are (tests/device/trees says how they were made)."""

from pathlib import Path

import pytest
import tree_files

from pocketseek.device.permissions import check_permissions
from pocketseek.device.physical_cores import count_cores
from pocketseek.device.probe import DeviceFacts, check_device

TERMUX_HOME = "data/data/com.termux/files/home"


def probe(name: str, folder: Path, data_dir: str = TERMUX_HOME) -> DeviceFacts:
    root = tree_files.plant(name, folder)
    return check_device(root, data_dir=root / data_dir)


def shape(facts: DeviceFacts) -> list[tuple[int, str | None, float | None]]:
    """(cores, design, GHz) of each cluster."""
    return [
        (len(one.cores), one.part, one.max_frequency_hz / 1e9 if one.max_frequency_hz else None)
        for one in facts.clusters
    ]


def test_a_snapdragon_phone_in_termux(tmp_path: Path) -> None:
    facts = probe("xiaomi-14", tmp_path)
    assert (facts.phone_model, facts.soc_model) == ("Xiaomi 23127PN0CC", "QTI SM8650")
    assert (facts.android_version, facts.android_api_level) == ("14", 34)
    assert (facts.termux, facts.termux_api) == (True, True)
    assert facts.chip is not None
    assert (facts.chip.marketing_name, facts.chip.memory_type) == ("Snapdragon 8 Gen 3", "LPDDR5X")
    assert facts.chip.memory_bandwidth_bytes_per_s == 76.8e9
    assert shape(facts) == [
        (1, "Cortex-X4", 3.3024), (3, "Cortex-A720", 3.1488), (2, "Cortex-A720", 2.9568), (2, "Cortex-A520", 2.2656),
    ]  # fmt: skip
    assert facts.performance_cores == (2, 3, 4, 5, 6, 7)
    assert facts.execution_provider is not None
    assert facts.execution_provider.name == "QNN"
    assert [(one.kind, one.name) for one in facts.accelerators or ()] == [
        ("gpu", "Adreno 750"),
        ("npu", "Hexagon (HTP v75)"),
    ]
    assert facts.zram_bytes == facts.swap_total_bytes == 12582908 * 1024
    assert (facts.selinux, facts.selinux_context) == ("enforcing", "u:r:untrusted_app_27:s0:c218,c256,c512,c768")
    assert facts.architecture == "aarch64"


def test_a_disk_that_apps_may_not_see_is_known_from_the_property_of_the_boot_device(tmp_path: Path) -> None:
    facts = probe("xiaomi-14", tmp_path)
    assert (facts.storage_filesystem, facts.storage_device) == ("f2fs", "dm-53")
    assert (facts.storage_kind, facts.sources["storage_kind"]) == ("UFS", "getprop ro.boot.bootdevice")
    assert facts.storage_version is None


def test_the_clock_tells_the_galaxys_chip_from_the_plain_one(tmp_path: Path) -> None:
    facts = probe("galaxy-s23-ultra", tmp_path)
    assert facts.chip is not None
    assert facts.chip.id == "SM8550-AC"
    assert facts.sources["chip"] == "chip table: SM8550-AC (by getprop ro.soc.model)"


def test_the_way_from_an_encrypted_mount_to_the_ufs_disk_is_followed(tmp_path: Path) -> None:
    facts = probe("galaxy-s23-ultra", tmp_path)
    assert (facts.storage_device, facts.storage_kind, facts.storage_version) == ("sda", "UFS", "4.0")


def test_a_rooted_phone_tells_more(tmp_path: Path) -> None:
    facts = probe("galaxy-s23-ultra", tmp_path)
    permissions = check_permissions(tmp_path)
    assert permissions.read_temperatures
    assert permissions.read_load
    assert permissions.read_pressure
    assert permissions.read_battery
    assert facts.zram_compression == pytest.approx(0.4)
    assert facts.accelerators is not None
    gpu = facts.accelerators[0]
    assert (gpu.name, gpu.driver, gpu.source) == ("Adreno740v2", "kgsl", "/sys/class/kgsl/kgsl-3d0/gpu_model")


def test_build_prop_files_stand_in_for_getprop(tmp_path: Path) -> None:
    facts = probe("mate-60", tmp_path)
    assert (facts.phone_model, facts.android_api_level, facts.soc_model) == ("HUAWEI BRA-AL00", 31, None)
    assert facts.chip is not None
    assert facts.chip.marketing_name == "Kirin 9000S"
    assert facts.chip.memory_bandwidth_bytes_per_s is None  # nobody publishes it
    assert facts.sources["chip"] == "chip table: kirin9000s (by /vendor/build.prop: ro.board.platform)"
    assert [one.part for one in facts.clusters] == ["TaiShan V120", "TaiShan V120", "Cortex-A510"]
    assert [one.num_cores for one in facts.clusters] == [1, 3, 4] == [one.num_cores for one in facts.chip.clusters][:3]
    assert len(facts.performance_cores or ()) == 8
    assert count_cores(facts.performance_cores or (), facts.physical_cores) == 4
    assert facts.execution_provider is not None
    assert facts.execution_provider.name == "XNNPACK"


def test_a_dimensity_phone(tmp_path: Path) -> None:
    facts = probe("vivo-x100", tmp_path)
    assert facts.chip is not None
    assert facts.chip.marketing_name == "Dimensity 9300 / 9300+"
    assert [one.part for one in facts.clusters] == ["Cortex-X4", "Cortex-X4", "Cortex-A720"]
    assert facts.accelerators is not None
    assert facts.accelerators[0].name == "Mali-G720-Immortalis 12 cores r0p1 0xC8030"
    assert facts.execution_provider is not None
    assert facts.execution_provider.name == "NNAPI"
    assert facts.storage_kind == "UFS"


def test_shared_storage_lies_on_the_phones_disk(tmp_path: Path) -> None:
    facts = probe("galaxy-a54", tmp_path, "storage/emulated/0")
    assert (facts.storage_filesystem, facts.storage_kind) == ("fuse", "UFS")
    assert (facts.termux, facts.termux_api) == (False, None)
    assert facts.memory_total_bytes == 5505024 * 1024


def test_a_board_is_known_from_its_device_tree(tmp_path: Path) -> None:
    facts = probe("raspberry-pi-5", tmp_path, "home/pi")
    assert facts.phone_model == "Raspberry Pi 5 Model B Rev 1.0"
    assert facts.chip is not None
    assert facts.chip.id == "BCM2712"
    assert (facts.storage_device, facts.storage_kind, facts.storage_filesystem) == ("mmcblk0", "SD card", "ext4")
    assert (facts.zram_bytes, facts.swap_total_bytes) == (0, 102396 * 1024)
    assert facts.accelerators is not None
    assert (facts.accelerators[0].name, facts.accelerators[0].driver) == ("VideoCore VII", "v3d")
    assert facts.architecture == "aarch64"
    assert facts.selinux == "absent"
    assert facts.android_api_level is None


def test_a_pc_is_known_from_its_firmware(tmp_path: Path) -> None:
    facts = probe("pc", tmp_path, "home/user")
    assert (facts.pc_model, facts.phone_model, facts.chip) == ("LENOVO 21K5CTO1WW", None, None)
    assert (facts.storage_device, facts.storage_kind, facts.storage_filesystem) == ("nvme0n1", "NVMe", "btrfs")
    assert [(one.kind, one.driver) for one in facts.accelerators or ()] == [("gpu", "amdgpu"), ("npu", "amdxdna")]
    assert shape(facts) == [(16, None, 5.132)]
    assert facts.physical_cores == tuple((core, core + 8) for core in range(8))
