"""Optional libraries: loaded and new enough, or one line that says what to do about it.

A library that is installed may still not load (made for another system, another Python, another numpy), which shows
only when it is imported. Nothing is imported by this module itself.
"""

from __future__ import annotations

import importlib
import re
import sys
from types import ModuleType

from pocketseek.errors import UnsupportedError

LEAST_ONNXRUNTIME = "1.20"

# What importing raises: most is ImportError; libraries made for another protobuf or numpy raise the others.
_LOAD_ERRORS = (ImportError, OSError, RuntimeError, AttributeError, TypeError)
_MOST_CHARS = 200


def load_library(name: str, remedy: str, *, needed_for: str = "") -> ModuleType:
    """Raises UnsupportedError that ends with the remedy. needed_for: begins the line, if given."""
    try:
        return importlib.import_module(name)
    except _LOAD_ERRORS as error:
        problem = " ".join(str(error).split())[:_MOST_CHARS]
        subject = (
            f"{needed_for} needs the library {name.partition('.')[0]}, which" if needed_for else f"the library {name}"
        )
        raise UnsupportedError(f"{subject} cannot be loaded ({problem}); {remedy}") from error


def load_onnxruntime(*, needed_for: str = "") -> ModuleType:
    """Raises UnsupportedError, also for one that is too old."""
    on_termux = is_termux()
    remedy = "pkg install python-onnxruntime" if on_termux else 'pip install "pocketseek[onnx]"'
    library = load_library("onnxruntime", f"{remedy}, or use --engine native", needed_for=needed_for)
    check_onnxruntime(str(library.__version__), LEAST_ONNXRUNTIME, "pocketseek")
    return library


def load_onnx(*, needed_for: str) -> ModuleType:
    """The library that graphs are written with; running them takes none of it. Raises UnsupportedError."""
    on_termux = is_termux()  # where pip would have to compile it, for a long time
    remedy = "export on a computer and copy the folder here" if on_termux else 'pip install "pocketseek[export]"'
    return load_library("onnx", f"{remedy}, or run the package with --engine native", needed_for=needed_for)


def check_onnxruntime(version: str, least: str, who: str) -> None:
    """Raises UnsupportedError if ONNX Runtime is older than `who` needs it."""
    if numbers_of(version) < numbers_of(least):
        update = "pkg upgrade" if is_termux() else 'pip install --upgrade "onnxruntime"'
        raise UnsupportedError(
            f"{who} needs ONNX Runtime {least} or newer, and {version} is installed; {update}, or use --engine native"
        )


def numbers_of(version: str) -> tuple[int, ...]:
    """The first two numbers: (1, 22) of "1.22.0+cpu"."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def is_termux() -> bool:
    return "com.termux" in sys.prefix
