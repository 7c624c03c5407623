"""DeepSeek-V3, R1 and what is built like them: latent attention, experts chosen by sigmoid scores and a learned bias.

FP8 weights with scales for squares of 128 x 128 are read as published. The layers behind the last one, for predicting a
second token, are left out.
"""

from __future__ import annotations

from pocketseek.convert.families.base import ModelPlan
from pocketseek.convert.families.deepseek import plan_deepseek
from pocketseek.convert.families.deepseek_hf import V3
from pocketseek.convert.sources.base import Source


def plan(source: Source) -> ModelPlan:
    return plan_deepseek(source, V3)
