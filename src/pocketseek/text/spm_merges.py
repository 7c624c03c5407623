"""BPE merges that do what SentencePiece does with scores.

SentencePiece repeatedly joins the two neighbours whose union is the token of the highest score, the leftmost first.
BPE joins the pair of the lowest rank. So every way to cut a token into two tokens becomes a merge, ranked by the score
of the whole. Among tokens of equal score (real vocabularies have hardly any) BPE prefers a pair, not a place; there the
two may differ.
"""

from __future__ import annotations

from collections.abc import Mapping

from pocketseek.errors import FormatError

MAX_CUTS = 20_000_000  # a real vocabulary of 128,000 tokens has about a million


def merges_from_scores(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """Pairs in order of rank, for the tokens that text may become (no control, byte or unknown tokens).

    Raises FormatError if the tokens are so long that listing the cuts would take minutes.
    """
    if sum(map(len, scores)) > MAX_CUTS:
        raise FormatError(
            "the GGUF's tokenizer.ggml.tokens are too long to be a vocabulary; download the checkpoint again"
        )
    ranked = [
        (-score, -len(left), left, right)
        for token, score in scores.items()
        for left, right in _cuts(token)
        if left in scores and right in scores
    ]
    ranked.sort()
    return [(left, right) for _, _, left, right in ranked]


def _cuts(token: str) -> list[tuple[str, str]]:
    return [(token[:place], token[place:]) for place in range(1, len(token))]
