"""What the engine behind the page says and when, in tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from fakes import scripted_logits

from pocketseek.runtime.work import Logits, Work


class Brake:
    """Holds every pass that goes beyond `position`, until it is released. Give it to the engine as `before_run`."""

    def __init__(self) -> None:
        self._free = threading.Event()
        self._free.set()
        self._position = 0

    def set(self, position: int) -> None:
        self._position = position
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def __call__(self, work: Work) -> None:
        if any(part.end_position > self._position for part in work.slices):
            self._free.wait(60)


def answering(answers: Mapping[str, str]) -> Callable[..., Logits]:
    """Logits of a model that answers these first questions of a conversation so."""
    return scripted_logits({f"<|user|>{q}<|end|><|assistant|>".encode(): a.encode() for q, a in answers.items()})
