"""The cores we predict for, and the instructions that OSACA 0.7.1 does not know of them or has wrong.

OSACA's databases hold no int8 dot product of any Arm core, none of Sapphire Rapids, and few plain NEON instructions of
Neoverse N1. One line of FORMS adds one instruction: its operands, its latency in cycles, and the ports that it keeps
busy ("2@4" two cycles on port 4; "1@45" one cycle on port 4 or 5; several joined by "+"). A "+" before the name: the
result is read, too. Operands, on Arm the result first, on x86 last:

    v any vector register; q d s one of that width; x w a core register; zmm ymm xmm k gpr those of x86
    m memory; i a number; l a label; p a prefetch hint

Where the figures come from:

    n1, v2  Arm's Software Optimization Guides of Neoverse N1 and V2 in LLVM 19's transcription
            (AArch64SchedNeoverseN1.td, AArch64SchedNeoverseV2.td, read out with llvm-mca -instruction-tables)
    spr     Golden Cove's ports as LLVM 19 has them for sapphirerapids, with two differences. What LLVM puts on port 0
            alone for want of a second 512-bit unit (vpdpbusd, vpdpwssd, conversions) has ports 0 and 5: tile_speed.cpp
            measures two vpdpbusd per cycle. Loads of vpbroadcastd take load ports only (OSACA takes its register
            form for them, with port 5), 512-bit ones as OSACA's other loads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Core:
    """A core of OSACA's, what it is near to, and how many instructions its front end decodes per cycle."""

    arch: str
    name: str
    near: str
    is_arm: bool
    width: int
    has_i8mm: bool = False


CORES = (
    Core("n1", "Neoverse N1", "Cortex-A76, A78", is_arm=True, width=4),
    Core("v2", "Neoverse V2", "Cortex-X3", is_arm=True, width=6, has_i8mm=True),
    Core("spr", "Sapphire Rapids", "this machine, if it is one", is_arm=False, width=6),
)

