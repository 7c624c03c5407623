"""What is done with dense models only so far, and how it is refused of others."""

from __future__ import annotations

from pocketseek.errors import UnsupportedError
from pocketseek.types import ModelConfig


def require_dense(model: ModelConfig, what: str, remedy: str) -> None:
    """Raises UnsupportedError for models with experts or latent attention. what: "calibration"."""
    if model.is_sparse:
        raise UnsupportedError(
            f"{what} is not there yet for models with experts or latent attention ({model.family}); {remedy}"
        )
