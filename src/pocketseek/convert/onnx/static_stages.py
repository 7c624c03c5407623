"""The graphs of an int8-static export, stage by stage: what an NPU computes, and what the CPU does around it.

    embed    input_ids, attention_mask -> hidden, rope_cosine, rope_sine, attention_bias     (CPU)
    layers   hidden, the other three, past_key_values.N.* -> hidden, present.N.*             (NPU)
    head     hidden, logit_rows -> logits                                                    (NPU or CPU)

Matrix products, attention's included, and what lies between them are quantised (static_rule.py: 8 or 16 bits); norms,
rotation, the masked softmax and the sums of hidden states are float, which NPUs compute in float16. Batch 1. Shapes are
fixed if `Shapes` says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from pocketseek.convert.activation_ranges import Range
from pocketseek.convert.layer_math import Floats
from pocketseek.convert.onnx.graph import Dim
from pocketseek.convert.onnx.qdq import QdqGraph, Scale, Value, int8_rows
from pocketseek.convert.static_rule import ATTENTION, MLP, Bits, StaticRule
from pocketseek.convert.static_walk import FloatWeights, StaticHead, StaticLayer, table_name, table_pieces
from pocketseek.types import ModelConfig

_NORMED_PEAK = 64.0  # its square is far from float16's end, and that of what is a thousandth of it from its beginning
_HIDDEN = -1e4  # added to scores that are not to be seen; float16 holds it


@dataclass(frozen=True)
class Shapes:
    """tokens: of a pass; total: with those before it. Names, or fixed numbers.

    Of fixed graphs `present` is the new tokens' alone: whoever runs them keeps the cache in place.
    """

    tokens: Dim = "tokens"
    total: Dim = "total"

    @property
    def is_fixed(self) -> bool:
        return isinstance(self.tokens, int)

    @property
    def past(self) -> Dim:
        if isinstance(self.tokens, int) and isinstance(self.total, int):
            return self.total - self.tokens
        return "past"


@dataclass(frozen=True)
class LayerGraph:
    """bits: of attention and MLP."""

    graph: QdqGraph
    config: ModelConfig
    rule: StaticRule
    index: int
    layer: StaticLayer
    shapes: Shapes

    @cached_property
    def bits(self) -> dict[str, Bits]:
        """Of each activation."""
        return {name: self.rule.bits_of(self.layer, group) for group in (ATTENTION, MLP) for name in group}

    def scale(self, name: str) -> Scale | None:
        bits = self.bits[name]
        if bits == 0:
            return None
        return self.graph.scale(f"layer.{self.index}.{name}", self.rule.range_of(self.layer, name, bits), bits)

    def share(self, like: str) -> Scale | None:
        """Of what lies between 0 and 1."""
        bits = self.bits[like]
        return self.graph.scale(f"share.{bits}", Range(0, 1), bits) if bits else None

    def linear(self, name: str, x: Value) -> str:
        bias = self.layer.vectors.get(f"{name}_bias")
        return self.graph.linear(f"layer.{self.index}.{name}", x, self.layer.matrices[name], bias)

    def norm(self, name: str, x: str, input_name: str) -> str:
        weight = self.graph.constant(f"layer.{self.index}.{name}", self.layer.vectors[name])
        return rms_norm(self.graph, x, weight, self.config.rms_norm_eps, self.layer.seen[input_name].peak)

    def attention(self, hidden: str, rope: tuple[str, str], bias: str) -> Value:
        """What goes into o."""
        graph, config = self.graph, self.config
        x = graph.quantised(self.norm("attn_norm", hidden, "hidden"), self.scale("attn_in"))
        queries = self.heads("q", x, config.num_heads, rope)
        keys = self.with_past("key", self.heads("k", x, config.num_kv_heads, rope), self.scale("k_rotated"))
        values = self.with_past("value", self.split("v", x, config.num_kv_heads), self.scale("v"))
        return self.mixed(queries, keys, values, bias)

    def mixed(self, queries: Value, keys: Value, values: Value, bias: str) -> Value:
        """The query heads of a kv head are rows of one matrix, so that keys and values are not copied for them."""
        graph, config = self.graph, self.config
        kv_heads, dim = config.num_kv_heads, config.head_dim
        rows = graph.moved("Reshape", queries, graph.ints(kv_heads, -1, dim))
        turned = graph.moved("Transpose", keys, perm=[0, 2, 1])
        scores = graph.quantised(graph.node("MatMul", rows.name, turned.name), self.scale("scores"))
        scores = graph.moved("Reshape", scores, graph.ints(config.num_heads, -1, 0))
        seen = graph.node("Softmax", graph.node("Add", scores.name, bias), axis=-1)
        shares = graph.moved("Reshape", graph.quantised(seen, self.share("scores")), graph.ints(kv_heads, -1, 0))
        mixed = graph.quantised(graph.node("MatMul", shares.name, values.name), self.scale("mixed"))
        mixed = graph.moved("Reshape", mixed, graph.ints(config.num_heads, -1, dim))
        mixed = graph.moved("Transpose", mixed, perm=[1, 0, 2])
        return graph.moved("Reshape", mixed, graph.ints(-1, config.num_heads * dim))

    def split(self, name: str, x: Value, num_heads: int) -> Value:
        """A projection as (heads, tokens, head dim)."""
        graph = self.graph
        y = graph.quantised(self.linear(name, x), self.scale(name))
        y = graph.moved("Reshape", y, graph.ints(-1, num_heads, self.config.head_dim))
        return graph.moved("Transpose", y, perm=[1, 0, 2])

    def heads(self, name: str, x: Value, num_heads: int, rope: tuple[str, str]) -> Value:
        y = self.split(name, x, num_heads).name
        if f"{name}_norm" in self.layer.vectors:
            y = self.norm(f"{name}_norm", y, name)
        turned = rotated(self.graph, y, self.config.head_dim // 2, rope)
        return self.graph.quantised(turned, self.scale(f"{name}_rotated"))

    def with_past(self, kind: str, new: Value, scale: Scale | None) -> Value:
        """Past and new together, (kv heads, total, head dim); declares the cache's input and output."""
        graph, shapes = self.graph, self.shapes
        heads, dim = self.config.num_kv_heads, self.config.head_dim
        past = graph.input(f"past_key_values.{self.index}.{kind}", TensorProto.FLOAT, (1, heads, shapes.past, dim))
        flat = graph.quantised(graph.node("Squeeze", past, graph.ints(0)), scale)
        both = graph.quantised(graph.node("Concat", flat.name, new.name, axis=1), scale)
        kept, length = (new, shapes.tokens) if shapes.is_fixed else (both, shapes.total)
        batch = graph.node("Unsqueeze", kept.name, graph.ints(0))
        graph.output(batch, f"present.{self.index}.{kind}", TensorProto.FLOAT, (1, heads, length, dim))
        return both

    def gated(self, hidden: str) -> Value:
        """What goes into down."""
        graph = self.graph
        x = graph.quantised(self.norm("mlp_norm", hidden, "middle"), self.scale("mlp_in"))
        gate = graph.quantised(self.linear("gate", x), self.scale("gate"))
        up = graph.quantised(self.linear("up", x), self.scale("up"))
        share = graph.quantised(graph.node("Sigmoid", gate.name), self.share("gate"))
        activated = graph.quantised(graph.node("Mul", gate.name, share.name), self.scale("activated"))
        return graph.quantised(graph.node("Mul", activated.name, up.name), self.scale("gated"))

    def added(self, hidden: str, name: str, x: Value) -> str:
        y = self.graph.quantised(self.linear(name, x), self.scale(name))
        return self.graph.node("Add", hidden, y.name)


