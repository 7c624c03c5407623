"""Who read a document, cut it, and with which extras: kept beside its text, so that one knows when to read it again.

What another version read is read again when its file is added again; so is what was read without an extra that is
asked for now. An extra that was there and is not asked for stays.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pocketseek import __version__
from pocketseek.apps.doc.passages import VERSION as PASSAGES_VERSION

Extra = Literal["comments", "ocr"]

READING = f"{__version__}/{PASSAGES_VERSION}"


def reading_mark(extras: Collection[Extra]) -> str:
    return " ".join([READING, *sorted(extras)])


def is_enough(mark: str, extras: Collection[Extra]) -> bool:
    """Whether what was read so has what a reading by this version with these extras would have."""
    reading, *had = mark.split(" ")
    return reading == READING and set(extras) <= set(had)
