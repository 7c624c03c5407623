"""Memory: of the machine, from /proc/meminfo, and of this process, from /proc/self/status."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pocketseek.device.reading import parse_int, read_fields

_ROOT = Path("/")


@dataclass(frozen=True)
class ProcessMemory:
    """rss_bytes: what is in memory now; peak_rss_bytes: the most it ever was; anonymous_bytes: what no file backs."""

    rss_bytes: int | None
    peak_rss_bytes: int | None
    anonymous_bytes: int | None


def machine_memory(root: Path) -> tuple[int | None, int | None]:
    """(MemTotal, MemAvailable) in bytes."""
    fields = read_fields(root / "proc/meminfo")
    return kilobytes(fields.get("MemTotal")), kilobytes(fields.get("MemAvailable"))


def process_memory(root: Path = _ROOT) -> ProcessMemory:
    fields = read_fields(root / "proc/self/status")
    return ProcessMemory(
        rss_bytes=kilobytes(fields.get("VmRSS")),
        peak_rss_bytes=kilobytes(fields.get("VmHWM")),
        anonymous_bytes=kilobytes(fields.get("RssAnon")),
    )


def kilobytes(value: str | None) -> int | None:
    """ "16384 kB" -> 16777216."""
    number, _, unit = (value or "").partition(" ")
    parsed = parse_int(number)
    return parsed * 1024 if parsed is not None and unit == "kB" else None
