"""Qwen3 (dense), so DeepSeek-R1-0528-Qwen3-8B: a norm over each head of q and k, a head size of its own, no biases."""

from __future__ import annotations

from pocketseek.convert.families.base import ModelPlan
from pocketseek.convert.families.decoder import DecoderTraits, plan_decoder
from pocketseek.convert.sources.base import Source

TRAITS = DecoderTraits("qwen3", qkv_bias="never", qk_norm=True)


def plan(source: Source) -> ModelPlan:
    return plan_decoder(source, TRAITS)
