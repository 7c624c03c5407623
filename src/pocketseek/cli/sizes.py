"""Sizes as people type them: "600MB", "600M", "1.5 GiB", "800000000"."""

from __future__ import annotations

import re
from fractions import Fraction

from pocketseek.errors import UsageError

_UNITS = {
    "": 1,
    "B": 1,
    **{f"{letter}{end}": 1000**power for power, letter in enumerate("KMGT", start=1) for end in ("", "B")},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", start=1)},
}
_SIZE = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]{0,3})\s*", re.ASCII)
_LARGEST_BYTES = 1 << 50
_FEWEST_PLAIN_BYTES = 1_000_000


def parse_size(text: str) -> int:
    """Bytes: MB and M are 10^6, MiB 2^20, no unit bytes; capitals do not matter. Fractions of a byte are cut off.

    Raises UsageError for anything else, for nothing, for more than a device could have, and for a number without a unit
    that is so small that another unit was meant.
    """
    match = _SIZE.fullmatch(text)
    unit_bytes = _UNITS.get(match[2].upper()) if match else None
    num_bytes = int(Fraction(match[1]) * unit_bytes) if match and unit_bytes else 0
    if not 0 < num_bytes <= _LARGEST_BYTES:
        raise UsageError(f"{text[:40]!r} is not a size; write it like 600MB, 1.5GB or 512MiB")
    if match and not match[2] and num_bytes < _FEWEST_PLAIN_BYTES:
        number = match[1]
        raise UsageError(f"{number} without a unit is a number of bytes; write {number}MB or {number}GB")
    return num_bytes
