"""The libraries that training needs: there, or one line that says what to install. Nothing heavy is imported here."""

from __future__ import annotations

from pocketseek.libraries import is_termux, load_library


def require_training_libraries(needed_for: str = "training") -> None:
    """Raises UnsupportedError."""
    for name in ("torch", "accelerate", "safetensors"):
        load_library(name, training_remedy(), needed_for=needed_for)


def training_remedy() -> str:
    if is_termux():
        return 'pkg install python-torch, then pip install "accelerate>=1" "safetensors>=0.4"'
    return 'pip install "pocketseek[train]"'
