"""Llama and what shares its shape: DeepSeek-R1-Distill-Llama, deepseek-llm, deepseek-coder, SmolLM2.

Rope none, linear or llama3 (in GGUF a tensor of divisors), optional q/k/v biases, tied or untied head. Its GGUF files
hold the rows of q and k in rotary pairs; planning marks those tensors and the pipeline undoes it.
"""

from __future__ import annotations

from pocketseek.convert.families.base import ModelPlan
from pocketseek.convert.families.decoder import DecoderTraits, plan_decoder
from pocketseek.convert.sources.base import Source

TRAITS = DecoderTraits("llama", qkv_bias="optional", qk_norm=False, gguf_interleaves_heads=True)


def plan(source: Source) -> ModelPlan:
    return plan_decoder(source, TRAITS)
