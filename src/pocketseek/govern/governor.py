"""What the next pass may use. For now the answer is fixed when the governor is made; nothing is measured while running.

The runtime asks before every pass, so a governor that follows heat and memory can replace this one without a change
there.
"""

from __future__ import annotations

from typing import Protocol

from pocketseek.errors import UsageError
from pocketseek.types import Limits

MAX_TOKENS_PER_PASS = 256  # beyond this, large prompts gain little and the other answers wait longer for their turn
MAX_SEQUENCES = 16


class Governor(Protocol):
    """Answers limits() before every pass, from the engine's worker thread."""

    def limits(self) -> Limits: ...


class FixedGovernor:
    """The same limits for every pass."""

    def __init__(
        self,
        num_cores: int,
        *,
        num_threads: int | None = None,
        max_tokens_per_pass: int = MAX_TOKENS_PER_PASS,
        max_sequences: int = MAX_SEQUENCES,
    ) -> None:
        """num_cores: performance cores that this process may use; num_threads: the user's choice instead of them."""
        self._limits = Limits(
            num_threads=_at_least_one("the number of threads", num_cores if num_threads is None else num_threads),
            max_tokens_per_pass=_at_least_one("max_tokens_per_pass", max_tokens_per_pass),
            max_sequences=_at_least_one("max_sequences", max_sequences),
        )

    def limits(self) -> Limits:
        return self._limits


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise UsageError(f"{name} is {value}; use a whole number, 1 or more")
    return value
