"""What the engine behind the page says and when, in tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from fakes import ASSISTANT_ID, EOS_ID, USER_ID, scripted_logits

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


def answering_each(answers: Mapping[str, str]) -> Callable[..., Logits]:
    """The same for the last question of a conversation, whatever was said before."""

    def logits(tokens: Sequence[int], vocab_size: int) -> Logits:
        begun = max(place for place, token in enumerate(tokens) if token == ASSISTANT_ID) + 1
        asked = max(place for place, token in enumerate(tokens[:begun]) if token == USER_ID) + 1
        question = bytes(token for token in tokens[asked : begun - 1] if token < 256).decode()
        answer = answers.get(question, "What?").encode()
        row = np.zeros(vocab_size, np.float32)
        row[[*answer, EOS_ID][min(len(tokens) - begun, len(answer))]] = 50.0
        return row

    return logits
