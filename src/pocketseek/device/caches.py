"""The processor's caches as the kernel shows them. Source: Documentation/ABI/testing/sysfs-devices-system-cpu."""

from __future__ import annotations

from pathlib import Path

from pocketseek.device.reading import numbered_folders, parse_int, read_line

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def largest_cache_bytes(root: str | Path = "/") -> int | None:
    """Of the first processor; None if it is not told (Android's kernels mostly do not)."""
    folders = numbered_folders(Path(root) / "sys/devices/system/cpu/cpu0/cache", "index")
    sizes = [size for folder in folders if (size := _bytes(read_line(f"{folder}/size") or "")) is not None]
    return max(sizes, default=None)


def _bytes(text: str) -> int | None:
    """ "32768K" and the like."""
    number = parse_int(text[:-1]) if text[-1:] in _UNITS else None
    return None if number is None else number * _UNITS[text[-1]]
