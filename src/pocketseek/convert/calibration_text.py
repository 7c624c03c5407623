"""Texts for calibration as windows of token ids, spread evenly over what there is, so that each kind has its share.

Texts that are shorter than a window are taken together, one after another; where even that is shorter, the beginning of
the longest text fills the window up. So every text is used, and what is used is as many whole windows as were asked
for (or as there is text for), or one for each text if those are more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import FormatError, UsageError
from pocketseek.text.tokenizer import Tokenizer

DEFAULT_TOKENS = 16_384
FEWEST_TOKENS = 1024
WINDOW = 512

Ids = NDArray[np.int32]

_CONTROL = re.compile("[\x01-\x06\x0e-\x1a\x1c-\x1f]")  # tabs, line and page ends, and escapes for colours are text
_MOST_CONTROL = 0.01


def calibration_windows(
    texts: Sequence[str], tokenizer: Tokenizer, *, max_tokens: int = DEFAULT_TOKENS, context_length: int
) -> NDArray[np.int32]:
    """(windows, length) int32. Each text gives its share by its length, but at least one window.

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
            f"best of the kinds that the model will read ({max_tokens} tokens are enough)"
        )
    pieces = _windowable(encoded, length)
    counts = _shares([len(ids) for ids in pieces], max(1, min(max_tokens, total) // length))
    return np.stack(
        [window for ids, count in zip(pieces, counts, strict=True) for window in _spread(ids, length, count)]
    )


def _windowable(encoded: Sequence[Ids], length: int) -> list[Ids]:
    """Texts of a window at least; the short ones together are one of them."""
    long = [ids for ids in encoded if len(ids) >= length]
    short = [ids for ids in encoded if 0 < len(ids) < length]
    if not short:
        return long
    joined = np.concatenate(short)
    if len(joined) < length:  # then there is a long one, since all together have FEWEST_TOKENS
        joined = np.concatenate([joined, max(long, key=len)[: length - len(joined)]])
    return [*long, joined]


def _shares(lengths: Sequence[int], num_windows: int) -> list[int]:
    """How many windows each gives: in proportion, at least one, together num_windows unless there are more texts."""
    wanted = [num_windows * length / sum(lengths) for length in lengths]
    counts = [max(1, math.floor(share)) for share in wanted]
    places = range(len(lengths))
    while sum(counts) < num_windows:
        counts[max(places, key=lambda place: wanted[place] - counts[place])] += 1
    while sum(counts) > max(num_windows, len(counts)):
        counts[max(places, key=lambda place: (counts[place] > 1, counts[place] - wanted[place]))] -= 1
    return counts


def _spread(ids: Ids, length: int, count: int) -> list[Ids]:
    """Windows at even distances, the first at the beginning and the last at the end; they overlap where ids are few."""
    starts = np.linspace(0, len(ids) - length, count).astype(int)
    return [ids[start : start + length] for start in starts]


def check_is_text(text: str, what: str = "the calibration text") -> None:
    """Binary data can be valid UTF-8, too. Raises FormatError."""
    if "\0" in text or len(_CONTROL.findall(text)) > _MOST_CONTROL * len(text):
        raise FormatError(f"{what} holds control characters as binary files do; give plain text")
