"""Pressure stall information (PSI): how long tasks had to wait, from the kernel's files of lines like
"some avg10=0.00 avg60=0.00 avg300=0.00 total=123" (Documentation/accounting/psi.rst of the Linux kernel).

Of the line "full" nothing is taken. Android lets no app read these files.
"""

from __future__ import annotations


def stall_us(text: bytes | None) -> int | None:
    """The total of "some": time during which at least one task waited."""
    return whole_number((line_value(text, b"some ") or b"").partition(b"total=")[2])


def recent_share(text: bytes | None) -> float | None:
    """The share of the last ten seconds during which at least one task waited, 0 to 1."""
    percent = (line_value(text, b"some ") or b"").partition(b"avg10=")[2].partition(b" ")[0]
    whole, dot, hundredths = percent.partition(b".")
    if not dot or not hundredths.isdigit() or len(hundredths) > 4 or whole_number(whole) is None:
        return None
    share = float(percent) / 100
    return share if share <= 1 else None


def line_value(text: bytes | None, name: bytes) -> bytes | None:
    """What follows `name` in the line that begins with it."""
    if text is None:
        return None
    if text.startswith(name):
        return text[len(name) :].partition(b"\n")[0].strip()
    start = text.find(b"\n" + name)
    return text[start + 1 + len(name) :].partition(b"\n")[0].strip() if start >= 0 else None


def whole_number(text: bytes | None) -> int | None:
    """As reading.parse_int: None for "max", an empty file, and what is no number."""
    digits = (text or b"").strip()
    return int(digits) if digits.isdigit() and len(digits) <= 20 else None
