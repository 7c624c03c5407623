"""pocketseek: DeepSeek-family language models on a phone.

The public names are `load`, `Engine`, `Message`, `SamplingParams`, `convert_checkpoint`, `check_device` and
`__version__`. They are imported when first used, so that `import pocketseek` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pocketseek.convert.pipeline import convert_checkpoint as convert_checkpoint
    from pocketseek.device.probe import check_device as check_device
    from pocketseek.runtime.engine import Engine as Engine
    from pocketseek.runtime.load import load as load
    from pocketseek.types import Message as Message
    from pocketseek.types import SamplingParams as SamplingParams

__version__ = "0.1.0"
__all__ = ["Engine", "Message", "SamplingParams", "__version__", "check_device", "convert_checkpoint", "load"]

_HOMES = {
    "Engine": "pocketseek.runtime.engine",
    "Message": "pocketseek.types",
    "SamplingParams": "pocketseek.types",
    "check_device": "pocketseek.device.probe",
    "convert_checkpoint": "pocketseek.convert.pipeline",
    "load": "pocketseek.runtime.load",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
