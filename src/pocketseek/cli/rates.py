"""Rates as people type them: "2MB/s", "500kB/s", "1.5M"."""

from __future__ import annotations

import re

from pocketseek.cli.sizes import parse_size
from pocketseek.errors import UsageError

LEAST_BYTES_PER_S = 1000
_END = re.compile(r"(?<=[A-Za-z0-9])\s*(?:/\s*s|ps)\s*")


def parse_rate(text: str) -> int:
    """Bytes per second; units as for sizes. Raises UsageError, also for less than 1 kB/s."""
    ended = _END.search(text)
    size = text[: ended.start()] if ended is not None and ended.end() == len(text) else text
    try:
        bytes_per_s = parse_size(size)
    except UsageError as error:
        raise UsageError(f"{text[:40]!r} is not a rate; write it like 2MB/s or 500kB/s") from error
    if bytes_per_s < LEAST_BYTES_PER_S:
        raise UsageError(f"{text[:40]!r} is less than 1 kB/s, which no model arrives at; write it like 500kB/s")
    return bytes_per_s
