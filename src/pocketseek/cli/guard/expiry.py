"""Days until which something holds, as they are typed: 2027-12-31, or 90d from now."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from pocketseek.errors import UsageError

_DAYS = re.compile(r"([1-9]\d{0,4})d")


def parse_expiry(text: str, now_s: float) -> int:
    """Unix time of the end of that day (UTC). Raises UsageError, also for a day that is over."""
    now = datetime.fromtimestamp(now_s, UTC)
    if match := _DAYS.fullmatch(text):
        return int(now_s) + int(match[1]) * 86_400
    try:
        end = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text[:40]!r} is no day; write it like 2027-12-31, or 90d for 90 days from now") from error
    if end <= now:
        raise UsageError(f"{text} is over; give a later day")
    return int(end.timestamp())
