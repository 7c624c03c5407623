"""The libraries that training needs: there, or one line that says what to install. Nothing heavy is imported here."""

from __future__ import annotations

from importlib.util import find_spec

from pocketseek.libraries import is_termux, load_library

_LIBRARIES = ("torch", "accelerate", "safetensors")


def find_training_libraries() -> None:
    """Raises UnsupportedError if one is not installed, which takes no time to see; loading them takes seconds."""
    if any(find_spec(name) is None for name in _LIBRARIES):
        require_training_libraries()


def require_training_libraries(needed_for: str = "training") -> None:
    """Raises UnsupportedError."""
    for name in _LIBRARIES:
        load_library(name, training_remedy(), needed_for=needed_for)


def training_remedy() -> str:
    if is_termux():
        return 'pkg install python-torch, then pip install "accelerate>=1" "safetensors>=0.4"'
    return 'pip install "pocketseek[train]"'
