"""What the C library does with memory that was let go. Nothing outside glibc needs it."""

from __future__ import annotations

import ctypes

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h
_LARGE_BYTES = 1 << 18


def give_large_memory_back() -> None:
    """From now on, of this whole process: what is larger than 256 KiB is mapped, and the system has it back as soon as
    it is let go.

    By default glibc learns from the sizes that it sees to keep them on its heap, where each layer's input, which
    outlives its activations, comes to lie between them, and the process grows by a layer with every layer (measured: to
    1.7 GB where 0.7 was planned).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
