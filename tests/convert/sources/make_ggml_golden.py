"""Make `ggml_golden.npz`: random blocks of every quantised type and the values that ggml's reference code gives them.

python make_ggml_golden.py path/to/libggml-base.so       (llama-cpp-python carries it in llama_cpp/lib)
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np
from checkpoints import GGUF_TYPES, random_blocks

_FUNCTIONS = {
    "Q4_0": "q4_0",
    "Q4_1": "q4_1",
    "Q5_0": "q5_0",
    "Q5_1": "q5_1",
    "Q8_0": "q8_0",
    "Q2_K": "q2_K",
    "Q3_K": "q3_K",
    "Q4_K": "q4_K",
    "Q5_K": "q5_K",
    "Q6_K": "q6_K",
}
_ROWS = 2


def main(library: str) -> None:
    ggml = ctypes.CDLL(library)
    rng = np.random.default_rng(20)
    arrays = {}
    for type_name, suffix in _FUNCTIONS.items():
        cols = 2 * GGUF_TYPES[type_name][1]
        raw = random_blocks(type_name, _ROWS, cols, rng, std=1.0)
        values = np.empty((_ROWS, cols), np.float32)
        pointers = (ctypes.c_void_p(raw.ctypes.data), ctypes.c_void_p(values.ctypes.data))
        getattr(ggml, f"dequantize_row_{suffix}")(*pointers, ctypes.c_int64(values.size))
        arrays[f"{type_name}.raw"], arrays[f"{type_name}.values"] = raw, values
    np.savez_compressed(Path(__file__).with_name("ggml_golden.npz"), **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
