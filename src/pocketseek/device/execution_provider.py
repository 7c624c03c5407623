"""Which execution provider of ONNX Runtime would compute on this device, and why.

That is what ONNX Runtime's and Android's documentation say of systems and chips. Nothing is tried, and a provider is of
use only where the installed ONNX Runtime was built with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pocketseek.device.chips import Chip

_NNAPI_FIRST_API, _NNAPI_LAST_API = 27, 34  # Android 8.1; deprecated from Android 15 on

Reason = Literal[
    "npu by qnn", "npu by coreml", "chip by nnapi",
    "unknown chip", "no npu", "npu unreached", "needs android", "nnapi deprecated", "android too old",
]  # fmt: skip


@dataclass(frozen=True)
class ExecutionProvider:
    """name: as ONNX Runtime calls it: QNN, NNAPI, CoreML, XNNPACK, CPU. reason: why it, or why none for the NPU."""

    name: str
    reason: Reason


def choose_provider(
    architecture: str | None, chip: Chip | None, android_api_level: int | None, *, has_npu: bool
) -> ExecutionProvider | None:
    """The chip table's provider where the system has it; otherwise one for the processor itself, None if it is not
    known either."""
    wanted = chip.execution_provider if chip else None
    if wanted == "CoreML":
        return ExecutionProvider("CoreML", "npu by coreml")
    if wanted is not None and android_api_level is not None:
        if wanted == "QNN":
            return ExecutionProvider("QNN", "npu by qnn")
        if _NNAPI_FIRST_API <= android_api_level <= _NNAPI_LAST_API:
            return ExecutionProvider("NNAPI", "chip by nnapi")
    if architecture is None:
        return None
    return ExecutionProvider(_for_processor(architecture), _why_not(chip, wanted, android_api_level, has_npu))


def _for_processor(architecture: str) -> str:
    """XNNPACK is made for arm64 cores; elsewhere ONNX Runtime's own kernels are the usual choice."""
    return "XNNPACK" if architecture in ("aarch64", "arm64") else "CPU"


def _why_not(chip: Chip | None, wanted: str | None, android_api_level: int | None, has_npu: bool) -> Reason:
    if wanted is None:
        on_unknown_phone = chip is None and android_api_level is not None
        return "npu unreached" if has_npu else "unknown chip" if on_unknown_phone else "no npu"
    if android_api_level is None:
        return "needs android"
    return "nnapi deprecated" if android_api_level > _NNAPI_LAST_API else "android too old"
