"""Texts for calibration as windows of token ids, spread evenly over what there is, so that each kind has its share."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import FormatError, UsageError
from pocketseek.text.tokenizer import Tokenizer

DEFAULT_TOKENS = 16_384
FEWEST_TOKENS = 1024
WINDOW = 512

_CONTROL = re.compile("[\x01-\x06\x0e-\x1a\x1c-\x1f]")  # tabs, line and page ends, and escapes for colours are text
_MOST_CONTROL = 0.01


def calibration_windows(
    texts: Sequence[str], tokenizer: Tokenizer, *, max_tokens: int = DEFAULT_TOKENS, context_length: int
) -> NDArray[np.int32]:
    """(windows, length) int32. Each text gives its share by length, but at least one window.

    Raises UsageError for too little text, FormatError for what is no text.
    """
    for text in texts:
        check_is_text(text)
    length = min(WINDOW, context_length)
    encoded = [np.array(tokenizer.encode(text), np.int32) for text in texts]
    total = sum(map(len, encoded))
    if total < FEWEST_TOKENS:
        raise UsageError(
            f"the calibration text is too short: {total} tokens, and {FEWEST_TOKENS} are the least; give more text, "
            f"best of the kinds that the model will read ({DEFAULT_TOKENS} tokens are enough)"
        )
    num_windows = max(1, min(max_tokens, total) // length)
    picked = []
    for ids in encoded:
        count = max(1, round(num_windows * len(ids) / total))
        if len(ids) >= length:
            starts = np.linspace(0, len(ids) - length, count).astype(int)
            picked += [ids[start : start + length] for start in sorted(set(starts.tolist()))]
    if not picked:  # many short ones
        joined = np.concatenate(encoded)
        picked = [joined[start : start + length] for start in range(0, len(joined) - length + 1, length)]
    return np.stack(picked[: max(num_windows, len(encoded))])


def check_is_text(text: str, what: str = "the calibration text") -> None:
    """Binary data can be valid UTF-8, too. Raises FormatError."""
    if "\0" in text or len(_CONTROL.findall(text)) > _MOST_CONTROL * len(text):
        raise FormatError(f"{what} holds control characters as binary files do; give plain text")
