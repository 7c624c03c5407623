"""Memory that is none: swap, and the part of it that is compressed memory (zram)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pocketseek.device.memory import kilobytes
from pocketseek.device.reading import numbered_folders, parse_int, read_fields, read_int, read_text


@dataclass(frozen=True)
class Swap:
    """total_bytes, free_bytes: of all swap. zram_bytes: the part of it that lies in memory, compressed; 0: none of it.

    zram_compression: compressed bytes per byte now stored there (0.4: it takes two fifths).
    """

    total_bytes: int | None
    free_bytes: int | None
    zram_bytes: int | None
    zram_compression: float | None


def read_swap(root: Path) -> Swap:
    fields = read_fields(root / "proc/meminfo")
    return Swap(
        total_bytes=kilobytes(fields.get("SwapTotal")),
        free_bytes=kilobytes(fields.get("SwapFree")),
        zram_bytes=_zram_bytes(root),
        zram_compression=_compression(root),
    )


def _zram_bytes(root: Path) -> int | None:
    """Sum over the lines of /proc/swaps that name a zram device: "/dev/block/zram0 partition 4194300 0 100"."""
    text = read_text(root / "proc/swaps")
    if text is None:
        return None
    lines = [line.split() for line in text.splitlines()[1:]]
    sizes_kb = [parse_int(line[2]) for line in lines if len(line) >= 3 and "/zram" in line[0]]
    return sum(size for size in sizes_kb if size is not None) * 1024


def _compression(root: Path) -> float | None:
    """mm_stat: original, compressed, used bytes and more."""
    original_bytes = compressed_bytes = 0
    for folder in numbered_folders(root / "sys/block", "zram"):
        numbers = [parse_int(word) for word in (read_text(folder / "mm_stat") or "").split()[:2]]
        if read_int(folder / "disksize") and len(numbers) == 2 and numbers[0] is not None and numbers[1] is not None:
            original_bytes, compressed_bytes = original_bytes + numbers[0], compressed_bytes + numbers[1]
    return compressed_bytes / original_bytes if original_bytes else None
