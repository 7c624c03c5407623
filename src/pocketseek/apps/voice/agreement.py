"""What two readings of the same speech, made one after the other, agree on: it will hardly change any more."""

from __future__ import annotations

import re

_WORD = re.compile(r"[一-鿿]|[^\s一-鿿]+\s*|\s+")


def agreed(before: str, now: str) -> str:
    """The longest common beginning in whole words (in Chinese: characters), as it stands in `now`."""
    words, length = _WORD.findall(now), 0
    for one, other in zip(_WORD.findall(before), words, strict=False):
        if _bare(one) != _bare(other):
            break
        length += len(other)
    return now[:length].rstrip()


def likely_to_stay(before: str, now: str) -> str:
    """What of a reading is worth working ahead on. before "": there was none, so all but its last word is."""
    if before:
        return agreed(before, now)
    words = _WORD.findall(now)
    return now[: len(now) - len(words[-1])].rstrip() if words else ""


def _bare(word: str) -> str:
    """Recognisers change their mind about capitals and punctuation to the last."""
    return word.strip().casefold().strip(".,!?;:…。，！？；：、")
