"""Whatever lies below the root, the probe answers."""

import os
import random
from pathlib import Path

import pytest
import tree_files

from pocketseek.device.probe import check_device

GIGABYTE = 1 << 30


def files_of(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_file()]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", tree_files.NAMES)
def test_files_of_noise(name: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    root = tree_files.plant(name, tmp_path)
    for path in files_of(root):
        path.write_bytes(chance.randbytes(chance.choice((0, 1, 40, 5000))))
    check_device(root, data_dir=root)


@pytest.mark.parametrize("name", tree_files.NAMES)
def test_files_that_are_cut_or_changed_by_a_byte(name: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    root = tree_files.plant(name, tmp_path)
    for path in files_of(root):
        content = bytearray(path.read_bytes())
        if content:
            content[chance.randrange(len(content))] = chance.choice((0, 10, 45, 47, 58, 92, 255))
        path.write_bytes(content[: chance.randrange(len(content) + 1)])
    check_device(root, data_dir=root)


def test_folders_in_place_of_files(tmp_path: Path) -> None:
    root = tree_files.plant("galaxy-s23-ultra", tmp_path)
    for path in files_of(root):
        path.unlink()
        path.mkdir()
    facts = check_device(root, data_dir=root)
    assert facts.memory_total_bytes is None


def test_files_in_place_of_folders(tmp_path: Path) -> None:
    for name in ("sys", "proc", "dev", "data", "system"):
        (tmp_path / name).write_text("x")
    assert check_device(tmp_path, data_dir=tmp_path).clusters == ()


def test_loops_of_links(tmp_path: Path) -> None:
    root = tree_files.plant("galaxy-s23-ultra", tmp_path)
    for path in files_of(root):
        path.unlink()
        path.symlink_to(path.name)
    (root / "sys/block/sda").unlink()
    (root / "sys/block/sda").symlink_to("sdb")
    (root / "sys/block/sdb").symlink_to("sda")
    check_device(root, data_dir=root)


def test_a_mapping_that_lies_on_itself(tmp_path: Path) -> None:
    root = tree_files.plant("galaxy-s23-ultra", tmp_path)
    slaves = root / "sys/class/block/dm-49/slaves"
    (slaves / "sda34").rmdir()
    (slaves / "dm-49").symlink_to("../../dm-49")
    assert check_device(root, data_dir=root / "data").storage_device == "dm-49"


def test_pipes_in_place_of_files_keep_nobody_waiting(tmp_path: Path) -> None:
    root = tree_files.plant("raspberry-pi-5", tmp_path)
    for path in files_of(root):
        path.unlink()
        os.mkfifo(path)
    assert check_device(root, data_dir=root).memory_total_bytes is None


def test_huge_files_are_read_in_part(tmp_path: Path) -> None:
    root = tree_files.plant("raspberry-pi-5", tmp_path)
    for name in ("proc/meminfo", "proc/cpuinfo", "proc/mounts", "sys/class/drm/renderD128/device/uevent"):
        os.truncate(root / name, GIGABYTE)
    assert check_device(root, data_dir=root).memory_total_bytes == 8245796 * 1024


def test_nothing_below_another_root_is_run(tmp_path: Path) -> None:
    root = tree_files.plant("mate-60", tmp_path)
    (root / "system/bin").mkdir(parents=True)
    (root / "system/bin/getprop").write_text(f"#!/bin/sh\ntouch {root}/ran\necho '[ro.product.model]: [other]'\n")
    (root / "system/bin/getprop").chmod(0o755)
    assert check_device(root, data_dir=root).phone_model == "HUAWEI BRA-AL00"
    assert not (root / "ran").exists()


def test_a_thousand_device_folders(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"sys/class/drm/renderD{number}").mkdir(parents=True)
    assert len(check_device(tmp_path, data_dir=tmp_path).accelerators or ()) == 256
