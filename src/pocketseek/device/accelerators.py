"""Graphics and neural processors: from the kernel's device files where they name themselves, else from the chip table.

The neural processors of phones have no common device file, so that only the table knows them. Nothing found is an
answer only where the kernel's device classes can be looked through and no chip of a phone or board is in doubt.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pocketseek.device.chips import Chip
from pocketseek.device.reading import numbered_folders, read_fields, read_line


@dataclass(frozen=True)
class Accelerator:
    """name: what it calls itself, or the chip table's; None if there is one without a name."""

    kind: Literal["gpu", "npu"]
    name: str | None
    driver: str | None
    source: str


def find_accelerators(root: Path, chip: Chip | None, *, is_android: bool = False) -> tuple[Accelerator, ...] | None:
    """None: unknown. An empty answer: the kernel shows none. What is found of a chip that the table does not have may
    lack the neural processor."""
    found = _find(root, chip)
    return found if found or _shows_all(root, chip, is_android=is_android) else None


def _shows_all(root: Path, chip: Chip | None, *, is_android: bool) -> bool:
    is_unlisted = chip is None and (is_android or _exists(root / "proc/device-tree"))
    return not is_unlisted and os.access(root / "sys/class", os.R_OK | os.X_OK)


def _find(root: Path, chip: Chip | None) -> tuple[Accelerator, ...]:
    gpus = [*_qualcomm_gpu(root), *_mali_gpu(root), *_drm_gpus(root)]
    named = [gpu for gpu in gpus if gpu.name] or gpus
    if chip is not None and chip.gpu and not any(gpu.name for gpu in gpus):
        named = [Accelerator("gpu", chip.gpu, gpus[0].driver if gpus else None, f"chip table: {chip.id}")]
    npus = list(_accel_npus(root))
    if chip is not None and chip.npu:
        npus.append(Accelerator("npu", chip.npu, None, f"chip table: {chip.id}"))
    return (*named, *npus)


def _qualcomm_gpu(root: Path) -> Iterator[Accelerator]:
    folder = root / "sys/class/kgsl/kgsl-3d0"
    if _exists(folder):
        yield Accelerator("gpu", read_line(str(folder / "gpu_model")), "kgsl", "/sys/class/kgsl/kgsl-3d0/gpu_model")


def _mali_gpu(root: Path) -> Iterator[Accelerator]:
    """gpuinfo: "Mali-G720-Immortalis 12 cores r0p1 0xC000". The table knows the name better if this is hidden."""
    folder = root / "sys/class/misc/mali0"
    if _exists(folder):
        yield Accelerator("gpu", read_line(str(folder / "device/gpuinfo")), "mali", "/sys/class/misc/mali0/device")


def _drm_gpus(root: Path) -> Iterator[Accelerator]:
    """Render nodes: those that can compute. They have a driver and, on a PC, an identity on the bus."""
    for folder in numbered_folders(root / "sys/class/drm", "renderD"):
        fields = read_fields(folder / "device/uevent", "=")
        yield Accelerator(
            "gpu", fields.get("PCI_ID"), fields.get("DRIVER"), f"/sys/class/drm/{folder.name}/device/uevent"
        )


def _accel_npus(root: Path) -> Iterator[Accelerator]:
    """The kernel's class of compute accelerators (/dev/accel): Intel, AMD and Rockchip NPUs, for example."""
    for folder in numbered_folders(root / "sys/class/accel", "accel"):
        fields = read_fields(folder / "device/uevent", "=")
        name = fields.get("PCI_ID") or fields.get("OF_COMPATIBLE_0")
        yield Accelerator("npu", name, fields.get("DRIVER"), f"/sys/class/accel/{folder.name}/device/uevent")


def _exists(path: Path) -> bool:
    return os.path.isdir(path)