@dataclass(frozen=True)
class LayersStage:
    """last: the number after that of the last layer. bits: of attention and MLP of each layer."""

    model: onnx.ModelProto
    first: int
    last: int
    bits: tuple[tuple[Bits, Bits], ...]


def layers_stage(
    config: ModelConfig, first: int, layers: Iterable[StaticLayer], rule: StaticRule, shapes: Shapes, opset: int
) -> LayersStage:
    """Consecutive layers, taken one at a time."""
    graph = QdqGraph(f"layers.{first}")
    flow = graph.input(f"hidden.{first}", TensorProto.FLOAT, (1, shapes.tokens, config.hidden_size))
    angles_shape = (shapes.tokens, config.head_dim // 2)
    cosine = graph.input("rope_cosine", TensorProto.FLOAT, angles_shape)
    sine = graph.input("rope_sine", TensorProto.FLOAT, angles_shape)
    bias = graph.input("attention_bias", TensorProto.FLOAT, (shapes.tokens, shapes.total))
    hidden = graph.node("Squeeze", flow, graph.ints(0))
    bits: list[tuple[Bits, Bits]] = []
    for layer in layers:
        one = LayerGraph(graph, config, rule, first + len(bits), layer, shapes)
        middle = one.added(hidden, "o", one.attention(hidden, (cosine, sine), bias))
        hidden = one.added(middle, "down", one.gated(middle))
        bits.append((one.bits["o"], one.bits["down"]))
        del one, layer  # its weights, before the next one's are read
    last = first + len(bits)
    result = graph.node("Unsqueeze", hidden, graph.ints(0))
    graph.output(result, f"hidden.{last}", TensorProto.FLOAT, (1, shapes.tokens, config.hidden_size))
    return LayersStage(graph.model(opset), first, last, tuple(bits))


def head_stage(
    weights: FloatWeights, head: StaticHead, rule: StaticRule, shapes: Shapes, opset: int
) -> onnx.ModelProto:
    """Logits of the chosen rows; those of a fixed graph are one. Of 16 bits, since it chooses between thousands."""
    graph, config = QdqGraph("head"), weights.model
    flow = graph.input(f"hidden.{config.num_layers}", TensorProto.FLOAT, (1, shapes.tokens, config.hidden_size))
    num_rows: Dim = 1 if shapes.is_fixed else "rows"
    rows = graph.input("logit_rows", TensorProto.INT64, (num_rows,))
    hidden = graph.node("Gather", graph.node("Squeeze", flow, graph.ints(0)), rows, axis=0)
    weight = graph.constant("head.norm", head.norm)
    normed = rms_norm(graph, hidden, weight, config.rms_norm_eps, head.seen["hidden"].peak)
    scales = {
        name: graph.scale(name, head.seen[name].range("minmax"), 16) if rule.bits else None
        for name in ("head_in", "logits")
    }
    x = graph.quantised(normed, scales["head_in"])
    pieces = []
    for first, matrix in table_pieces(weights, "head.weight"):
        matrix *= head.scales
        pieces.append(graph.linear(f"head.{first}", x, matrix, None))
    logits = pieces[0] if len(pieces) == 1 else graph.node("Concat", *pieces, axis=1)
    result = graph.node("Unsqueeze", graph.quantised(logits, scales["logits"]).name, graph.ints(0))
    graph.output(result, "logits", TensorProto.FLOAT, (1, num_rows, config.vocab_size))
    return graph.model(opset)


def embed_stage(weights: FloatWeights, shapes: Shapes, opset: int) -> onnx.ModelProto:
    """Rows of an int8 table with a scale each; the angles of every token, and what it may see."""
    graph, config = QdqGraph("embed"), weights.model
    ids = graph.input("input_ids", TensorProto.INT64, (1, shapes.tokens))
    mask = graph.input("attention_mask", TensorProto.INT64, (1, shapes.total))
    flat_ids, seen = graph.node("Squeeze", ids, graph.ints(0)), graph.node("Squeeze", mask, graph.ints(0))
    hidden = graph.node("Unsqueeze", _rows_of(graph, weights, flat_ids), graph.ints(0))
    graph.output(hidden, "hidden.0", TensorProto.FLOAT, (1, shapes.tokens, config.hidden_size))
    num_tokens, num_total = graph.node("Shape", flat_ids), graph.node("Shape", seen)
    places = graph.node("Sub", graph.node("CumSum", seen, graph.scalar(0)), graph.ints(1))
    start = graph.node("Sub", num_total, num_tokens)
    here = graph.node("Slice", places, start, num_total)
    _angles(graph, config, weights.inv_freq, here, shapes)
    total = graph.node("Squeeze", num_total, graph.ints(0))
    columns = graph.node("Range", graph.scalar(0), total, graph.scalar(1))
    own = graph.node("Unsqueeze", graph.node("Slice", columns, start, num_total), graph.ints(1))
    before = graph.node("LessOrEqual", graph.node("Unsqueeze", columns, graph.ints(0)), own)
    filled = graph.node("Cast", seen, to=TensorProto.BOOL)
    visible = graph.node("And", before, filled)
    bias = graph.node("Where", visible, graph.number(0.0), graph.number(_HIDDEN))
    graph.output(bias, "attention_bias", TensorProto.FLOAT, (shapes.tokens, shapes.total))
    return graph.model(opset)


def _angles(graph: QdqGraph, config: ModelConfig, inv_freq: Floats, places: str, shapes: Shapes) -> None:
    position = graph.node("Unsqueeze", graph.node("Cast", places, to=TensorProto.FLOAT), graph.ints(1))
    angles = graph.node("Mul", position, graph.constant("inv_freq", inv_freq.reshape(1, -1)))
    factor = graph.number(config.rope_scaling.attention_factor)
    for op, name in (("Cos", "rope_cosine"), ("Sin", "rope_sine")):
        values = graph.node("Mul", graph.node(op, angles), factor)
        graph.output(values, name, TensorProto.FLOAT, (shapes.tokens, config.head_dim // 2))


def _rows_of(graph: QdqGraph, weights: FloatWeights, ids: str) -> str:
    """A large table is cut by rows; every piece gives a row, and the one that has it is kept."""
    rows = ""
    for first, matrix in table_pieces(weights, table_name(weights)):
        codes, scales = int8_rows(matrix)
        local = graph.node("Sub", ids, graph.ints(first))
        local = graph.node("Clip", local, graph.scalar(0), graph.scalar(len(matrix) - 1))
        found = _dequantised_rows(graph, f"embed.{first}", codes, scales, local)
        if first:
            is_here = graph.node("Unsqueeze", graph.node("GreaterOrEqual", ids, graph.ints(first)), graph.ints(1))
            found = graph.node("Where", is_here, found, rows)
        rows = found
    return rows


def _dequantised_rows(graph: QdqGraph, name: str, codes: NDArray[np.int8], scales: Floats, ids: str) -> str:
    chosen = graph.node("Gather", graph.constant(name, codes), ids, axis=0)
    steps = graph.node("Gather", graph.constant(f"{name}.scale", scales.reshape(-1, 1)), ids, axis=0)
    return graph.node("Mul", graph.node("Cast", chosen, to=TensorProto.FLOAT), steps)


def rms_norm(graph: QdqGraph, x: str, weight: str, eps: float, peak: float) -> str:
    """peak: of x. NPUs compute this in float16, where squares end at 65504, and x may be thousands; so x is scaled by a
    power of two first, which changes no bit in float32, and eps with it.
    """
    step = 2.0 ** np.floor(np.log2(_NORMED_PEAK / peak)) if peak > 0 else 1.0
    scaled = x if step == 1 else graph.node("Mul", x, graph.number(float(step)))
    mean = graph.node("ReduceMean", graph.node("Mul", scaled, scaled), graph.ints(-1), keepdims=1)
    size = graph.node("Sqrt", graph.node("Add", mean, graph.number(float(eps * step * step))))
    return graph.node("Mul", graph.node("Div", scaled, size), weight)


def rotated(graph: QdqGraph, x: str, half: int, rope: tuple[str, str]) -> str:
    """x: (heads, tokens, head dim); the halves of a head are the partners."""
    cosine, sine = rope
    a, b = graph.nodes("Split", [x, graph.ints(half, half)], 2, axis=-1)
    first = graph.node("Sub", graph.node("Mul", a, cosine), graph.node("Mul", b, sine))
    second = graph.node("Add", graph.node("Mul", b, cosine), graph.node("Mul", a, sine))
    return graph.node("Concat", first, second, axis=-1)
