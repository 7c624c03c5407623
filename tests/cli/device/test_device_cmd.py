"""`device` tells the facts of this machine."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import tree_files

from pocketseek.cli.device import device_messages
from pocketseek.device.execution_provider import Reason
from pocketseek.device.permissions import Permissions
from pocketseek.device.probe import DeviceFacts
from pocketseek.errors import NativeCoreError
from pocketseek.kernels import choose


def test_device_facts_are_json(run: Callable, home: Path) -> None:
    facts = run("device", "--json").json
    assert facts["data_dir"] == str(home)
    assert facts["memory_total_bytes"] > 0
    assert {"cpu_model", "usable_cores", "performance_cores", "instruction_sets", "android_version"} <= set(facts)


def test_device_facts_are_rows(run: Callable) -> None:
    rows = dict(line.split("\t") for line in run("device").out.splitlines())
    assert {"processor", "cores", "memory", "storage", "system", "access", "kernels"} <= set(rows)


def test_the_kernels_that_would_be_used_are_named_with_the_reason(
    run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETSEEK_KERNELS", "reference")
    facts = run("device", "--json").json
    assert facts["kernels"] == "reference"
    assert "asked for" in facts["kernels_reason"]


def test_a_missing_core_is_a_fact_like_others(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str | None) -> None:
        raise NativeCoreError("no core; install a compiler")

    monkeypatch.setattr(choose, "choose_kernels", fail)
    facts = run("device", "--json").json
    assert facts["kernels"] is None
    assert facts["kernels_reason"] == "no core; install a compiler"


def test_every_fact_is_in_the_json_and_in_the_documentation(run: Callable) -> None:
    names = {field.name for field in dataclasses.fields(DeviceFacts)}
    page = (Path(__file__).parents[3] / "docs/device-details.md").read_text("utf-8")
    assert set(run("device", "--json").json) == names | {"schema", "kernels", "kernels_reason"}
    assert names <= set(re.findall(r"`(\w+)`", page))


def test_json_says_null_for_what_is_unknown(run: Callable, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    facts = run("device", "--root", tmp_path / "empty", "--json").json
    assert facts["schema"] == 1
    unknown = {name for name, value in facts.items() if value is None}
    assert {
        "chip",
        "clusters",
        "usable_cores",
        "phone_model",
        "storage_kind",
        "storage_free_bytes",
        "kernels",
        *("architecture", "execution_provider", "accelerators", "permissions", "data_dir", "cpu_quota"),
        *("memory_limit_bytes", "physical_cores"),
    } <= unknown
    assert not unknown & set(facts["sources"])


def test_another_root_is_shown_without_what_is_only_true_of_this_machine(run: Callable, tmp_path: Path) -> None:
    root = tree_files.plant("xiaomi-14", tmp_path / "phone")
    rows = dict(line.split("\t") for line in run("device", "--root", root).out.splitlines())
    assert rows["device"] == "Xiaomi 23127PN0CC"
    assert rows["chip"] == "Snapdragon 8 Gen 3 (SM8650), 2023, 4 nm"
    assert rows["cores"].startswith("1 × Cortex-X4 3.30 GHz; 3 × Cortex-A720 3.15 GHz; ")
    assert rows["storage"] == "UFS, f2fs, at /data/data/com.termux/files/home"
    assert "kernels" not in rows


@pytest.mark.parametrize("name", tree_files.NAMES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_tree_has_its_screens(
    name: str, language: str, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETSEEK_LANG", language)
    root = tree_files.plant(name, tmp_path / "tree")
    assert all(line.count("\t") == 1 for line in run("device", "--root", root).out.splitlines())
    assert all(line.count("\t") == 2 for line in run("device", "--root", root, "--sources").out.splitlines())


def test_sources_name_the_place_of_every_known_fact(run: Callable, tmp_path: Path) -> None:
    root = tree_files.plant("galaxy-s23-ultra", tmp_path / "phone")
    lines = [line.split("\t") for line in run("device", "--root", root, "--sources").out.splitlines()]
    rows = {name: (value, source) for name, value, source in lines}
    assert rows["chip"] == ("Snapdragon 8 Gen 2 for Galaxy", "chip table: SM8550-AC (by getprop ro.soc.model)")
    assert rows["storage_version"] == ("4.0", "1d84000.ufshc/device_descriptor/specification_version")
    assert rows["memory_limit_bytes"] == ("unknown", "")
    assert rows["os_name"] == ("unknown", "")


def test_two_threads_of_a_core_are_one_core(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pc, phone = tree_files.plant("pc", tmp_path / "pc"), tree_files.plant("mate-60", tmp_path / "phone")
    rows = dict(line.split("\t") for line in run("device", "--root", pc).out.splitlines())
    assert rows["cores"] == "8 × 5.13 GHz, 16 hardware threads; 8 usable (16 hardware threads), 8 of them fast"
    rows = dict(line.split("\t") for line in run("device", "--root", phone).out.splitlines())
    assert rows["cores"] == (
        "1 × TaiShan V120 2.62 GHz, 2 hardware threads; 3 × TaiShan V120 2.15 GHz, 6 hardware threads; "
        "4 × Cortex-A510 1.53 GHz; 8 usable (12 hardware threads), 4 of them fast"
    )
    lines = run("device", "--root", phone, "--sources").out.splitlines()
    assert "physical_cores\t0 1 2 3 4,5 6,7 8,9 10,11\ttopology/core_cpus_list" in lines


def test_a_group_of_which_only_the_capacity_is_known_says_so(run: Callable, tmp_path: Path) -> None:
    for core in (0, 1):
        (tmp_path / f"sys/devices/system/cpu/cpu{core}").mkdir(parents=True)
        (tmp_path / f"sys/devices/system/cpu/cpu{core}/cpu_capacity").write_text("1024\n")
    lines = run("device", "--root", tmp_path, "--sources").out.splitlines()
    assert "clusters\t2 × of capacity 1024\tcpu_capacity" in lines


def test_storage_without_blocks_is_unknown(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_HOME", "/proc/nope")
    assert "0 bytes" not in run("device").out
    assert "storage_free_bytes\tunknown\t" in run("device", "--sources").out.splitlines()
    assert "demo" in run("device", "--models").out


def test_a_root_that_is_none_is_wrong_usage(run: Callable, tmp_path: Path) -> None:
    assert run("device", "--root", tmp_path / "nowhere").code == 2


def test_what_may_be_said_of_a_device_has_words() -> None:
    assert set(device_messages.REASONS) == set(get_args(Reason))
    assert {field.name for field in dataclasses.fields(Permissions)} - {"root_user"} == set(device_messages.PERMISSIONS)


def test_nothing_is_said_of_cores_and_memory_that_are_unknown(run: Callable, tmp_path: Path) -> None:
    rows = dict(line.split("\t") for line in run("device", "--root", tmp_path).out.splitlines())
    assert (rows["cores"], rows["memory"]) == ("unknown", "unknown")


@pytest.mark.parametrize(
    "screens",
    [("--sources", "--sensors"), ("--models", "--watch"), ("--measure", "--sensors"), ("--sources", "--models")],
)
def test_one_screen_at_a_time(run: Callable, screens: tuple[str, ...]) -> None:
    ended = run("device", *screens)
    assert (ended.code, ended.out) == (2, "")
    assert "one of them at a time" in ended.error


def test_a_chinese_screen_gives_the_kernels_in_chinese(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_LANG", "zh")
    assert "计算内核\t" in run("device").out
    monkeypatch.setenv("POCKETSEEK_KERNELS", "reference")
    assert "计算内核\treference，由 POCKETSEEK_KERNELS 指定" in run("device").out


def test_another_root_is_not_measured(run: Callable, tmp_path: Path) -> None:
    assert "leave out" in run("device", "--root", tmp_path, "--models").error
