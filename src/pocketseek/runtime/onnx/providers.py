"""Which execution provider of ONNX Runtime computes: the device's first, the next one if it fails, the CPU at last.

The order and the falling back, without ONNX Runtime: who opens the model with a provider is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, TypeVar

from pocketseek.device.execution_provider import ExecutionProvider, Reason
from pocketseek.errors import UnsupportedError, UsageError

PROVIDERS = {
    "QNN": "QNNExecutionProvider",
    "NNAPI": "NnapiExecutionProvider",
    "CoreML": "CoreMLExecutionProvider",
    "XNNPACK": "XnnpackExecutionProvider",
    "OpenVINO": "OpenVINOExecutionProvider",
    "CPU": "CPUExecutionProvider",
}
"""Our name, and ONNX Runtime's."""

ProviderReason = Reason | Literal["asked for", "last resort"]
Opened = TypeVar("Opened")


@dataclass(frozen=True)
class ProviderFailure:
    """problem: one line."""

    name: str
    problem: str


@dataclass(frozen=True)
class ProviderChoice:
    """name: as in PROVIDERS. failures: of those that were tried before it, in order."""

    name: str
    reason: ProviderReason
    failures: tuple[ProviderFailure, ...] = ()


def find_provider(name: str) -> str:
    """The provider that somebody typed, in any case of letters. Raises UsageError."""
    for known in PROVIDERS:
        if known.lower() == name.lower():
            return known
    raise UsageError(f"there is no execution provider named {name[:40]!r}; choose one of {', '.join(PROVIDERS)}")


def order_of(device: ExecutionProvider, forced: str | None = None) -> list[ProviderChoice]:
    """What to try. A provider that was asked for is tried alone: falling back would hide that it does not work."""
    if forced is not None:
        return [ProviderChoice(find_provider(forced), "asked for")]
    first = ProviderChoice(device.name, device.reason)
    return [first] if device.name == "CPU" else [first, ProviderChoice("CPU", "last resort")]


def open_first(
    order: list[ProviderChoice],
    available: Collection[str],
    open_with: Callable[[str], Opened],
) -> tuple[Opened, ProviderChoice]:
    """Open with the first that works. available: ONNX Runtime's names of what this build of it has.

    open_with(name) raises UnsupportedError if the provider cannot run the model. Raises the last one's error.
    """
    failures: list[ProviderFailure] = []
    for choice in order:
        try:
            if PROVIDERS[choice.name] not in available:
                raise UnsupportedError(_lacking(choice.name, available))
            opened = open_with(choice.name)
        except UnsupportedError as error:
            if choice is order[-1]:
                raise
            failures.append(ProviderFailure(choice.name, _one_line(error)))
            continue
        return opened, ProviderChoice(choice.name, choice.reason, tuple(failures))
    raise ValueError("no provider to try")


def _lacking(name: str, available: Collection[str]) -> str:
    here = ", ".join(known for known, ort_name in PROVIDERS.items() if ort_name in available) or "none that is known"
    return f"the installed ONNX Runtime was built without {name} (it has {here}); install a build with it or use CPU"


def _one_line(error: UnsupportedError) -> str:
    return " ".join(str(error).split())[:300]
