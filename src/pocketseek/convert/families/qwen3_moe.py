"""Qwen3 with experts (Qwen3-30B-A3B): attention as in qwen3, experts chosen by softmax, no shared ones."""

from __future__ import annotations

from dataclasses import replace

from pocketseek.convert.families.base import ModelPlan
from pocketseek.convert.families.decoder import missing_tensors
from pocketseek.convert.families.fields import Fields
from pocketseek.convert.families.gguf_config import gguf_fields, read_gguf_config
from pocketseek.convert.families.hf_config import DecoderSettings, read_hf_config
from pocketseek.convert.families.names import source_name
from pocketseek.convert.families.sparse_plan import SparseSettings, plan_sparse
from pocketseek.convert.sources.base import Source
from pocketseek.errors import UnsupportedError
from pocketseek.package.model_fields import MAX_LAYERS
from pocketseek.shapes import MoeShape

GGUF_ARCHITECTURE = "qwen3moe"
_FAMILY = "qwen3_moe"
_OTHER_NAME = "num_local_experts"  # of num_experts, where transformers 5 saved the checkpoint


def plan(source: Source) -> ModelPlan:
    settings, moe = _read_hf(source) if source.kind == "safetensors" else _read_gguf(source)
    model = replace(settings.model, moe=moe)
    return plan_sparse(source, SparseSettings(model, settings.inv_freq, says_tied=settings.says_tied))


def _read_hf(source: Source) -> tuple[DecoderSettings, MoeShape | None]:
    config = Fields(f"{source.path}: config.json", source.metadata)
    if config.flag("attention_bias", False):
        raise UnsupportedError(f"{config.where}: attention_bias is not supported; use a model without it")
    settings = read_hf_config(config, _FAMILY, qk_norm=True, allow_fp8=True)
    named = "num_experts" if config.has("num_experts") or not config.has(_OTHER_NAME) else _OTHER_NAME
    num_layers, num_experts = settings.model.num_layers, config.whole(named, low=0)
    if not num_experts:
        return settings, None
    return settings, MoeShape(
        num_experts=num_experts,
        experts_per_token=config.whole("num_experts_per_tok"),
        expert_size=config.whole("moe_intermediate_size"),
        dense_layers=_dense_layers(config, num_layers),
        normalised=config.flag("norm_topk_prob", False),
    )


def _dense_layers(config: Fields, num_layers: int) -> tuple[int, ...]:
    step, named = config.whole("decoder_sparse_step", 1), config.raw("mlp_only_layers") or []
    if not isinstance(named, list):
        raise UnsupportedError(f"{config.where}: mlp_only_layers is no list; get an undamaged checkpoint")
    return tuple(layer for layer in range(min(num_layers, MAX_LAYERS)) if layer in named or (layer + 1) % step)


def _read_gguf(source: Source) -> tuple[DecoderSettings, MoeShape | None]:
    keys = gguf_fields(str(source.path), source.metadata, GGUF_ARCHITECTURE)
    embedding = source.tensors.get(source_name("embed.weight", "gguf"))
    if embedding is None:
        raise missing_tensors(source, [source_name("embed.weight", "gguf")])
    settings = read_gguf_config(
        keys, _FAMILY, qk_norm=True, vocab_size=embedding.num_rows, divisors=None, allow_experts=True
    )
    return settings, MoeShape(
        num_experts=keys.whole("expert_count"),
        experts_per_token=keys.whole("expert_used_count"),
        expert_size=keys.whole("expert_feed_forward_length"),
        normalised=True,  # the architecture has no key for it
    )
