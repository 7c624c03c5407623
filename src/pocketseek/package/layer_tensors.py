"""Which tensors a layer has, with their shapes, in the order in which they are used and written.

    attention   attn_norm, then q k v, or with latents (q | q_a q_a_norm q_b) kv_a kv_a_norm k_b v_b; then o
    MLP         mlp_norm, then gate up down, or with experts router (router_bias) (shared_gate shared_up shared_down)
    expert      gate up down, of each expert, in the stage experts.<layer>

Of latent attention, k_b holds for each head the `rank` rows that take the head's query into the latents' space, v_b the
value_dim rows that take what was mixed there back to the head. So a head's rows are whole tile rows, and what is
multiplied is always (outputs, inputs) with the inputs along a row.
"""

from __future__ import annotations

from typing import TypeAlias

from pocketseek.shapes import MlaShape, MoeShape
from pocketseek.types import ModelConfig

Shape: TypeAlias = tuple[int, ...]

EXPERT_MATRICES = ("gate", "up", "down")


def layer_tensors(model: ModelConfig, layer: int) -> dict[str, Shape]:
    """Of what every token needs, by the last part of their names."""
    if not model.is_sparse:
        return _dense_layer(model)
    attention = _plain_attention(model) if model.mla is None else _latent_attention(model, model.mla)
    table: dict[str, Shape] = {"attn_norm": (model.hidden_size,), **attention, "mlp_norm": (model.hidden_size,)}
    if model.moe is None or not model.has_experts(layer):
        return table | _mlp(model.hidden_size, model.intermediate_size)
    return table | _router(model.hidden_size, model.moe)


def expert_tensors(model: ModelConfig) -> dict[str, Shape]:
    """Of one expert."""
    return _mlp(model.hidden_size, model.moe.expert_size) if model.moe is not None else {}


def _dense_layer(model: ModelConfig) -> dict[str, Shape]:
    table: dict[str, Shape] = {"attn_norm": (model.hidden_size,), "mlp_norm": (model.hidden_size,)}
    attention = _plain_attention(model)
    matrices = {name: attention.pop(name) for name in ("q", "k", "v", "o")}
    return table | matrices | _mlp(model.hidden_size, model.intermediate_size) | attention


def _plain_attention(model: ModelConfig) -> dict[str, Shape]:
    hidden, queries, keys = model.hidden_size, model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
    table: dict[str, Shape] = {"q": (queries, hidden), "k": (keys, hidden), "v": (keys, hidden)}
    if model.qkv_bias:
        table |= {"q_bias": (queries,), "k_bias": (keys,), "v_bias": (keys,)}
    if model.qk_norm:
        table |= {"q_norm": (model.head_dim,), "k_norm": (model.head_dim,)}
    return table | {"o": (hidden, queries)}


def _latent_attention(model: ModelConfig, mla: MlaShape) -> dict[str, Shape]:
    hidden, heads = model.hidden_size, model.num_heads
    queries = heads * model.head_dim
    table: dict[str, Shape] = {"q": (queries, hidden)}
    if mla.q_rank:
        table = {"q_a": (mla.q_rank, hidden), "q_a_norm": (mla.q_rank,), "q_b": (queries, mla.q_rank)}
    table |= {"kv_a": (mla.latent_dim, hidden), "kv_a_norm": (mla.rank,)}
    table |= {"k_b": (heads * mla.rank, mla.nope_dim), "v_b": (heads * mla.value_dim, mla.rank)}
    return table | {"o": (hidden, heads * mla.value_dim)}


def _router(hidden: int, moe: MoeShape) -> dict[str, Shape]:
    table: dict[str, Shape] = {"router": (moe.num_experts, hidden)}
    if moe.score_bias:
        table["router_bias"] = (moe.num_experts,)
    if moe.shared_size:
        table |= {f"shared_{name}": shape for name, shape in _mlp(hidden, moe.shared_size).items()}
    return table


def _mlp(hidden: int, inner: int) -> dict[str, Shape]:
    return {"gate": (inner, hidden), "up": (inner, hidden), "down": (hidden, inner)}
