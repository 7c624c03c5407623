"""How fast passes go here: layers of a usual shape, with one token and with many, in each format of the weights.

    one token      T = layers * layer_s + bytes / read_bytes_per_s        big layers, and small ones in one format,
    many tokens    T = layers * multiply-adds * tokens / multiply_adds_per_s      give layer_s and the rates

The weights are constant bytes, which are as good as any for the time. Each time is the median of several runs, within a
time limit for each format, so that a slow processor is asked less often and not for longer. Attention is in it with the
few positions that there are. Nothing is kept: the caller passes the figures on.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import MemoryLimitError
from pocketseek.formats import TENSOR_ALIGNMENT_BYTES, tensor_bytes
from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.contract import LAYER_MATRICES, LAYER_NORMS, ModelKernels, RowSpan, TensorData
from pocketseek.kernels.kv_memory import PAGE_TOKENS, KvMemory
from pocketseek.types import ModelConfig

MEASURED_FORMATS = ("q4p", "q4s", "q4a", "q6s", "q8s")
_MANY_TOKENS = 256
_CONSTANT = 0x1C  # as a scale in f16 0.004, and a fair code in all formats
_LEAST_BYTES = 16 << 20  # the largest matrix of a layer
_ONE_TOKEN_S, _MANY_TOKENS_S = 0.25, 0.5  # of measuring, for each format
_MOST_RUNS = 25


@dataclass(frozen=True)
class PassRate:
    """read_bytes_per_s: of weights by a pass with one token; multiply_adds_per_s: by one with many."""

    format: str
    read_bytes_per_s: float
    multiply_adds_per_s: float


@dataclass(frozen=True)
class PassRates:
    """layer_s: what a layer takes whatever its size."""

    formats: tuple[PassRate, ...]
    layer_s: float


@dataclass(frozen=True)
class _Timed:
    num_layers: int
    num_bytes: int
    seconds: float


def measure_passes(
    kernels_name: str, num_threads: int, *, buffer_bytes: int, formats: Sequence[str] = MEASURED_FORMATS
) -> PassRates:
    """Takes less than a second for each format. kernels_name: one of `supported_sets()`; buffer_bytes: as in
    measure.py. Raises MemoryLimitError if memory is refused."""
    passes = _Passes(kernels_name, num_threads, _weights(max(buffer_bytes, _LEAST_BYTES)))
    small = passes.with_one_token(_config(576, 1536, 9, 3, 64), formats[0])
    big = {name: passes.with_one_token(_BIG, name) for name in formats}
    # whatever disturbed one of them, no format is left without time for its bytes
    layer_s = min(_layer_s(small, big[formats[0]]), *(timed.seconds / timed.num_layers / 2 for timed in big.values()))
    rates = tuple(
        PassRate(
            name, timed.num_bytes / (timed.seconds - timed.num_layers * layer_s), passes.with_many_tokens(_BIG, name)
        )
        for name, timed in big.items()
    )
    return PassRates(rates, layer_s)


def _weights(num_bytes: int) -> NDArray[np.uint8]:
    """In small pages, as those of a mapped package are: finding them is a good part of reading them."""
    try:
        memory = mmap.mmap(-1, num_bytes)
    except (OSError, MemoryError) as error:
        raise MemoryLimitError(f"{num_bytes} bytes to measure with are refused; close other programs") from error
    with suppress(OSError):  # a system without huge pages
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    weights = np.frombuffer(memory, np.uint8)
    weights[:] = _CONSTANT
    return weights


def _config(hidden: int, intermediate: int, num_heads: int, num_kv_heads: int, head_dim: int) -> ModelConfig:
    return ModelConfig("llama", 1, hidden, intermediate, num_heads, num_kv_heads, head_dim, 32, 8192, 1e-6, 10000.0)


_BIG = _config(1536, 8960, 12, 2, 128)


def _layer_s(small: _Timed, big: _Timed) -> float:
    """Of two times that are layers * layer_s + bytes / rate, with half of a big layer as the most."""
    numerator = small.seconds * big.num_bytes - big.seconds * small.num_bytes
    found = numerator / (small.num_layers * big.num_bytes - big.num_layers * small.num_bytes)
    return min(max(0.0, found), big.seconds / big.num_layers / 2)


class _Passes:
    def __init__(self, kernels_name: str, num_threads: int, buffer: NDArray[np.uint8]) -> None:
        self._choice = choose_kernels(kernels_name)
        self._num_threads = num_threads
        self._buffer = buffer

    def with_one_token(self, config: ModelConfig, format_name: str) -> _Timed:
        """Layers that fill the buffer."""
        layer_bytes = sum(_room(format_name, shape) for shape in _shapes(config).values())
        num_layers = max(1, len(self._buffer) // layer_bytes)
        run = self._runner(config, format_name, num_layers, 1)
        weight_bytes = sum(tensor_bytes(format_name, shape) for shape in _shapes(config).values())
        return _Timed(num_layers, num_layers * weight_bytes, _median_s(run, _ONE_TOKEN_S))

    def with_many_tokens(self, config: ModelConfig, format_name: str) -> float:
        """Multiply-adds per second."""
        run = self._runner(config, format_name, 1, _MANY_TOKENS)
        multiply_adds = sum(rows * cols for rows, cols in _shapes(config).values())
        return multiply_adds * _MANY_TOKENS / _median_s(run, _MANY_TOKENS_S)

    def _runner(self, config: ModelConfig, format_name: str, num_layers: int, num_rows: int) -> Callable[[], None]:
        config = replace(config, num_layers=num_layers)
        kernels: ModelKernels = self._choice.open(config, self._num_threads)
        layers, start = [], 0
        for _ in range(num_layers):
            tensors = {name: _vector(config.hidden_size) for name in LAYER_NORMS}
            for name, shape in _shapes(config).items():
                room = _room(format_name, shape)
                start = start if start + room <= len(self._buffer) else 0
                data = self._buffer[start : start + tensor_bytes(format_name, shape)]
                tensors[name] = TensorData(format_name, shape, ((0, data),))
                start += room
            layers.append(kernels.load_layer(tensors))
        pages = tuple(range(-(-num_rows // PAGE_TOKENS)))
        memory = KvMemory(config, len(pages))
        inv_freq = np.ones(config.head_dim // 2, np.float32)
        hidden = np.empty((num_rows, config.hidden_size), np.float32)

        def run() -> None:
            hidden[:] = 0.01
            kernels.layers(layers, 0, kernels.begin([RowSpan(0, num_rows, pages)], inv_freq, memory), hidden)

        return run


def _shapes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    hidden, inner = config.hidden_size, config.intermediate_size
    query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    sizes = (
        (query, hidden),
        (key, hidden),
        (key, hidden),
        (hidden, query),
        (inner, hidden),
        (inner, hidden),
        (hidden, inner),
    )
    return dict(zip(LAYER_MATRICES, sizes, strict=True))


def _room(format_name: str, shape: tuple[int, int]) -> int:
    return -(-tensor_bytes(format_name, shape) // TENSOR_ALIGNMENT_BYTES) * TENSOR_ALIGNMENT_BYTES


def _vector(size: int) -> TensorData:
    return TensorData("f32", (size,), ((0, np.ones(size, np.float32).view(np.uint8)),))


def _median_s(run: Callable[[], None], limit_s: float) -> float:
    run()  # pages and tables are there from now on
    times: list[float] = []
    while len(times) < _MOST_RUNS and (not times or sum(times) < limit_s):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return median(times)
