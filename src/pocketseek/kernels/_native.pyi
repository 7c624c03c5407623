from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

abi: int

def supported_sets() -> list[str]: ...
def rope_table(
    positions: NDArray[np.int32],
    inv_freq: NDArray[np.float32],
    factor: float,
    cosine: NDArray[np.float32],
    sine: NDArray[np.float32],
) -> None: ...
def rms_norm(
    instruction_set: str,
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    eps: float,
    out: NDArray[np.float32],
) -> None: ...
def swiglu(
    instruction_set: str, gate: NDArray[np.float32], up: NDArray[np.float32], out: NDArray[np.float32]
) -> None: ...
def rotate(
    instruction_set: str, heads: NDArray[np.float32], cosine: NDArray[np.float32], sine: NDArray[np.float32]
) -> None: ...
def quantise(
    instruction_set: str, x: NDArray[np.float32], wide: bool, quants: NDArray[np.int8], scales: NDArray[np.float32]
) -> None: ...
def read_bandwidth(instruction_set: str, num_threads: int, data: NDArray[np.uint8], repeats: int) -> float: ...
def int8_peak(instruction_set: str, num_threads: int, repeats: int) -> float: ...
def f32_peak(instruction_set: str, num_threads: int, repeats: int) -> float: ...

class ModelShape:
    def __init__(
        self, hidden: int, intermediate: int, heads: int, kv_heads: int, head_dim: int, eps: float
    ) -> None: ...
    @property
    def layer_bytes(self) -> int: ...

class Matrix:
    def __init__(self, format: str, rows: int, cols: int, parts: Sequence[tuple[int, NDArray[np.uint8]]]) -> None: ...

class Layer:
    def __init__(self, shape: ModelShape, entries: Mapping[str, object]) -> None: ...

class Batch:
    def __init__(
        self, spans: Sequence[tuple[int, int, NDArray[np.uint64]]], inv_freq: NDArray[np.float32], rope_factor: float
    ) -> None: ...

class Core:
    def __init__(self, instruction_set: str, num_threads: int) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def num_threads(self) -> int: ...
    @property
    def workspace_bytes(self) -> int: ...
    def set_num_threads(self, num_threads: int) -> None: ...
    def embed(self, table: object, ids: NDArray[np.int32], hidden: NDArray[np.float32]) -> None: ...
    def layer(
        self, shape: ModelShape, weights: object, index: int, batch: object, hidden: NDArray[np.float32]
    ) -> None: ...
    def head(
        self,
        shape: ModelShape,
        norm: NDArray[np.float32],
        table: object,
        hidden: NDArray[np.float32],
        chosen: NDArray[np.int32],
        logits: NDArray[np.float32],
    ) -> None: ...
