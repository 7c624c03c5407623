"""Is a text to check with really another one than the calibration text? By what they share, letter for letter.

Compared are all runs of RUN_BYTES of UTF-8 without spaces and line ends: about six English words or eleven Chinese
characters, which two texts seldom have both by chance. So the same words count as the same with short lines, wrapped
elsewhere or indented otherwise. Not seen: a translation, or the same words in another order. Memory: ten bytes or so
for each byte of the text to check with, and a piece of the calibration text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import UsageError

RUN_BYTES = 32  # a power of two
MOST_SHARED = 0.2

_PIECE_CHARS = 1 << 19
_MULTIPLIER = 0x9E3779B97F4A7C15

Hashes = NDArray[np.uint64]


def check_unseen(texts: Mapping[str, str], calibration: Sequence[str]) -> None:
    """texts: by kind. Raises UsageError if one has much in common with what the weights are calibrated on."""
    for kind, text in texts.items():
        share = shared_part(text, calibration)
        if share > MOST_SHARED:
            raise UsageError(
                f"the text {kind!r} to check with is in the calibration text, too ({share:.0%} of it), where every "
                "model does well; give another one"
            )


def shared_part(text: str, others: Sequence[str]) -> float:
    """How many of a text's runs are in the others, 0 to 1; 0 for a text that is shorter than a run."""
    runs, counts = np.unique(_runs(_without_spaces(text)), return_counts=True)
    if len(runs) == 0:
        return 0.0
    found = np.zeros(len(runs), bool)
    for other in others:
        for piece in _pieces(other):
            places = np.minimum(np.searchsorted(runs, piece), len(runs) - 1)
            found[places[runs[places] == piece]] = True
    return float(counts[found].sum() / counts.sum())


def _pieces(text: str) -> Iterator[Hashes]:
    """All runs of a long text, some at a time."""
    before = b""
    for start in range(0, len(text), _PIECE_CHARS):
        data = before + _without_spaces(text[start : start + _PIECE_CHARS])
        yield _runs(data)
        before = data[-(RUN_BYTES - 1) :]


def _without_spaces(text: str) -> bytes:
    return "".join(text.split()).encode("utf-8", "replace")


def _runs(data: bytes) -> Hashes:
    """A hash of every RUN_BYTES bytes in a row, from those of half as many."""
    hashes = np.frombuffer(data, np.uint8).astype(np.uint64) + np.uint64(1)
    length, multiplier = 1, _MULTIPLIER
    while length < RUN_BYTES:
        hashes = hashes[:-length] * np.uint64(multiplier) + hashes[length:]
        length, multiplier = 2 * length, multiplier * multiplier % (1 << 64)
    return hashes
