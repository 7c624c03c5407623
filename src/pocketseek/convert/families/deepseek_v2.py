"""DeepSeek-V2, V2-Lite, -Chat and Coder-V2: latent attention (MLA), experts chosen by softmax, shared experts.

Greedy choice (V2-Lite) or among the best groups (V2). GGUF files of V2 and V3 share an architecture, `deepseek2`.
"""

from __future__ import annotations

from pocketseek.convert.families.base import ModelPlan
from pocketseek.convert.families.deepseek import plan_deepseek
from pocketseek.convert.families.deepseek_hf import V2
from pocketseek.convert.sources.base import Source


def plan(source: Source) -> ModelPlan:
    return plan_deepseek(source, V2)
