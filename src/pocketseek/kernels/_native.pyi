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
def exp_weights(
    instruction_set: str, x: NDArray[np.float32], best: float, divisor: float, out: NDArray[np.float32]
) -> None: ...
def exp_mass(instruction_set: str, x: NDArray[np.float32], best: float, divisor: float) -> float: ...
def at_least(instruction_set: str, x: NDArray[np.float32], threshold: float, found: NDArray[np.int32]) -> int: ...
def read_bandwidth(instruction_set: str, num_threads: int, data: NDArray[np.uint8], repeats: int) -> float: ...
def resident_bytes(data: NDArray[np.uint8]) -> int | None: ...
def changed_files(descriptors: NDArray[np.int32], stamps: NDArray[np.int64]) -> list[int]: ...
def can_guard() -> bool: ...
def int8_peak(instruction_set: str, num_threads: int, repeats: int) -> float: ...
def f32_peak(instruction_set: str, num_threads: int, repeats: int) -> float: ...

class Watched:
    def __init__(self, data: NDArray[np.uint8]) -> None: ...
    def take_faults(self) -> list[int]: ...
    def remap(self, descriptor: int, file_offset: int) -> None: ...

class LatentShape:
    def __init__(
        self, rank: int, nope_dim: int, rope_dim: int, value_dim: int, q_rank: int, score_factor: float
    ) -> None: ...

class MoeShape:
    def __init__(
        self,
        num_experts: int,
        experts_per_token: int,
        expert_size: int,
        shared_size: int,
        score: str,
        num_groups: int,
        groups_per_token: int,
        group_score: str,
        normalised: bool,
        weight_factor: float,
    ) -> None: ...

class ModelShape:
    def __init__(
        self,
        hidden: int,
        intermediate: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        eps: float,
        kv_format: str,
        latent: LatentShape | None = None,
        moe: MoeShape | None = None,
    ) -> None: ...
    @property
    def layer_bytes(self) -> int: ...

class Matrix:
    def __init__(self, format: str, rows: int, cols: int, parts: Sequence[tuple[int, NDArray[np.uint8]]]) -> None: ...

class Layer:
    def __init__(self, shape: ModelShape, entries: Mapping[str, object]) -> None: ...

class Expert:
    def __init__(self, shape: ModelShape, entries: Mapping[str, object]) -> None: ...

class Adapter:
    def __init__(
        self,
        shape: ModelShape,
        layers: Sequence[Mapping[str, tuple[int, float, NDArray[np.uint16], NDArray[np.uint16]]]],
    ) -> None: ...

class Batch:
    def __init__(
        self,
        spans: Sequence[tuple[int, int, Sequence[int]]],
        addresses: NDArray[np.uint64],
        page_bytes: int,
        inv_freq: NDArray[np.float32],
        rope_factor: float,
        adapters: Sequence[object | None] = (),
    ) -> None: ...

class Core:
    def __init__(self, instruction_set: str, num_threads: int) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def tasks_done(self) -> list[int]: ...
    @property
    def workspace_bytes(self) -> int: ...
    def set_num_threads(self, num_threads: int) -> None: ...
    def set_cores(self, cores: Sequence[int]) -> None: ...
    def set_spin(self, spin_s: float) -> None: ...
    def embed(self, table: object, ids: NDArray[np.int32], hidden: NDArray[np.float32]) -> None: ...
    def layers(
        self, shape: ModelShape, weights: Sequence[object], first: int, batch: object, hidden: NDArray[np.float32]
    ) -> None: ...
    def attend_and_route(
        self,
        shape: ModelShape,
        layer: object,
        index: int,
        batch: object,
        hidden: NDArray[np.float32],
        chosen: NDArray[np.int32],
    ) -> None: ...
    def shared_experts(self, layer: object) -> None: ...
    def experts(self, ready: Sequence[tuple[int, object]]) -> None: ...
    def end_layer(self, hidden: NDArray[np.float32]) -> None: ...
    def layer_part(
        self,
        shape: ModelShape,
        layer: object,
        index: int,
        step: str,
        first_tile: int,
        num_tiles: int,
        batch: object,
        hidden: NDArray[np.float32],
    ) -> None: ...
    def head_part(
        self,
        shape: ModelShape,
        norm: NDArray[np.float32],
        table: object,
        hidden: NDArray[np.float32],
        chosen: NDArray[np.int32],
        logits: NDArray[np.float32],
        first_tile: int,
        num_tiles: int,
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
