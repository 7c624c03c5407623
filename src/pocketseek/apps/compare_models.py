"""How far one model's next-token distributions are from another's, of the same tokenizer, on a text.

Used for what quantisation costs: the reference is the same model with more bits. Windows are those of `evaluate`; every
position of a window is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pocketseek.errors import UsageError
from pocketseek.kernels.divergence import Comparison, Divergence


class GivesLogits(Protocol):
    """As WindowLogits."""

    @property
    def vocab_size(self) -> int: ...

    def run(self, token_ids: Sequence[int]) -> Iterator[npt.NDArray[np.float32]]: ...


def compare_models(
    model: GivesLogits,
    reference: GivesLogits,
    token_ids: Sequence[int],
    *,
    window: int,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Raises UsageError for vocabularies of different sizes, and for fewer than two tokens."""
    return compare_texts(model, reference, {"": token_ids}, window=window, progress=progress)[1]


def compare_texts(
    model: GivesLogits,
    reference: GivesLogits,
    texts: Mapping[str, Sequence[int]],
    *,
    window: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Comparison], Comparison]:
    """Of each text, token ids by kind, and of all together. Raises as `compare_models`."""
    if model.vocab_size != reference.vocab_size:
        raise UsageError(
            f"the models have vocabularies of {model.vocab_size} and {reference.vocab_size} tokens; "
            "only packages of the same model can be compared"
        )
    if any(len(token_ids) < 2 for token_ids in texts.values()):
        raise UsageError("the text has fewer than two tokens, so there is nothing to compare; give a longer one")
    total, done = sum(map(len, texts.values())), 0
    everything, found = Divergence(), dict[str, Comparison]()
    for kind, token_ids in texts.items():
        one = Divergence()
        for start in range(0, len(token_ids) - 1, window):
            ids = token_ids[start : start + window]
            first = 0
            for own, other in zip(model.run(ids), reference.run(ids), strict=True):
                for into in (one, everything):
                    into.add(own, other, ids[first + 1 : first + 1 + len(own)])
                first += len(own)
            if progress is not None:
                progress(done + min(start + window, len(token_ids)), total)
        done += len(token_ids)
        found[kind] = one.comparison()
    return found, everything.comparison()
