"""Checkpoints in FP8 with one scale for each 128 x 128 weights, as DeepSeek-V3 is published; rounded by a slow loop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from checkpoints import safetensors_file

QUANTISATION = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
_BLOCK = 128
_MAGNITUDES = np.array(
    [byte % 8 / 8 * 2.0**-6 if byte < 8 else (1 + byte % 8 / 8) * 2.0 ** (byte // 8 - 7) for byte in range(127)],
    np.float32,
)


def to_fp8(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bytes, scales, and the values that they stand for."""
    rows, cols = values.shape
    stored = np.zeros(values.shape, np.uint8)
    scales = np.zeros((-(-rows // _BLOCK), -(-cols // _BLOCK)), np.float32)
    meant = np.zeros_like(values)
    for r in range(0, rows, _BLOCK):
        for c in range(0, cols, _BLOCK):
            square = values[r : r + _BLOCK, c : c + _BLOCK]
            scale = np.float32(np.abs(square).max() / 448)
            nearest = np.abs(np.abs(square / scale)[..., None] - _MAGNITUDES).argmin(axis=-1)
            codes = nearest.astype(np.uint8) | np.where(square < 0, 128, 0).astype(np.uint8)
            stored[r : r + _BLOCK, c : c + _BLOCK] = codes
            scales[r // _BLOCK, c // _BLOCK] = scale
            meant[r : r + _BLOCK, c : c + _BLOCK] = np.sign(square) * _MAGNITUDES[nearest] * scale
    return stored, scales, meant


def write_fp8(
    directory: Path, matrices: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """model.safetensors, and config.json if there is none. others: stay float32. Returns the values as stored."""
    header: dict[str, object] = {}
    data = b""

    def add(name: str, dtype: str, array: np.ndarray) -> None:
        nonlocal data
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + array.nbytes],
        }
        data += array.tobytes()

    values: dict[str, np.ndarray] = {}
    for name, matrix in matrices.items():
        stored, scales, values[name] = to_fp8(matrix)
        add(name, "F8_E4M3", stored)
        add(f"{name}_scale_inv", "F32", scales)
    for name, array in (others or {}).items():
        add(name, "F32", np.ascontiguousarray(array, np.float32))
    (directory / "model.safetensors").write_bytes(safetensors_file(header, data))
    if not (directory / "config.json").exists():
        (directory / "config.json").write_text(json.dumps({"model_type": "deepseek_v3"}))
    return values
