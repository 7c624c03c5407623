"""Which kernels are used, and why."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from pocketseek.errors import UsageError
from pocketseek.kernels.choose import choose_kernels, supported_sets


def test_the_best_set_of_this_processor_is_the_default() -> None:
    choice = choose_kernels()
    assert choice.name == supported_sets()[-1]
    assert choice.name in choice.reason


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the system's names of instructions are those of x86-64")
def test_the_processor_is_read_as_the_system_reads_it() -> None:
    told = next(line for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if line.startswith("flags"))
    flags = set(told.partition(":")[2].split())
    avx512 = {f"avx512{part}" for part in ("f", "dq", "bw", "vl", "_vnni")}
    wanted = {"avx2": {"avx2", "fma", "f16c"}, "avx-vnni": {"avx2", "avx_vnni"}, "avx512": {"avx2", *avx512}}
    assert supported_sets()[1:] == [name for name, needed in wanted.items() if needed <= flags]


@pytest.mark.parametrize("name", ["reference", "scalar"])
def test_an_override_is_followed(name: str) -> None:
    assert choose_kernels(name).name == name


def test_unknown_kernels_are_refused_with_the_known_names() -> None:
    with pytest.raises(
        UsageError, match="choose one of reference, scalar, avx2, avx-vnni, avx512, neon-dotprod, neon-i8mm"
    ):
        choose_kernels("neural")
