"""How long a request waits for memory that other programs have: MEMORY_PATIENCE_S, and then it ends with an error.

It is no fault of the request, which would fit at other times, and often over in seconds: so it is not refused at once.
It waits for memory if it does not fit what can be had now (`is_promised` is not set), or if nobody runs whose pages it
could get, and yet it is not given any.
"""

from __future__ import annotations

from collections.abc import Iterable

from pocketseek.errors import MemoryLimitError
from pocketseek.runtime.sequence import SequenceState

MEMORY_PATIENCE_S = 30.0


def note(waiting: Iterable[SequenceState], now_s: float, *, nobody_can_run: bool) -> None:
    """After everybody was admitted who could be."""
    for sequence in waiting:
        if sequence.is_promised and not nobody_can_run:
            sequence.lacks_memory_since_s = None
        elif sequence.lacks_memory_since_s is None:
            sequence.lacks_memory_since_s = now_s


def lost(waiting: Iterable[SequenceState], now_s: float) -> list[SequenceState]:
    """Who has waited for memory too long, with all who follow them."""
    return [
        one
        for sequence in waiting
        if sequence.lacks_memory_since_s is not None and now_s - sequence.lacks_memory_since_s >= MEMORY_PATIENCE_S
        for one in (sequence, *sequence.followers)
    ]


def error(sequence: SequenceState) -> MemoryLimitError:
    return MemoryLimitError(
        f"for {MEMORY_PATIENCE_S:.0f} s there was no memory for a prompt of {sequence.num_prompt} tokens; "
        "allow more (--memory), close other programs or shorten the prompt"
    )