FORMS = {
    "n1": """
        +sdot v v v 2 1@45
        and v v v 2 1@45
        eor v v v 2 1@45
        orr v v v 2 1@45
        add v v v 2 1@45
        sub v v v 2 1@45
        ushr v v i 2 1@5
        sshr v v i 2 1@5
        shl v v i 2 1@5
        zip1 v v v 2 1@45
        zip2 v v v 2 1@45
        uzp1 v v v 2 1@45
        uzp2 v v v 2 1@45
        trn1 v v v 2 1@45
        trn2 v v v 2 1@45
        ext v v v i 2 1@45
        dup v v 2 1@45
        dup v w 3 1@3
        fmov s w 3 1@3
        fmov d x 3 1@3
        fmov s s 2 1@45
        movi v i 2 1@45
        uxtl v v 2 1@5
        uxtl2 v v 2 1@5
        sxtl v v 2 1@5
        sxtl2 v v 2 1@5
        ushll v v i 2 1@5
        ushll2 v v i 2 1@5
        sshll v v i 2 1@5
        sshll2 v v i 2 1@5
        mov v v 2 1@45
        ins v v 2 1@45
        +mla v v v 5 2@4
        mul v v v 5 2@4
        smull v v v 4 1@4
        smull2 v v v 4 1@4
        umull v v v 4 1@4
        umull2 v v v 4 1@4
        +smlal v v v 4 1@4
        +smlal2 v v v 4 1@4
        scvtf v v 4 2@4
        fcvtl v v 4 2@4
        fcvtl2 v v 4 2@4
        ld1r v m 7 1@67+1@45
        ld1 v m 5 1@67
        ld1 v v m 5 2@67
        ld1 v v v v m 6 4@67
        ldr q m 5 1@67
        ldr d m 5 1@67
        ldr s m 5 1@67
        ldr x m 4 1@67
        ldr w m 4 1@67
        ldp q q m 7 2@67
        ldp d d m 5 2@67
        ldp s s m 5 2@67
        ldp x x m 4 2@67
        str s m 2 1@67+1@45
        str d m 2 1@67+1@45
        str x m 1 1@67
        str w m 1 1@67
        prfm p m 4 1@67
        add x x i 1 1@123
        add w w i 1 1@123
        add x x x 1 1@123
        sub x x i 1 1@123
        sub x x x 1 1@123
        subs w w i 1 1@123
        subs x x i 1 1@123
        lsl x x i 1 1@123
        cmp w w 1 1@123
        cmp x x 1 1@123
        cmp w i 1 1@123
        cmp x i 1 1@123
        bgt l 1 1@0
        bge l 1 1@0
        blt l 1 1@0
        ble l 1 1@0
    """,
    "v2": """
        +sdot v v v 3 1@8,9,10,11
        +usdot v v v 3 1@8,9,10,11
        +smmla v v v 3 1@8,9,10,11
        +usmmla v v v 3 1@8,9,10,11
        ushr v v i 2 1@9,11
        sshr v v i 2 1@9,11
        shl v v i 2 1@9,11
        zip1 v v v 2 1@8,9,10,11
        zip2 v v v 2 1@8,9,10,11
        uzp1 v v v 2 1@8,9,10,11
        uzp2 v v v 2 1@8,9,10,11
        trn1 v v v 2 1@8,9,10,11
        trn2 v v v 2 1@8,9,10,11
        ext v v v i 2 1@8,9,10,11
        dup v v 2 1@8,9,10,11
        dup v w 3 1@6
        movi v i 2 1@8,9,10,11
        uxtl v v 2 1@9,11
        uxtl2 v v 2 1@9,11
        sxtl v v 2 1@9,11
        sxtl2 v v 2 1@9,11
        ushll v v i 2 1@9,11
        ushll2 v v i 2 1@9,11
        sshll v v i 2 1@9,11
        sshll2 v v i 2 1@9,11
        ins v v 2 1@8,9,10,11
        +mla v v v 4 1@8,10
        mul v v v 4 1@8,10
        smull v v v 3 1@8,10
        smull2 v v v 3 1@8,10
        umull v v v 3 1@8,10
        umull2 v v v 3 1@8,10
        +smlal v v v 4 1@8,10
        +smlal2 v v v 4 1@8,10
        fcvtl2 v v 4 2@8,10
        fcvtl v v 4 2@8,10
        blt l 1 1@0,1
        ble l 1 1@0,1
        ld1r v m 8 1@12,13,14+1@8,9,10,11
        ld1 v m 6 1@12,13,14
        ld1 v v m 6 2@12,13,14
        ld1 v v v v m 7 4@12,13,14
        prfm p m 4 1@12,13,14
    """,
    "spr": """
        +vpdpbusd zmm zmm zmm 5 1@05
        +vpdpbusd ymm ymm ymm 5 1@01
        +vpdpwssd zmm zmm zmm 5 1@05
        +vpdpwssd ymm ymm ymm 5 1@01
        vpmaddubsw ymm ymm ymm 5 1@01
        vpmaddwd ymm ymm ymm 5 1@01
        vpaddw ymm ymm ymm 1 1@0,1,5
        vpand ymm ymm ymm 1 1@0,1,5
        vpand xmm xmm xmm 1 1@0,1,5
        vpandd zmm zmm zmm 1 1@05
        vpandq zmm zmm zmm 1 1@05
        vpandd xmm xmm xmm 1 1@0,1,5
        vpandq xmm xmm xmm 1 1@0,1,5
        vpsrlw i zmm zmm 1 1@0
        vpsrlw i ymm ymm 1 1@01
        vpsrlw i xmm xmm 1 1@01
        vpunpcklqdq xmm xmm xmm 1 1@15
        vpmovzxbd xmm zmm 3 1@5
        vpmovzxbd xmm ymm 3 1@5
        vpbroadcastd xmm zmm 3 1@5
        vpbroadcastd xmm ymm 3 1@5
        vpbroadcastd m zmm 8 1@23
        vpbroadcastd m ymm 7 1@2,3,11
        prefetcht0 m 0 1@2,3,11
        prefetcht1 m 0 1@2,3,11
        vpslld i ymm ymm 1 1@01
        vpsignb ymm ymm ymm 1 1@01
        vpabsb ymm ymm 1 1@01
        vcvtdq2ps zmm zmm 4 1@05
        vcvtdq2ps ymm ymm 4 1@01
        vcvtph2ps m zmm 13 1@05+1@5+1@23
        vcvtph2ps m ymm 12 1@01+1@2,3,11
        kshiftld i k k 4 1@5
        kmovd gpr k 3 1@5
        kmovd k gpr 3 1@0
        kmovd m k 7 1@5+1@2,3,11
        addq i m 6 1@0,1,5,6,10+1@2,3,11+1@78+1@49
        addl i m 6 1@0,1,5,6,10+1@2,3,11+1@78+1@49
        cmpq gpr m 6 1@0,1,5,6,10+1@2,3,11
        cmpl gpr m 6 1@0,1,5,6,10+1@2,3,11
    """,
}


def forms_of(arch: str) -> list[dict[str, Any]]:
    """FORMS of one core as the worker takes them."""
    result_first = next(core for core in CORES if core.arch == arch).is_arm
    return [parse_form(line.split(), result_first) for line in FORMS[arch].split("\n") if line.strip()]


def parse_form(words: list[str], result_first: bool) -> dict[str, Any]:
    name, *operands, latency, ports = words
    pressure = [
        (float(cycles), split_ports(choice)) for cycles, _, choice in (p.partition("@") for p in ports.split("+"))
    ]
    return {
        "name": name.lstrip("+"),
        "accumulates": name.startswith("+"),
        "operands": operands,
        "result": 0 if result_first else len(operands) - 1,
        "latency": float(latency),
        "port_pressure": pressure,
        "throughput": max(cycles / len(choice) for cycles, choice in pressure),
    }


def split_ports(choice: str) -> list[str]:
    """ "45" is port 4 or 5; numbers above 9 are written with commas."""
    return choice.split(",") if "," in choice else list(choice)


def per_cycle(arch: str, instruction: str) -> float:
    """How many of an instruction the core's ports can start per cycle, from the entry that fits its first register."""
    mnemonic, _, operands = instruction.partition("\t")
    for form in forms_of(arch):
        kinds = form["operands"]
        if form["name"] == mnemonic and ("v" in kinds or f"%{kinds[-1]}" in operands):
            return 1 / float(form["throughput"])
    return 0.0
