"""What disturbances cost at the end: KL divergences of next-token distributions, one pass over the head in slabs.

Logits are never whole. For each token of the text, and each disturbed distribution q beside the clean one p, running
sums over the vocabulary are kept, relative to the largest logit so far:

    KL(p || q) = E_p[p's logit - q's logit] - log sum exp(p's logits) + log sum exp(q's logits)

Memory: a slab of the head (rounded.py) in float32 and in each format, logits of it for some rows of the text, and five
numbers for each token and distribution, whatever the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.layer_math import Floats
from pocketseek.convert.rounded import matrix_slabs, rounded
from pocketseek.convert.static_walk import FloatWeights

Doubles = NDArray[np.float64]
Name = int | str

_LOGITS_AT_ONCE = 1 << 20  # 8 MB each in float64


def head_divergences(
    weights: FloatWeights, clean: Floats, streams: Mapping[Name, Floats], formats: Sequence[str]
) -> dict[Name, float]:
    """Mean KL of each stream, and of the clean one through the head rounded to each format ("head q4p").

    clean, streams: what is multiplied by the head, that is after its norm; (tokens, size), all alike.
    """
    sums = _RunningKl([*streams, *map(_head_name, formats)], len(clean))
    for slab in matrix_slabs(weights, "head.weight"):
        heads = {_head_name(name): rounded(name, slab) for name in formats}
        for part in _parts(len(clean), len(slab)):
            disturbed = ((name, stream[part] @ slab.T) for name, stream in streams.items())
            rounded_off = ((name, clean[part] @ head.T) for name, head in heads.items())
            sums.add(part, clean[part] @ slab.T, chain(disturbed, rounded_off))
    return sums.means()


def _head_name(format_name: str) -> str:
    return f"head {format_name}"


def _parts(num_tokens: int, num_logits: int) -> Iterator[slice]:
    step = max(1, _LOGITS_AT_ONCE // num_logits)
    for start in range(0, num_tokens, step):
        yield slice(start, min(start + step, num_tokens))


class _LogSumExp:
    """Running, one for each token."""

    def __init__(self, num_tokens: int) -> None:
        self._peak: Doubles = np.full(num_tokens, -np.inf)
        self.total: Doubles = np.zeros(num_tokens)  # relative to exp(peak)

    def add(self, part: slice, logits: Doubles) -> tuple[Doubles, Doubles]:
        """What each of these logits adds to the total, and what everything before is to be multiplied by."""
        peak = np.maximum(self._peak[part], logits.max(axis=1))
        shrunk = np.exp(self._peak[part] - peak)
        added = np.exp(logits - peak[:, None])
        self._peak[part] = peak
        self.total[part] = self.total[part] * shrunk + added.sum(axis=1)
        return added, shrunk

    def values(self) -> Doubles:
        return np.asarray(self._peak + np.log(self.total))


class _RunningKl:
    """gaps: sums of (clean logit - disturbed logit), weighted as in the clean total."""

    def __init__(self, names: Sequence[Name], num_tokens: int) -> None:
        self._clean = _LogSumExp(num_tokens)
        self._disturbed = {name: _LogSumExp(num_tokens) for name in names}
        self._gaps: dict[Name, Doubles] = {name: np.zeros(num_tokens) for name in names}

    def add(self, part: slice, clean: Floats, disturbed: Iterable[tuple[Name, Floats]]) -> None:
        """The same piece of the vocabulary for all names; one of the disturbed is in memory at a time."""
        clean_logits = clean.astype(np.float64)
        weights, shrunk = self._clean.add(part, clean_logits)
        for name, values in disturbed:
            logits = values.astype(np.float64)
            self._disturbed[name].add(part, logits)
            np.subtract(clean_logits, logits, out=logits)
            self._gaps[name][part] = self._gaps[name][part] * shrunk + np.einsum("tv,tv->t", weights, logits)

    def means(self) -> dict[Name, float]:
        clean, total = self._clean.values(), self._clean.total
        return {
            name: float((self._gaps[name] / total - clean + disturbed.values()).mean())
            for name, disturbed in self._disturbed.items()
        }
