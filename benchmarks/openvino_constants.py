"""How OpenVINO's compressed constants are named and packed: for peer_openvino_weights.py, numpy alone."""

from __future__ import annotations

import numpy as np

WEIGHT_ENDS = (".weight", "._openvino_orig_weight")  # the exporter renames what it traces in 16 bits


def unpacked(packed: np.ndarray, *, is_signed: bool) -> np.ndarray:
    """int8 codes out of bytes with two of them each, the first in the low half."""
    codes = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1).astype(np.int8)
    return (codes ^ 8) - 8 if is_signed else codes


def checkpoint_name(name: str) -> str:
    bare = name.removeprefix("self.")
    for end in WEIGHT_ENDS:
        bare = bare.removesuffix(end)
    return f"{bare}.weight"
