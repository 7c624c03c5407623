"""Names of arm64 core designs by the `CPU implementer` and `CPU part` of /proc/cpuinfo.

Sources: Linux's arch/arm64/include/asm/cputype.h, util-linux's lscpu-arm.c, LLVM's host detection (C1 cores), and
cpufetch's table for HiSilicon's own cores. What is not listed has no name: a new core is unknown, not the nearest one.
"""

from __future__ import annotations

ARM, HISILICON, QUALCOMM, SAMSUNG, APPLE = 0x41, 0x48, 0x51, 0x53, 0x61

_NAMES = {
    (ARM, 0xD03): "Cortex-A53", (ARM, 0xD04): "Cortex-A35", (ARM, 0xD05): "Cortex-A55", (ARM, 0xD06): "Cortex-A65",
    (ARM, 0xD07): "Cortex-A57", (ARM, 0xD08): "Cortex-A72", (ARM, 0xD09): "Cortex-A73", (ARM, 0xD0A): "Cortex-A75",
    (ARM, 0xD0B): "Cortex-A76", (ARM, 0xD0C): "Neoverse-N1", (ARM, 0xD0D): "Cortex-A77", (ARM, 0xD0E): "Cortex-A76AE",
    (ARM, 0xD40): "Neoverse-V1", (ARM, 0xD41): "Cortex-A78", (ARM, 0xD42): "Cortex-A78AE", (ARM, 0xD44): "Cortex-X1",
    (ARM, 0xD46): "Cortex-A510", (ARM, 0xD47): "Cortex-A710", (ARM, 0xD48): "Cortex-X2", (ARM, 0xD49): "Neoverse-N2",
    (ARM, 0xD4A): "Neoverse-E1", (ARM, 0xD4B): "Cortex-A78C", (ARM, 0xD4C): "Cortex-X1C", (ARM, 0xD4D): "Cortex-A715",
    (ARM, 0xD4E): "Cortex-X3", (ARM, 0xD4F): "Neoverse-V2", (ARM, 0xD80): "Cortex-A520", (ARM, 0xD81): "Cortex-A720",
    (ARM, 0xD82): "Cortex-X4", (ARM, 0xD84): "Neoverse-V3", (ARM, 0xD85): "Cortex-X925", (ARM, 0xD87): "Cortex-A725",
    (ARM, 0xD8A): "C1-Nano", (ARM, 0xD8B): "C1-Pro", (ARM, 0xD8C): "C1-Ultra", (ARM, 0xD90): "C1-Premium",
    (HISILICON, 0xD01): "TaiShan V110", (HISILICON, 0xD02): "TaiShan V120", (HISILICON, 0xD42): "TaiShan V120",
    (HISILICON, 0xD40): "Cortex-A76",
    (QUALCOMM, 0x001): "Oryon", (QUALCOMM, 0x002): "Oryon",
    (QUALCOMM, 0x800): "Kryo 2xx Gold", (QUALCOMM, 0x801): "Kryo 2xx Silver",
    (QUALCOMM, 0x802): "Kryo 3xx Gold", (QUALCOMM, 0x803): "Kryo 3xx Silver",
    (QUALCOMM, 0x804): "Kryo 4xx Gold", (QUALCOMM, 0x805): "Kryo 4xx Silver",
    (SAMSUNG, 0x001): "Exynos-M1", (SAMSUNG, 0x002): "Exynos-M3", (SAMSUNG, 0x003): "Exynos-M4",
    (SAMSUNG, 0x004): "Exynos-M5",
    (APPLE, 0x020): "Icestorm (A14)", (APPLE, 0x021): "Firestorm (A14)", (APPLE, 0x022): "Icestorm (M1)",
    (APPLE, 0x023): "Firestorm (M1)", (APPLE, 0x030): "Blizzard (A15)", (APPLE, 0x031): "Avalanche (A15)",
    (APPLE, 0x032): "Blizzard (M2)", (APPLE, 0x033): "Avalanche (M2)",
}  # fmt: skip


def core_name(implementer: int | None, part: int | None) -> str | None:
    """ "Cortex-X4" for (0x41, 0xd82); None for what the table does not know."""
    return None if implementer is None or part is None else _NAMES.get((implementer, part))
