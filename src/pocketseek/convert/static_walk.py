"""Layer by layer in float32: weights made easy to quantise (smooth.py), and what was seen of each activation there.

What quantisation with ranges fixed beforehand needs from calibration text. The walk computes what the model computes in
exact arithmetic, not what the quantised one will. Memory: a layer's weights in float32 and one matrix more, the text's
hidden states about four times (with q, k, v and what attention makes of them), of the MLP a part of the text at a time.

The model's own graph could be run with more outputs instead, but then every activation of a part of the text would be
in memory at once, and smoothing needs to look before it decides, several times in a layer.

Names of ranges, in the order of computation (docs/onnx.md has the graph):
hidden, attn_in, q, k, q_rotated, k_rotated, scores, v, mixed, o, middle, mlp_in, gate, up, activated, gated, down.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert import smooth
from pocketseek.convert.activation_ranges import Histogram
from pocketseek.convert.layer_math import Floats, gated
from pocketseek.errors import FormatError
from pocketseek.kernels.reference import rms_norm, rotate, silu
from pocketseek.types import ModelConfig

DEFAULT_SHARE = 0.5
LAYER_MATRICES = ("q", "k", "v", "o", "gate", "up", "down")

PIECE_BYTES = 96_000_000  # of one int8 constant: files beside a graph are at most 100 MB

_CHUNK_ROWS = 2048  # of hidden states, looked at together


class FloatWeights(Protocol):
    """A model's tensors in float32, by the package's names."""

    @property
    def model(self) -> ModelConfig: ...

    @property
    def inv_freq(self) -> Floats: ...

    def has(self, name: str) -> bool: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def matrix(self, name: str) -> Floats: ...

    def vector(self, name: str) -> Floats: ...

    def rows(self, name: str, ids: NDArray[np.int32]) -> Floats: ...


@dataclass(frozen=True)
class StaticLayer:
    """matrices (outputs, inputs), vectors (norms, biases) and histograms by short name.

    1 / sqrt(head_dim) is in q already: in its rows and bias, or in q_norm where there is one.
    """

    matrices: dict[str, Floats]
    vectors: dict[str, Floats]
    seen: dict[str, Histogram]


@dataclass(frozen=True)
class StaticHead:
    """scales: what multiplies the columns of the head's matrix; the norm's weights are divided by them.

    seen: hidden, head_in, logits.
    """

    norm: Floats
    scales: Floats
    seen: dict[str, Histogram]


class StaticWalk:
    """Layers must be taken in order, then the head."""

    def __init__(self, weights: FloatWeights, windows: NDArray[np.int32], *, share: float | None) -> None:
        """windows: token ids (number, length)."""
        self.config = weights.model
        self._weights = weights
        self._share = share
        self._length = windows.shape[1]
        self._rope = _Rope(weights, self._length)
        self.hidden = weights.rows(table_name(weights), windows.reshape(-1))

    def layer(self, index: int) -> StaticLayer:
        layer = StaticLayer(*self._read(f"layer.{index}."), {})
        observe(layer.seen, "hidden", self.hidden)
        mixed = self._attention(layer)
        for part in self._parts():
            self._add(layer, "o", part, mixed[part])
        observe(layer.seen, "middle", self.hidden)
        self._mlp(layer)
        return layer

    def head(self) -> StaticHead:
        table = "head.weight"
        norm = np.array(self._weights.vector("head.norm"))
        scales = np.ones(self.config.hidden_size, np.float32)
        if self._share is not None:
            peaks = self._normed_peaks(norm)
            read = np.maximum.reduce([smooth.column_peaks(rows) for _, rows in table_pieces(self._weights, table)])
            scales = smooth.channel_scales(peaks, read, self._share)
        head = StaticHead(norm / scales, scales, {})
        observe(head.seen, "hidden", self.hidden)
        for part in self._parts():
            observe(head.seen, "head_in", self._normed(part, head.norm))
        for _, rows in table_pieces(self._weights, table):
            for part in self._parts():
                observe(head.seen, "logits", self._normed(part, norm) @ rows.T)
        return head

    def _read(self, prefix: str) -> tuple[dict[str, Floats], dict[str, Floats]]:
        names = ("attn_norm", "mlp_norm", "q_bias", "k_bias", "v_bias", "q_norm", "k_norm")
        matrices = {name: self._weights.matrix(prefix + name) for name in LAYER_MATRICES}
        return matrices, {
            name: np.array(self._weights.vector(prefix + name)) for name in names if self._weights.has(prefix + name)
        }

    def _attention(self, layer: StaticLayer) -> Floats:
        """What goes into o, for all rows."""
        self._smooth_norm(layer, "attn_norm", ("q", "k", "v"), self._normed_peaks(layer.vectors["attn_norm"]))
        q, k, v = self._qkv(layer)
        self._scale_scores(layer, q, k)
        if "q_norm" not in layer.vectors:
            observe(layer.seen, "q", q)
            observe(layer.seen, "k", k)
        mixed = np.empty((len(self.hidden), q.shape[1]), np.float32)
        for part in self._parts():
            mixed[part] = self._mix(layer, q[part], k[part], v[part])
        self._smooth_values(layer, v, mixed)
        observe(layer.seen, "v", v)
        observe(layer.seen, "mixed", mixed)
        return mixed

    def _qkv(self, layer: StaticLayer) -> tuple[Floats, Floats, Floats]:
        outputs = [np.empty((len(self.hidden), len(layer.matrices[name])), np.float32) for name in ("q", "k", "v")]
        for part in self._parts():
            x = self._normed(part, layer.vectors["attn_norm"])
            observe(layer.seen, "attn_in", x)
            for output, name in zip(outputs, ("q", "k", "v"), strict=True):
                output[part] = x @ layer.matrices[name].T
                output[part] += layer.vectors.get(f"{name}_bias", np.float32(0))
        return outputs[0], outputs[1], outputs[2]

    def _scale_scores(self, layer: StaticLayer, q: Floats, k: Floats) -> None:
        """Fold 1 / sqrt(head_dim) into q, and move outlying channels of k into it, here and in the weights."""
        dim = self.config.head_dim
        rows = np.float32(1 / math.sqrt(dim))
        if "q_norm" in layer.vectors:
            observe(layer.seen, "q", q)
            observe(layer.seen, "k", k)
            for values, name in ((q, "q_norm"), (k, "k_norm")):
                heads = values.reshape(-1, dim)
                heads[:] = rms_norm(heads, layer.vectors[name], self.config.rms_norm_eps)
        scales = self._score_scales(q, k, is_shared="q_norm" in layer.vectors)
        for_queries = smooth.for_query_heads(self.config, scales) * rows
        q *= for_queries
        k /= scales
        if "q_norm" in layer.vectors:
            layer.vectors["q_norm"] *= for_queries[:dim]
            layer.vectors["k_norm"] /= scales[:dim]
            return
        layer.matrices["q"] *= for_queries[:, None]
        layer.matrices["k"] /= scales[:, None]
        if "q_bias" in layer.vectors:
            layer.vectors["q_bias"] *= for_queries
        if "k_bias" in layer.vectors:
            layer.vectors["k_bias"] /= scales

    def _score_scales(self, q: Floats, k: Floats, *, is_shared: bool) -> Floats:
        """For each channel of k. is_shared: the same in all heads, because a norm's weights are."""
        config = self.config
        if self._share is None:
            return np.ones(k.shape[1], np.float32)
        key_peaks = smooth.rotary_peaks(config, np.abs(k).max(axis=0))
        query_peaks = smooth.rotary_peaks(config, smooth.over_query_heads(config, np.abs(q).max(axis=0)))
        if is_shared:
            key_peaks = np.tile(key_peaks.reshape(-1, config.head_dim).max(axis=0), config.num_kv_heads)
            query_peaks = np.tile(query_peaks.reshape(-1, config.head_dim).max(axis=0), config.num_kv_heads)
        return smooth.channel_scales(key_peaks, query_peaks, 0.5)

    def _mix(self, layer: StaticLayer, q: Floats, k: Floats, v: Floats) -> Floats:
        """Attention of whole windows."""
        config, length = self.config, self._length
        queries, keys = self._rope.heads(q, config.num_heads), self._rope.heads(k, config.num_kv_heads)
        observe(layer.seen, "q_rotated", queries)
        observe(layer.seen, "k_rotated", keys)
        values = v.reshape(-1, length, config.num_kv_heads, config.head_dim).transpose(0, 2, 1, 3)
        visible = np.tril(np.ones((length, length), bool))
        mixed = np.empty_like(queries)
        for head in range(config.num_heads):
            shared = head // config.queries_per_kv_head
            scores = queries[:, head] @ keys[:, shared].swapaxes(1, 2)
            observe(layer.seen, "scores", scores[:, visible])
            scores[:, ~visible] = -np.inf
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
            mixed[:, head] = scores @ values[:, shared]
        return np.ascontiguousarray(mixed.transpose(0, 2, 1, 3)).reshape(len(q), -1)

    def _smooth_values(self, layer: StaticLayer, v: Floats, mixed: Floats) -> None:
        """Between v and o; a channel of v is read through those of all the query heads that share it."""
        if self._share is None:
            return
        config = self.config
        peaks = smooth.over_query_heads(config, np.abs(mixed).max(axis=0))
        read = smooth.over_query_heads(config, smooth.column_peaks(layer.matrices["o"]))
        scales = smooth.channel_scales(peaks, read, self._share)
        for_queries = smooth.for_query_heads(config, scales)
        v /= scales
        mixed /= for_queries
        layer.matrices["v"] /= scales[:, None]
        if "v_bias" in layer.vectors:
            layer.vectors["v_bias"] /= scales
        layer.matrices["o"] *= for_queries

    def _mlp(self, layer: StaticLayer) -> None:
        self._smooth_norm(layer, "mlp_norm", ("gate", "up"), self._normed_peaks(layer.vectors["mlp_norm"]))
        if self._share is not None:
            # gate and up twice, since their outputs for all rows would be the largest thing in memory
            peaks = np.maximum.reduce([np.abs(self._gated(layer, part)[-1]).max(axis=0) for part in self._parts()])
            scales = smooth.channel_scales(peaks, smooth.column_peaks(layer.matrices["down"]), self._share)
            layer.matrices["up"] /= scales[:, None]
            layer.matrices["down"] *= scales
        for part in self._parts():
            x, gate, up, product = self._gated(layer, part)
            for name, values in (("mlp_in", x), ("gate", gate), ("up", up), ("gated", product)):
                observe(layer.seen, name, values)
            observe(layer.seen, "activated", silu(gate))
            self._add(layer, "down", part, product)

    def _gated(self, layer: StaticLayer, part: slice) -> tuple[Floats, Floats, Floats, Floats]:
        x = self._normed(part, layer.vectors["mlp_norm"])
        gate, up = x @ layer.matrices["gate"].T, x @ layer.matrices["up"].T
        return x, gate, up, gated(gate, up)

    def _add(self, layer: StaticLayer, name: str, part: slice, inputs: Floats) -> None:
        output = inputs @ layer.matrices[name].T
        observe(layer.seen, name, output)
        self.hidden[part] += output

    def _smooth_norm(self, layer: StaticLayer, norm: str, readers: tuple[str, ...], peaks: Floats) -> None:
        """Between a norm and the matrices that read it."""
        if self._share is None:
            return
        read = smooth.column_peaks(*(layer.matrices[name] for name in readers))
        scales = smooth.channel_scales(peaks, read, self._share)
        layer.vectors[norm] /= scales
        for name in readers:
            layer.matrices[name] *= scales

    def _normed_peaks(self, weight: Floats) -> Floats:
        peaks: Floats = np.maximum.reduce([np.abs(self._normed(part, weight)).max(axis=0) for part in self._parts()])
        return peaks

    def _normed(self, part: slice, weight: Floats) -> Floats:
        return rms_norm(self.hidden[part], weight, self.config.rms_norm_eps)

    def _parts(self) -> Iterator[slice]:
        """Whole windows."""
        step = max(1, _CHUNK_ROWS // self._length) * self._length
        for start in range(0, len(self.hidden), step):
            yield slice(start, min(start + step, len(self.hidden)))


class _Rope:
    def __init__(self, weights: FloatWeights, length: int) -> None:
        angles = np.arange(length, dtype=np.float32)[:, None] * weights.inv_freq[None, :]
        factor = np.float32(weights.model.rope_scaling.attention_factor)
        self._cosine, self._sine = np.cos(angles) * factor, np.sin(angles) * factor
        self._length = length

    def heads(self, x: Floats, num_heads: int) -> Floats:
        """(rows, heads * dim) rotated: (windows, heads, length, dim)."""
        num_windows = len(x) // self._length
        rows = x.reshape(len(x), num_heads, -1)
        turned = rotate(rows, np.tile(self._cosine, (num_windows, 1)), np.tile(self._sine, (num_windows, 1)))
        return np.ascontiguousarray(turned.reshape(num_windows, self._length, num_heads, -1).transpose(0, 2, 1, 3))


def table_name(weights: FloatWeights) -> str:
    """Of the embedding: a tied one is the head."""
    return "embed.weight" if weights.has("embed.weight") else "head.weight"


def table_pieces(weights: FloatWeights, name: str) -> Iterator[tuple[int, Floats]]:
    """Of the embedding or the head, the largest matrices: first row and rows, a piece at a time."""
    rows, cols = weights.model.vocab_size, weights.model.hidden_size
    for start, stop in piece_ranges(rows, cols):
        yield start, weights.rows(name, np.arange(start, stop, dtype=np.int32))


def piece_ranges(rows: int, cols: int) -> Iterator[tuple[int, int]]:
    """Rows of an int8 matrix, at most PIECE_BYTES at a time."""
    step = max(1, PIECE_BYTES // cols)
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def observe(seen: dict[str, Histogram], name: str, values: Floats) -> None:
    """Raises FormatError if the model computes what is not a number."""
    try:
        seen.setdefault(name, Histogram()).add(values)
    except ValueError as error:
        raise FormatError(
            f"the model computes values that are not finite ({name}); its weights are damaged, get the checkpoint again"
        ) from error
