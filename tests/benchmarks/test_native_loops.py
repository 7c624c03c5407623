"""benchmarks/native_loops.py and core_forms.py: what a loop is called, and what a core can do at most."""

from __future__ import annotations

import core_forms
import native_loops
import pytest
from inner_loops import Loop

ARGUMENTS = "(unsigned char const*, pocketseek::Activations const&, int, int, float*)"


def loop_of(num_dots: int) -> Loop:
    return Loop("f", 1, 2, ("sdot\tv0.4s, v1.16b, v2.16b",) * num_dots)


@pytest.mark.parametrize(
    ("function", "num_dots", "label", "tiles", "rows", "blocks"),
    [
        ("quantised_step<pocketseek::(anonymous namespace)::Simd, (pocketseek::Format)0, 1, 4>", 128, "q4s", 1, 4, 1),
        ("quantised_step<pocketseek::(anonymous namespace)::Simd, (pocketseek::Format)0, 2, 4>", 256, "q4s", 2, 4, 1),
        ("two_level_step<1, 2>", 64, "q4p", 1, 2, 1),
        ("two_level_step<2, 2>", 128, "q4p", 2, 2, 1),
        ("multiply_group<(pocketseek::Format)4>", 64, "q8s", 1, 2, 1),
        ("pair_superblock<pocketseek::(anonymous namespace)::Simd, 6>", 384, "q4p pair", 2, 6, 1),
        ("quantised_step<pocketseek::Simd, (pocketseek::Format)1, 1, 3>", 128, "q4a", 1, 3, 4 / 3),
        ("something_new<7>", 32, "something_new", 1, 7, 1 / 7),
        ("something_new", 32, "something_new", 1, 0, 0),
    ],
)
def test_a_loop_is_named_by_its_function_and_its_multiply_adds(
    function: str, num_dots: int, label: str, tiles: int, rows: int, blocks: float
) -> None:
    demangled = f"void pocketseek::(anonymous namespace)::{function}{ARGUMENTS}"
    kernel = native_loops.kernel_of("neon-dotprod", 2, demangled, loop_of(num_dots), is_only_loop=True)
    assert (kernel.label, kernel.num_tiles, kernel.rows) == (label, tiles, rows)
    assert kernel.blocks == pytest.approx(blocks)


def test_a_pair_loop_may_do_its_tiles_one_after_the_other() -> None:
    function = "void pocketseek::expanded_superblock<pocketseek::Simd, 6>(pocketseek::TwoLevelTile const*)"
    kernel = native_loops.kernel_of("avx-vnni", 1, function, loop_of(192), is_only_loop=True)
    assert (kernel.label, kernel.rows, kernel.blocks) == ("q4p pair", 6, 1)


@pytest.mark.parametrize(
    ("function", "rows"), [("multiply_group<(pocketseek::Format)3>", 2), ("pair_tiles<pocketseek::Simd>", 0)]
)
def test_one_of_several_loops_of_a_function_has_the_rows_of_its_multiply_adds_if_it_does_whole_blocks(
    function: str, rows: int
) -> None:
    kernel = native_loops.kernel_of(
        "neon-dotprod", 1, f"void pocketseek::{function}(int)", loop_of(64), is_only_loop=False
    )
    assert kernel.rows == rows


def test_an_option_for_one_compiler_is_given_to_no_other() -> None:
    option = "$<$<CXX_COMPILER_ID:GNU>:-fno-schedule-insns>"
    assert native_loops.for_compiler(option, "aarch64-linux-gnu-g++") == "-fno-schedule-insns"
    assert native_loops.for_compiler(option, "clang++ --target=aarch64-linux-gnu") == ""
    assert native_loops.for_compiler("-mavx2", "clang++") == "-mavx2"


def test_every_instruction_set_with_flags_of_its_own_is_found() -> None:
    found = {source.path.name: source.is_arm for source in native_loops.sources()}
    assert (
        found.items()
        >= {
            "isa_avx2.cpp": False,
            "isa_avx512.cpp": False,
            "isa_neon_dotprod.cpp": True,
            "isa_neon_i8mm.cpp": True,
        }.items()
    )


@pytest.mark.parametrize(
    ("arch", "instruction", "per_cycle"),
    [
        ("n1", "sdot\tv0.4s, v1.16b, v2.4b[1]", 2),
        ("n1", "smmla\tv0.4s, v1.16b, v2.16b", 0),
        ("v2", "smmla\tv0.4s, v1.16b, v2.16b", 4),
        ("spr", "vpdpbusd\t%zmm1, %zmm2, %zmm0", 2),
        ("spr", "vpmaddubsw\t(%rax), %ymm2, %ymm0", 2),
    ],
)
def test_peaks_follow_from_the_ports(arch: str, instruction: str, per_cycle: float) -> None:
    assert core_forms.per_cycle(arch, instruction) == pytest.approx(per_cycle)


@pytest.mark.parametrize("core", core_forms.CORES, ids=lambda core: core.arch)
def test_every_form_names_operands_and_ports(core: core_forms.Core) -> None:
    for form in core_forms.forms_of(core.arch):
        assert 1 <= len(form["operands"]) <= 5
        assert all(cycles > 0 and ports for cycles, ports in form["port_pressure"])
