"""benchmarks/inner_loops.py: assembly text in, the loops with dot products out."""

from __future__ import annotations

import inner_loops
import pytest

ARM = """\
\t.text
two_level:
.LFB1:
\t.cfi_startproc
\tmov\tw3, 0
.L2:
\tmovi\tv0.4s, 0
.L3:
\tldr\tq1, [x0], 16\t// weights
\tsdot\tv0.4s, v1.16b, v2.4b[0]
\tsdot\tv0.4s, v1.16b, v2.4b[#1]
\tadd\tw4, w4, 1
\tcmp\tw4, w5
\tbgt\t.L3
\tmla\tv3.4s, v0.4s, v4.4s
\tcbnz\tw3, .L2
\tret
copy:
.L9:
\tldr\tq1, [x0], 16
\tbne\t.L9
"""

X86 = """\
tile:
\tvpxor\t%xmm0, %xmm0, %xmm0
.L2:
\tvpbroadcastd\t(%rax), %zmm1
\tvpdpbusd\t%zmm1, %zmm2, %zmm0
\t{vex} vpdpbusd\t%ymm1, %ymm2, %ymm3
\tvpdpwssd\t%zmm1, %zmm2, %zmm0
\ttestb\t%al, %al
\tje\t.L4
\tvpmaddubsw\t%ymm1, %ymm2, %ymm4
.L4:
\tvpmaddwd\t%ymm4, %ymm5, %ymm4
\tcmpl\t%ecx, %edx
\tjg\t.L2\t# again
\tjmp\t.L7
.L7:
\tret
"""


def test_the_innermost_loop_with_dot_products_is_found_with_its_lines() -> None:
    (loop,) = inner_loops.find_loops(ARM)
    assert loop.function == "two_level"
    assert (loop.first_line, loop.last_line) == (8, 14)
    assert ARM.splitlines()[loop.first_line - 1] == ".L3:"
    assert [line.split("\t")[0] for line in loop.instructions] == ["ldr", "sdot", "sdot", "add", "cmp", "bgt"]
    assert loop.instructions[0] == "ldr\tq1, [x0], 16"  # no comment
    assert loop.instructions[2].endswith("[#1]")


def test_a_loop_without_dot_products_and_a_forward_jump_are_no_loops_of_ours() -> None:
    assert {loop.function for loop in inner_loops.find_loops(ARM + X86)} == {"two_level", "tile"}


def test_multiply_adds_are_counted_from_the_instructions_and_corrections_are_not() -> None:
    (arm,), (x86,) = inner_loops.find_loops(ARM), inner_loops.find_loops(X86)
    assert (arm.num_dots, arm.multiply_adds) == (2, 2 * 16)
    assert (x86.num_dots, x86.multiply_adds) == (3, 64 + 32 + 32)
    assert (arm.num_branches, x86.num_branches) == (1, 2)


@pytest.mark.parametrize(
    ("instruction", "multiply_adds"),
    [
        ("sdot\tv0.2s, v1.8b, v2.8b", 8),
        ("smmla\tv0.4s, v1.16b, v2.16b", 32),
        ("usdot\tv0.4s, v1.16b, v2.16b", 16),
        ("vpdpbusd\t64(%rax){1to16}, %zmm2, %zmm0", 64),
        ("vpdpbusd\t(%rax), %xmm2, %xmm0", 16),
        ("vpaddw\t%ymm1, %ymm2, %ymm3", 0),
        ("fmla\tv0.4s, v1.4s, v2.4s", 0),
    ],
)
def test_multiply_adds_of_one_instruction(instruction: str, multiply_adds: int) -> None:
    assert inner_loops.multiply_adds_of(instruction) == multiply_adds


def test_a_loop_continued_from_two_places_reaches_to_the_last_of_them() -> None:
    text = "f:\n.L1:\n\tsdot\tv0.4s, v1.16b, v2.16b\n\tb.ne\t.L1\n\tadd\tx0, x0, 1\n\ttbnz\tx0, 3, .L1\n\tret\n"
    (loop,) = inner_loops.find_loops(text)
    assert (loop.first_line, loop.last_line) == (2, 6)


def test_clangs_labels_and_numbers_are_understood() -> None:
    text = "f:                        // @f\n// %bb.0:\n.LBB0_1:      // =>This Inner Loop\n\tldur\tq2, [x0, #-16]\n"
    text += "\tsmmla\tv0.4s, v1.16b, v2.16b\n\tb.ne\t.LBB0_1\n.Lfunc_end0:\n"
    (loop,) = inner_loops.find_loops(text)
    assert (loop.multiply_adds, loop.instructions[0]) == (32, "ldur\tq2, [x0, #-16]")
