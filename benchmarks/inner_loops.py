"""The innermost loops that hold a kernel's dot products, found in the compiler's assembly text. Text in, loops out.

A loop is what lies between a label and the last branch back to it in the same function. Of loops inside each other the
innermost that still holds a dot product counts. Multiply-adds are counted from the instructions: lanes of the
accumulator times products per lane. Not counted, because they only carry results on: the widening `vpmaddwd`, the
corrections of `vpdpwssd` and everything in floating point.

Understands what GCC and Clang write for x86-64 (AT&T) and arm64. Not covered: code that the compiler has moved out of a
loop's lines. The caller compares the multiply-adds with what the algorithm needs, and says so where they differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Products that one lane of 32 bits sums up; the two of vpmaddubsw end in a lane of 16 bits.
PRODUCTS_PER_LANE = {"sdot": 4, "udot": 4, "usdot": 4, "sudot": 4, "smmla": 8, "ummla": 8, "usmmla": 8}
X86_REGISTER_BYTES = {"xmm": 16, "ymm": 32, "zmm": 64}
X86_DOTS = ("vpdpbusd", "vpdpbusds", "vpdpbssd", "vpmaddubsw")  # one product per byte of the register

LABEL = re.compile(r"^([A-Za-z_.$][\w.$]*):")
BRANCH = re.compile(r"^(?:j\w+|b|b\.?\w\w|cbn?z|tbn?z)\s+(?:.*,\s*)?(\.L[\w.$]+)$")
COMMENT = re.compile(r"\s*(?://|#\s|#(?:NO_)?APP).*$")  # "#16" and "#-16" are numbers on arm64
ENCODING = re.compile(r"^\{\w+\}\s+")  # "{vex} vpdpbusd ..."


@dataclass(frozen=True)
class Loop:
    """One loop. Lines count from 1 and include its label and its last branch."""

    function: str
    first_line: int
    last_line: int
    instructions: tuple[str, ...]

    @property
    def multiply_adds(self) -> int:
        return sum(multiply_adds_of(instruction) for instruction in self.instructions)

    @property
    def num_dots(self) -> int:
        return sum(multiply_adds_of(instruction) > 0 for instruction in self.instructions)

    @property
    def num_branches(self) -> int:
        """1 for straight code; more if some of it is jumped over or left early."""
        return sum(BRANCH.match(instruction) is not None for instruction in self.instructions)


def find_loops(assembly: str) -> list[Loop]:
    """All innermost loops with at least one dot product, in the order of the text."""
    return [loop for function in functions(assembly) for loop in innermost(loops_of(*function))]


def multiply_adds_of(instruction: str) -> int:
    """Multiply-adds of one instruction, 0 for what is no dot product of bytes."""
    mnemonic, _, operands = instruction.partition("\t")
    if mnemonic in PRODUCTS_PER_LANE:
        return PRODUCTS_PER_LANE[mnemonic] * (2 if ".2s" in operands.split(",")[0] else 4)
    if mnemonic in X86_DOTS:
        return X86_REGISTER_BYTES[re.findall(r"%([xyz]mm)", operands)[-1]]
    return 0


def functions(assembly: str) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Name and numbered lines (labels with their colon, and instructions) of each function, other text dropped."""
    name, lines = "", list[tuple[int, str]]()
    for number, text in enumerate(assembly.splitlines(), 1):
        line = ENCODING.sub("", COMMENT.sub("", text).strip())
        label = LABEL.match(line)
        if label and not label[1].startswith(".L"):
            if lines:
                yield name, lines
            name, lines = label[1], []
        elif label or (line and not line.startswith(".")):
            lines.append((number, f"{label[1]}:" if label else re.sub(r"\s+", "\t", line, count=1)))
    if lines:
        yield name, lines


def loops_of(function: str, lines: list[tuple[int, str]]) -> list[Loop]:
    """Every loop of a function. A label that several places branch back to is one loop, up to the last of them."""
    label_at = {text[:-1]: index for index, (_, text) in enumerate(lines) if text.endswith(":")}
    end_of = dict[int, int]()
    for index, (_, text) in enumerate(lines):
        branch = BRANCH.match(text)
        if branch and label_at.get(branch[1], index) < index:
            end_of[label_at[branch[1]]] = index
    return [
        Loop(function, lines[first][0], lines[last][0], tuple(t for _, t in lines[first : last + 1] if t[-1] != ":"))
        for first, last in sorted(end_of.items())
    ]


def innermost(loops: list[Loop]) -> list[Loop]:
    """Loops with dot products that hold no smaller loop with dot products."""
    with_dots = [loop for loop in loops if loop.num_dots]
    return [loop for loop in with_dots if not any(is_inside(other, loop) for other in with_dots)]


def is_inside(inner: Loop, outer: Loop) -> bool:
    return inner != outer and outer.first_line <= inner.first_line and inner.last_line <= outer.last_line
