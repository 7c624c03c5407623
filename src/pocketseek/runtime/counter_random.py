"""Random numbers without a state: a pure function of (seed, position).

A generator with a state would tie a token to how many numbers were drawn before it, hence to batching, pre-emption and
speculation. Here the number for a token depends on the request's seed and the token's absolute position alone.
The mixing function is splitmix64 (Steele, Lea and Flood, 2014), whose outputs pass the usual batteries.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) with 53 random bits. seed and position count modulo 2**64."""
    # The seed is mixed by itself first, so that (seed, position + 1) and (seed + 1, position) have nothing in common.
    return (_mix(_mix(seed) ^ _mix(~position)) >> 11) * 2.0**-53


def _mix(value: int) -> int:
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
