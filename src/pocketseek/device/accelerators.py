"""Graphics and neural processors: from the kernel's device files where they name themselves, else from the chip table.

And which execution provider of ONNX Runtime would compute here, with the reason. That is what the documentation of
ONNX Runtime says of systems and chips; nothing is tried, and a provider must be in the installed build to be of use.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pocketseek.device.chips import Chip
from pocketseek.device.reading import numbered_folders, read_fields, read_line

_NNAPI_FIRST_API, _NNAPI_LAST_API = 27, 34  # Android 8.1; deprecated from Android 15 on


@dataclass(frozen=True)
class Accelerator:
    """name: what it calls itself, or the chip table's; None if there is one without a name."""

    kind: Literal["gpu", "npu"]
    name: str | None
    driver: str | None
    source: str


@dataclass(frozen=True)
class ExecutionProvider:
    """name: as in ONNX Runtime's documentation: QNN, NNAPI, CoreML, XNNPACK, CPU. reason: one sentence."""

    name: str
    reason: str


def find_accelerators(root: Path, chip: Chip | None) -> tuple[Accelerator, ...]:
    gpus = [*_qualcomm_gpu(root), *_mali_gpu(root), *_drm_gpus(root)]
    named = [gpu for gpu in gpus if gpu.name] or gpus
    if chip is not None and chip.gpu and not any(gpu.name for gpu in gpus):
        named = [Accelerator("gpu", chip.gpu, gpus[0].driver if gpus else None, f"chip table: {chip.id}")]
    npus = list(_accel_npus(root))
    if chip is not None and chip.npu:
        npus.append(Accelerator("npu", chip.npu, None, f"chip table: {chip.id}"))
    return (*named, *npus)


def choose_provider(architecture: str, chip: Chip | None, android_api_level: int | None) -> ExecutionProvider:
    """For the chip table's provider where the system has it; otherwise for the processor itself."""
    on_arm = architecture in ("aarch64", "arm64")
    wanted = chip.execution_provider if chip else None
    if wanted == "CoreML":
        return ExecutionProvider("CoreML", f"the {_npu(chip)} is reached through CoreML on iOS and macOS")
    if wanted == "QNN" and android_api_level is not None:
        return ExecutionProvider("QNN", f"the {_npu(chip)} is reached through Qualcomm's AI Engine Direct")
    if wanted == "NNAPI" and android_api_level is not None and _NNAPI_FIRST_API <= android_api_level <= _NNAPI_LAST_API:
        return ExecutionProvider("NNAPI", "Android 8.1 to 14 offers the chip's accelerators through NNAPI")
    if not on_arm:
        return ExecutionProvider("CPU", "no neural processor is known here")
    return ExecutionProvider("XNNPACK", f"{_why_not(chip, wanted, android_api_level)}; fast on arm64 cores")


def _npu(chip: Chip | None) -> str:
    return (chip.npu if chip else None) or "neural processor"


def _why_not(chip: Chip | None, wanted: str | None, android_api_level: int | None) -> str:
    if chip is None:
        return "the chip is not in the table"
    if wanted is None:
        return "no provider is known for its neural processor" if chip.npu else "no neural processor is known"
    if android_api_level is None:
        return f"{wanted} needs Android"
    return "NNAPI is deprecated from Android 15 on" if android_api_level > _NNAPI_LAST_API else "Android is too old"


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
    """Render nodes: those that can compute. Their names are the driver's and the identity on the bus."""
    for folder in numbered_folders(root / "sys/class/drm", "renderD"):
        fields = read_fields(folder / "device/uevent", "=")
        name = fields.get("PCI_ID") or fields.get("OF_COMPATIBLE_0")
        yield Accelerator("gpu", name, fields.get("DRIVER"), f"/sys/class/drm/{folder.name}/device/uevent")


def _accel_npus(root: Path) -> Iterator[Accelerator]:
    """The kernel's class of compute accelerators (/dev/accel): Intel, AMD and Rockchip NPUs, for example."""
    for folder in numbered_folders(root / "sys/class/accel", "accel"):
        fields = read_fields(folder / "device/uevent", "=")
        name = fields.get("PCI_ID") or fields.get("OF_COMPATIBLE_0")
        yield Accelerator("npu", name, fields.get("DRIVER"), f"/sys/class/accel/{folder.name}/device/uevent")


def _exists(path: Path) -> bool:
    return os.path.isdir(path)
