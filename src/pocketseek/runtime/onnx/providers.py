"""Which execution provider of ONNX Runtime computes: the device's first, the next one if it fails, the CPU at last.

Only those are tried that the installed ONNX Runtime was built with, and that can take a model of this form: compilers
of NPUs want fixed shapes, and none of the others has the operators of weight-only exports. The order and the falling
back are decided here, without ONNX Runtime: who opens the model with a provider is handed in. One that fails after it
was opened is given up for the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, TypeVar

from pocketseek.device.execution_provider import ExecutionProvider, Reason
from pocketseek.errors import UnsupportedError, UsageError
from pocketseek.runtime.onnx.model_files import ModelForm

PROVIDERS = {
    "QNN": "QNNExecutionProvider",
    "NNAPI": "NnapiExecutionProvider",
    "CoreML": "CoreMLExecutionProvider",
    "XNNPACK": "XnnpackExecutionProvider",
    "OpenVINO": "OpenVINOExecutionProvider",
    "CPU": "CPUExecutionProvider",
}
"""Our name, and ONNX Runtime's."""

_DETAIL_CHARS = 300
_COMPILERS = ("QNN", "NNAPI")
_NEXT = {"QNN": ("XNNPACK",), "NNAPI": ("XNNPACK",)}  # phones with such an NPU have arm64 cores

ProviderReason = (
    Reason
    | Literal["asked for", "last resort", "intel by openvino", "not built in", "needs fixed shapes", "model for cpu"]
)
Opened = TypeVar("Opened")


ProblemKind = Literal["not started", "no operators", "refused", "first pass", "no numbers", "later pass"]
_PROBLEMS: dict[ProblemKind, str] = {
    "not started": "{name} could not be started",
    "no operators": "{name} has none of the operators of this model",
    "refused": "{name} cannot run the model",
    "first pass": "{name} failed in its first pass",
    "no numbers": "{name} computed no numbers in its first pass",
    "later pass": "{name} failed while it computed",
}


@dataclass(frozen=True)
class ProviderFailure:
    """problem: one line, in English. kind, detail: the same for those who say it themselves; kind None: anything."""

    name: str
    problem: str
    kind: ProblemKind | None = None
    detail: str = ""


_FAILURE = "provider_failure"  # an attribute of errors that provider_error makes


def provider_error(name: str, kind: ProblemKind, detail: str = "") -> UnsupportedError:
    """A provider other than the CPU does not work. detail: in ONNX Runtime's words, of any length."""
    short = " ".join(detail.split())[:_DETAIL_CHARS]
    problem = _PROBLEMS[kind].format(name=name) + (f": {short}" if detail else "")
    error = UnsupportedError(f"{problem}; use --provider CPU")
    setattr(error, _FAILURE, ProviderFailure(name, problem, kind, short))
    return error


@dataclass(frozen=True)
class ProviderChoice:
    """name: as in PROVIDERS. failures: of those that were tried, or computed, before it, in order."""

    name: str
    reason: ProviderReason
    failures: tuple[ProviderFailure, ...] = ()


def find_provider(name: str) -> str:
    """The provider that somebody typed, in any case of letters. Raises UsageError."""
    for known in PROVIDERS:
        if known.lower() == name.lower():
            return known
    raise UsageError(f"there is no execution provider named {name[:40]!r}; choose one of {', '.join(PROVIDERS)}")


def order_of(
    device: ExecutionProvider,
    forced: str | None = None,
    *,
    available: Collection[str],
    form: ModelForm = "unknown",
    is_intel: bool = False,
) -> list[ProviderChoice]:
    """What to try. A provider that was asked for is tried alone: falling back would hide that it does not work.

    available: ONNX Runtime's names of what this build of it has. Where the device's own is not tried, the reason of the
    CPU says why.
    """
    if forced is not None:
        return [ProviderChoice(find_provider(forced), "asked for")]
    wanted, obstacles = _wanted(device, is_intel), []
    order: list[ProviderChoice] = []
    for choice in wanted:
        obstacle = _obstacle(choice.name, available, form)
        if obstacle is None:
            order.append(choice)
        else:
            obstacles.append(obstacle)
    if order:
        return [*order, ProviderChoice("CPU", "last resort")]
    explains = obstacles and device.name != "CPU"
    return [ProviderChoice("CPU", obstacles[0] if explains else device.reason)]


def _wanted(device: ExecutionProvider, is_intel: bool) -> list[ProviderChoice]:
    if device.name == "CPU":
        return [ProviderChoice("OpenVINO", "intel by openvino")] if is_intel else []
    others = [ProviderChoice(name, "last resort") for name in _NEXT.get(device.name, ())]
    return [ProviderChoice(device.name, device.reason), *others]


def _obstacle(name: str, available: Collection[str], form: ModelForm) -> ProviderReason | None:
    """Why it is not even tried."""
    if PROVIDERS[name] not in available:
        return "not built in"
    if form == "blocks":
        return "model for cpu"
    if name in _COMPILERS and form == "static":
        return "needs fixed shapes"
    return None


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
            failures.append(_failure(choice.name, error))
            continue
        return opened, ProviderChoice(choice.name, choice.reason, tuple(failures))
    raise ValueError("no provider to try")


def given_up(choice: ProviderChoice, error: UnsupportedError) -> ProviderChoice:
    """The CPU, after what was chosen has failed in a pass."""
    failures = (*choice.failures, _failure(choice.name, error))
    return ProviderChoice("CPU", "last resort", failures)


def _lacking(name: str, available: Collection[str]) -> str:
    here = ", ".join(known for known, ort_name in PROVIDERS.items() if ort_name in available) or "none that is known"
    return f"the installed ONNX Runtime was built without {name} (it has {here}); install a build with it or use CPU"


def _failure(name: str, error: UnsupportedError) -> ProviderFailure:
    known = getattr(error, _FAILURE, None)
    if isinstance(known, ProviderFailure):  # without the remedy: the next one is used anyway
        return known
    problem = " ".join(str(error).split())[:_DETAIL_CHARS]
    return ProviderFailure(name, problem, detail=problem)
