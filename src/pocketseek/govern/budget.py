"""How many bytes may be taken when nobody said so. Pure arithmetic over the device's facts."""

from __future__ import annotations

UNKNOWN_MEMORY_BYTES = (
    1 << 30
)  # for the whole process where nothing can be read: a third of the smallest phones' memory
_UNKNOWN_MEMORY_KV_BYTES = 256 << 20
MOST_KV_BYTES = 2 << 30


def default_kv_budget_bytes(available_bytes: int | None) -> int:
    """For K and V: a quarter of the memory that is free now, at most 2 GiB. Pages take memory once they are used."""
    if available_bytes is None:
        return _UNKNOWN_MEMORY_KV_BYTES
    return min(available_bytes // 4, MOST_KV_BYTES)
