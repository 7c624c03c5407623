"""A model with weights in blocks as one graph or as a row of them, for ONNX Runtime.

    whole    input_ids, attention_mask, logit_rows, past_key_values.N.* -> logits, present.N.*
    embed    input_ids, attention_mask -> hidden.0, rope_cosine, rope_sine, places, last_position, num_positions
    layers   hidden.I, the other five, past_key_values.N.* -> hidden.J, present.N.*
    head     hidden.L, logit_rows -> logits

Batch 1. logit_rows: indices of the tokens whose logits are wanted. Names, and the meaning of keys and values, are those
of onnxruntime-genai's models: past and present are (1, kv heads, tokens, head dim), keys rotated, and where both are
one buffer GroupQueryAttention writes in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from pocketseek.convert.layer_math import Floats
from pocketseek.convert.onnx.block_graph import MICROSOFT, BlockGraph
from pocketseek.convert.onnx.stored_blocks import Quant, Rows, joined, pieces_of
from pocketseek.errors import UnsupportedError
from pocketseek.package.reader import Package
from pocketseek.types import ModelConfig

_PIECE_BYTES = 96_000_000  # of one constant: files are at most 100 MB
_HEADS = ("q", "k", "v")
_HEAD_DIM_STEP, _OWN_ROTATION_STEP = 8, 16  # sizes of heads that GroupQueryAttention takes, and rotates by itself
_FLOAT, _INT64, _INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32


@dataclass(frozen=True)
class _Flow:
    """Hidden states on their way: what the layers add up to is residual + added, added last."""

    residual: str
    added: str | None = None


@dataclass(frozen=True)
class _Places:
    """cosine, sine: of all positions; tokens: the row of them for each token, None if GroupQueryAttention is to know.
    last_position, num_positions: int32, of the sequence after this pass."""

    cosine: str
    sine: str
    last_position: str
    num_positions: str
    tokens: str | None = None


class DecoderGraphs:
    """context: how many positions the whole graph has angles for. Raises UnsupportedError for odd sizes of heads."""

    def __init__(self, package: Package, quant: Quant, *, context: int) -> None:
        self.config: ModelConfig = package.manifest.model
        if self.config.head_dim % _HEAD_DIM_STEP:
            raise UnsupportedError(
                f"heads of {self.config.head_dim} values are not for ONNX Runtime's GroupQueryAttention, which takes "
                f"multiples of {_HEAD_DIM_STEP}; run this model with pocketseek itself"
            )
        self._package = package
        self._quant = quant
        self._context = context

    def whole(self, graph: BlockGraph, layers: Iterable[int]) -> None:
        """layers: all, in order; an iterator may tell of the progress."""
        ids, mask = self._text_inputs(graph)
        rows = graph.input("logit_rows", _INT64, ("rows",))
        flow = _Flow(self._embedded(graph, ids, has_head=True))
        last, total = _lengths(graph, mask)
        tokens = None
        if self.config.head_dim % _OWN_ROTATION_STEP:
            tokens = graph.node("Unsqueeze", _new_positions(graph, ids, total), graph.ints(0))
        places = _Places(*self._angles(graph, np.arange(self._context)), last, total, tokens)
        for layer in layers:
            flow = self._layer(graph, layer, flow, places)
        self._logits(graph, self._joined(graph, flow), rows)

    def embed(self, graph: BlockGraph) -> None:
        config = self.config
        ids, mask = self._text_inputs(graph)
        graph.output(self._embedded(graph, ids, has_head=False), "hidden.0", _FLOAT, (1, "tokens", config.hidden_size))
        last, total = _lengths(graph, mask)
        here = graph.node("Cast", _new_positions(graph, ids, total), to=_FLOAT)
        positions = graph.node("Unsqueeze", here, graph.ints(1))
        inv_freq = graph.constant("inv_freq", self._vector("rope.inv_freq").reshape(1, -1))
        angles = graph.node("Mul", positions, inv_freq)
        factor = graph.number(config.rope_scaling.attention_factor)
        for op, name in (("Cos", "rope_cosine"), ("Sin", "rope_sine")):
            value = graph.node("Mul", graph.node(op, angles), factor)
            graph.output(value, name, _FLOAT, ("tokens", config.head_dim // 2))
        numbers = graph.node("Range", graph.scalar(0), _num_tokens(graph, ids), graph.scalar(1))
        graph.output(graph.node("Unsqueeze", numbers, graph.ints(0)), "places", _INT64, (1, "tokens"))
        graph.output(last, "last_position", _INT32, (1,))
        graph.output(total, "num_positions", _INT32, ())

    def layers(self, graph: BlockGraph, first: int, layers: Iterable[int]) -> int:
        """Returns the number after the last layer's."""
        config = self.config
        hidden = graph.input(f"hidden.{first}", _FLOAT, (1, "tokens", config.hidden_size))
        half = config.head_dim // 2
        places = _Places(
            cosine=graph.input("rope_cosine", _FLOAT, ("tokens", half)),
            sine=graph.input("rope_sine", _FLOAT, ("tokens", half)),
            last_position=graph.input("last_position", _INT32, (1,)),
            num_positions=graph.input("num_positions", _INT32, ()),
            tokens=graph.input("places", _INT64, (1, "tokens")),
        )
        flow, last = _Flow(hidden), first
        for layer in layers:
            flow, last = self._layer(graph, layer, flow, places), layer + 1
        graph.output(self._joined(graph, flow), f"hidden.{last}", _FLOAT, (1, "tokens", config.hidden_size))
        return last

    def head(self, graph: BlockGraph) -> None:
        config = self.config
        hidden = graph.input(f"hidden.{config.num_layers}", _FLOAT, (1, "tokens", config.hidden_size))
        self._logits(graph, hidden, graph.input("logit_rows", _INT64, ("rows",)))

    # --- parts ---

    def _text_inputs(self, graph: BlockGraph) -> tuple[str, str]:
        ids = graph.input("input_ids", _INT64, (1, "tokens"))
        return ids, graph.input("attention_mask", _INT64, (1, "total"))

    def _embedded(self, graph: BlockGraph, ids: str, *, has_head: bool) -> str:
        """has_head: the head is in the same graph, and tied to the embedding it is one constant with it."""
        is_tied = not self._package.has_tensor("embed.weight")
        name = "head.weight" if is_tied else "embed.weight"
        is_shared = is_tied and has_head
        flat = graph.node("Squeeze", ids, graph.ints(0))
        pieces = self._pieces(name, by_input=is_shared)
        rows = graph.rows_of(name, flat, pieces, self.config.hidden_size, is_multiplied=is_shared)
        return graph.node("Unsqueeze", rows, graph.ints(0))

    def _angles(self, graph: BlockGraph, positions: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[str, str]:
        angles = positions.astype(np.float32)[:, None] * self._vector("rope.inv_freq")[None, :]
        factor = np.float32(self.config.rope_scaling.attention_factor)
        cosine, sine = (factor * op(angles).astype(np.float32) for op in (np.cos, np.sin))
        return graph.constant("rope_cosine", cosine), graph.constant("rope_sine", sine)

    def _layer(self, graph: BlockGraph, index: int, flow: _Flow, places: _Places) -> _Flow:
        prefix = f"layer.{index}."
        residual, x = self._normed(graph, flow, prefix + "attn_norm")
        mixed = self._attention(graph, index, x, places)
        o = self._linear(graph, prefix + "o", mixed)
        residual, x = self._normed(graph, _Flow(residual, o), prefix + "mlp_norm")
        gate, up = self._linears(graph, prefix, ("gate", "up"), x)
        activated = graph.node("QuickGelu", gate, domain=MICROSOFT, alpha=1.0)  # x * sigmoid(x), which is SiLU
        return _Flow(residual, self._linear(graph, prefix + "down", graph.node("Mul", activated, up)))

    def _attention(self, graph: BlockGraph, index: int, x: str, places: _Places) -> str:
        config, prefix = self.config, f"layer.{index}."
        heads = self._heads(graph, prefix, x, places)
        angles = () if places.tokens is not None else (places.cosine, places.sine)
        shape = (1, config.num_kv_heads, "past", config.head_dim)
        past = [graph.input(f"past_key_values.{index}.{kind}", _FLOAT, shape) for kind in ("key", "value")]
        present = [f"present.{index}.{kind}" for kind in ("key", "value")]
        mixed = f"{prefix}mixed"
        graph.named_node(
            "GroupQueryAttention",
            [*heads, *past, places.last_position, places.num_positions, *angles],
            [mixed, *present],
            domain=MICROSOFT,
            num_heads=config.num_heads,
            kv_num_heads=config.num_kv_heads,
            scale=float(config.head_dim**-0.5),
            do_rotary=int(bool(angles)),
            rotary_interleaved=0,
        )
        for name in present:
            graph.output(name, name, _FLOAT, (1, config.num_kv_heads, "present", config.head_dim))
        return mixed

    def _heads(self, graph: BlockGraph, prefix: str, x: str, places: _Places) -> tuple[str, str, str]:
        """q, k and v; or all of them in one, if attention can take them as they come."""
        config = self.config
        is_plain = places.tokens is None and not self._package.has_tensor(prefix + "q_norm")
        if is_plain and (together := self._joined_linear(graph, prefix, _HEADS, x)) is not None:
            return together, "", ""
        q, k, v = self._linears(graph, prefix, _HEADS, x)
        q = self._head_norm(graph, prefix + "q_norm", q, config.num_heads)
        k = self._head_norm(graph, prefix + "k_norm", k, config.num_kv_heads)
        return (
            self._rotated(graph, q, config.num_heads, places),
            self._rotated(graph, k, config.num_kv_heads, places),
            v,
        )

    def _rotated(self, graph: BlockGraph, y: str, num_heads: int, places: _Places) -> str:
        if places.tokens is None:
            return y
        inputs = (y, places.tokens, places.cosine, places.sine)
        return graph.node("RotaryEmbedding", *inputs, domain=MICROSOFT, num_heads=num_heads, interleaved=0)

    def _head_norm(self, graph: BlockGraph, name: str, y: str, num_heads: int) -> str:
        """Over each head by itself."""
        if not self._package.has_tensor(name):
            return y
        heads = graph.node("Reshape", y, graph.ints(1, -1, num_heads, self.config.head_dim))
        weight = graph.constant(name, self._vector(name))
        normed = graph.rms_norm(heads, weight, self.config.rms_norm_eps)
        return graph.node("Reshape", normed, graph.ints(1, -1, num_heads * self.config.head_dim))

    def _normed(self, graph: BlockGraph, flow: _Flow, name: str) -> tuple[str, str]:
        """(what goes on beside it, the norm of all that was added up)."""
        weight, eps = graph.constant(name, self._vector(name)), self.config.rms_norm_eps
        if flow.added is None:
            return flow.residual, graph.rms_norm(flow.residual, weight, eps)
        normed, total = f"{name}.normed", f"{name}.sum"
        inputs, outputs = [flow.residual, flow.added, weight], [normed, "", "", total]
        graph.named_node("SkipSimplifiedLayerNormalization", inputs, outputs, domain=MICROSOFT, epsilon=eps)
        return total, normed

    def _joined(self, graph: BlockGraph, flow: _Flow) -> str:
        return flow.residual if flow.added is None else graph.node("Add", flow.residual, flow.added)

    def _logits(self, graph: BlockGraph, hidden: str, rows: str) -> None:
        chosen = graph.node("Gather", hidden, rows, axis=1)
        weight = graph.constant("head.norm", self._vector("head.norm"))
        x = graph.rms_norm(chosen, weight, self.config.rms_norm_eps)
        logits = self._linear(graph, "head.weight", x)
        graph.output(logits, "logits", _FLOAT, (1, "rows", self.config.vocab_size))

    def _linears(self, graph: BlockGraph, prefix: str, names: Sequence[str], x: str) -> list[str]:
        """One product for all of them, if that can be: x is rounded once, and threads meet once."""
        together = self._joined_linear(graph, prefix, names, x)
        if together is None:
            return [self._linear(graph, prefix + name, x) for name in names]
        return graph.split(together, [self._package.tensor(prefix + name).shape[0] for name in names])

    def _joined_linear(self, graph: BlockGraph, prefix: str, names: Sequence[str], x: str) -> str | None:
        tensors = [self._package.tensor(prefix + name) for name in names]
        rows = joined(tensors, self._quant, _PIECE_BYTES, by_input=True)
        if rows is None:
            return None
        biases = [self._bias(tensor.name, tensor.shape[0]) for tensor in tensors]
        bias = np.concatenate(biases) if any(map(np.any, biases)) else None
        return graph.linear(prefix + "_".join(names), x, [(0, rows)], tensors[0].shape[1], bias)

    def _bias(self, name: str, size: int) -> Floats:
        name = f"{name}_bias"
        return self._vector(name) if self._package.has_tensor(name) else np.zeros(size, np.float32)

    def _linear(self, graph: BlockGraph, name: str, x: str) -> str:
        bias = f"{name}_bias"
        values = self._vector(bias) if self._package.has_tensor(bias) else None
        return graph.linear(name, x, self._pieces(name, by_input=True), self._package.tensor(name).shape[1], values)

    def _pieces(self, name: str, *, by_input: bool) -> Iterable[tuple[int, Rows]]:
        return pieces_of(self._package.tensor(name), self._quant, _PIECE_BYTES, by_input=by_input)

    def _vector(self, name: str) -> Floats:
        return self._package.tensor(name).parts[0].data.view(np.float32)


def _lengths(graph: BlockGraph, mask: str) -> tuple[str, str]:
    """(index of the last position, number of positions), int32."""
    total = graph.node("Squeeze", graph.node("ReduceSum", mask, graph.ints(1), keepdims=1), graph.ints(1))
    last = graph.node("Cast", graph.node("Sub", total, graph.ints(1)), to=_INT32)
    return last, graph.node("Cast", graph.node("Squeeze", total, graph.ints(0)), to=_INT32)


def _new_positions(graph: BlockGraph, ids: str, num_positions: str) -> str:
    """Those of the tokens of this pass."""
    total = graph.node("Cast", num_positions, to=_INT64)
    return graph.node("Range", graph.node("Sub", total, _num_tokens(graph, ids)), total, graph.scalar(1))


def _num_tokens(graph: BlockGraph, ids: str) -> str:
    return graph.node("Gather", graph.node("Shape", ids), graph.scalar(1), axis=0)
