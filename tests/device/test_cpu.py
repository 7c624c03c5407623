"""What the fake /proc and /sys say is what is reported; what they do not say is unknown."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.device import cpu
from pocketseek.device.known import Known

FakeRoot = Callable[[Mapping[str, object]], Path]


def cores(speeds: dict[int, int], name: str) -> dict[str, str]:
    return {f"sys/devices/system/cpu/cpu{core}/{name}": f"{speed}\n" for core, speed in speeds.items()}


def test_everything_is_unknown_on_an_empty_root(tmp_path: Path) -> None:
    assert cpu.cpu_model(tmp_path) is None
    assert cpu.instruction_sets(tmp_path) is None
    assert cpu.usable_cores(tmp_path) is None
    assert cpu.performance_cores(tmp_path, (0, 1)) is None


def test_x86_name_and_relevant_sets_are_found(fake_root: FakeRoot) -> None:
    text = "model name\t: Some Core\nflags\t\t: fpu avx2 fma avx512f\n\nmodel name\t: Some Core\nflags\t\t: avx2 fma\n"
    root = fake_root({"proc/cpuinfo": text})
    assert cpu.cpu_model(root) == "Some Core"
    assert cpu.instruction_sets(root) == ("avx2", "fma")  # only what every processor has


def test_arm_features_and_hardware_line_are_found(fake_root: FakeRoot) -> None:
    text = "processor : 0\nFeatures : fp asimd asimddp i8mm\nCPU part : 0xd05\n\nHardware : Qualcomm SM8650\n"
    root = fake_root({"proc/cpuinfo": text})
    assert cpu.cpu_model(root) == "Qualcomm SM8650"
    assert cpu.instruction_sets(root) == ("asimd", "asimddp", "i8mm")


def test_affinity_mask_is_read_from_the_process_status(fake_root: FakeRoot) -> None:
    root = fake_root({"proc/self/status": "Name:\tx\nCpus_allowed_list:\t0-2,7\n"})
    assert cpu.usable_cores(root) == (0, 1, 2, 7)


def test_capacity_tells_big_cores_from_little_ones(fake_root: FakeRoot) -> None:
    root = fake_root(cores({0: 280, 1: 280, 2: 900, 3: 1024}, "cpu_capacity"))
    assert cpu.performance_cores(root, (0, 1, 2, 3)) == Known((2, 3), "cpu_capacity")


def test_frequency_is_used_where_there_is_no_capacity(fake_root: FakeRoot) -> None:
    root = fake_root(cores({0: 1_800_000, 1: 2_420_000, 2: 2_840_000}, "cpufreq/cpuinfo_max_freq"))
    assert cpu.performance_cores(root, (0, 1, 2)) == Known((1, 2), "cpufreq/cpuinfo_max_freq")


def test_performance_cores_are_only_those_that_may_be_used(fake_root: FakeRoot) -> None:
    root = fake_root(cores({0: 280, 1: 280, 2: 1024}, "cpu_capacity"))
    assert cpu.performance_cores(root, (0, 1)) == Known((0, 1), "cpu_capacity")


def test_one_unknown_core_makes_the_comparison_unknown(fake_root: FakeRoot) -> None:
    root = fake_root(cores({0: 280}, "cpu_capacity"))
    assert cpu.performance_cores(root, (0, 1)) is None


@pytest.mark.parametrize("listed", ["x", "1-", "3-x", "-", "0-99999999999", ",", "9" * 30])
def test_nonsense_core_lists_are_unknown(fake_root: FakeRoot, listed: str) -> None:
    root = fake_root({"proc/self/status": f"Cpus_allowed_list: {listed}\n"})
    assert cpu.usable_cores(root) is None or listed == "1-"


@given(st.binary(max_size=200))
def test_no_cpuinfo_makes_it_fail(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "proc").mkdir()
        (Path(folder) / "proc/cpuinfo").write_bytes(b"flags:" + content)
        cpu.cpu_model(Path(folder))
        cpu.instruction_sets(Path(folder))
