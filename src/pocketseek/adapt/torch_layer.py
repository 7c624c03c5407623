"""A decoder layer in torch, float32: the formulas of convert/layer_math.py, for batches of texts that begin at 0.

Hidden states are (texts, length, hidden). Texts shorter than the batch are padded at their end, which a causal model
does not see; so there is no mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

from pocketseek.types import ModelConfig

Multiply = Callable[[str, torch.Tensor], torch.Tensor]
"""By a matrix of the layer, by its short name, bias added."""


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines of rotary positions: (length, head_dim / 2)."""

    cosine: torch.Tensor
    sine: torch.Tensor

    @classmethod
    def of(cls, model: ModelConfig, inv_freq: torch.Tensor, length: int) -> Rotation:
        positions = torch.arange(length, dtype=torch.float32, device=inv_freq.device)
        angles = positions[:, None] * inv_freq[None, :]
        factor = model.rope_scaling.attention_factor
        return cls(torch.cos(angles) * factor, torch.sin(angles) * factor)


def run_layer(
    model: ModelConfig,
    vectors: Mapping[str, torch.Tensor],
    multiply: Multiply,
    rotation: Rotation,
    hidden: torch.Tensor,
) -> torch.Tensor:
    """vectors: the layer's norms, by their short names."""
    x = rms_norm(hidden, vectors["attn_norm"], model.rms_norm_eps)
    hidden = hidden + multiply("o", _attend(model, vectors, multiply, rotation, x))
    x = rms_norm(hidden, vectors["mlp_norm"], model.rms_norm_eps)
    return hidden + multiply("down", functional.silu(multiply("gate", x)) * multiply("up", x))


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def _attend(
    model: ModelConfig,
    vectors: Mapping[str, torch.Tensor],
    multiply: Multiply,
    rotation: Rotation,
    x: torch.Tensor,
) -> torch.Tensor:
    queries = _heads(model, multiply("q", x), model.num_heads, vectors.get("q_norm"))
    keys = _heads(model, multiply("k", x), model.num_kv_heads, vectors.get("k_norm"))
    values = _heads(model, multiply("v", x), model.num_kv_heads, None)
    queries, keys = _rotate(queries, rotation), _rotate(keys, rotation)
    shared = model.queries_per_kv_head
    mixed = functional.scaled_dot_product_attention(
        queries, keys.repeat_interleave(shared, dim=1), values.repeat_interleave(shared, dim=1), is_causal=True
    )
    return mixed.transpose(1, 2).reshape(*x.shape[:-1], -1)


def _heads(model: ModelConfig, x: torch.Tensor, num_heads: int, norm: torch.Tensor | None) -> torch.Tensor:
    """(texts, heads, length, head_dim), normed if the model does that."""
    heads = x.reshape(*x.shape[:-1], num_heads, model.head_dim)
    if norm is not None:
        heads = rms_norm(heads, norm, model.rms_norm_eps)
    return heads.transpose(1, 2)


def _rotate(heads: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """Dimension i turns together with i + head_dim / 2."""
    low, high = heads.chunk(2, dim=-1)
    cosine, sine = rotation.cosine, rotation.sine
    return torch.cat([low * cosine - high * sine, high * cosine + low * sine], dim=-1)
