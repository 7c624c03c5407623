"""Weights of which no part can be left out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WholeWeights:
    """For those who count memory: all of it is needed, and most of it is mapped."""

    num_bytes: int
    ring_bytes: int = 0
    is_warm: bool = True
    num_warmings: int = 0

    @property
    def streaming_bytes(self) -> int:
        return self.num_bytes
