"""Qwen2 and Qwen2.5, so DeepSeek-R1-Distill-Qwen: biases on q, k and v, tied head in the small ones."""

from __future__ import annotations

from pocketseek.convert.families.base import ModelPlan
from pocketseek.convert.families.decoder import DecoderTraits, plan_decoder
from pocketseek.convert.sources.base import Source

TRAITS = DecoderTraits("qwen2", qkv_bias="always", qk_norm=False)


def plan(source: Source) -> ModelPlan:
    return plan_decoder(source, TRAITS)
