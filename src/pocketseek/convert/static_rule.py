"""How many bits an activation gets, and which range: decided from what calibration saw.

In the MLPs of some layers a few channels of a few tokens are thousands of times larger than the rest, and the model
needs them. One scale of 8 bits then leaves nothing of the rest, whatever the method; so attention and MLP of each layer
are either of 8 bits as a whole, or, where rounding to 8 bits would be too loud, of 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pocketseek.convert.activation_ranges import DEFAULT_PERCENTILE, Range, RangeMethod
from pocketseek.convert.static_walk import StaticLayer

Bits = Literal[0, 8, 16]  # 0: stays float

ATTENTION = ("attn_in", "q", "k", "q_rotated", "k_rotated", "scores", "v", "mixed", "o")
MLP = ("mlp_in", "gate", "up", "activated", "gated", "down")
MOST_NOISE = 0.02


@dataclass(frozen=True)
class StaticRule:
    """bits: 8 (16 where it must be, at rounding noise above most_noise), 16, or 0 to quantise weights only."""

    bits: Bits = 8
    method: RangeMethod = "minmax"
    percentile: float = DEFAULT_PERCENTILE
    most_noise: float = MOST_NOISE

    def bits_of(self, layer: StaticLayer, names: tuple[str, ...]) -> Bits:
        """For activations that are quantised alike."""
        if self.bits != 8:
            return self.bits
        return 8 if max(layer.seen[name].rounding_noise(8) for name in names) <= self.most_noise else 16

    def range_of(self, layer: StaticLayer, name: str, bits: Bits) -> Range:
        return layer.seen[name].range(self.method, bits=bits, percentile=self.percentile)
