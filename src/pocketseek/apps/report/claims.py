"""What another system claims for itself: pocketseek is compared with it, and has measured none of it.

The claims come without a method: the model, the prompt, the storage's state and the ambient temperature are unknown.
They are never mixed with measured figures, and a report that has no figure shows the claim alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claims:
    """short_answer_s: 16 tokens in, 8 out, batch 1. saved_share: of the bytes of the weights. added_w: above idle."""

    device: str
    load_s: float
    short_answer_s: float
    saved_share: float
    cpu_c: float
    gpu_c: float
    added_w: float


REFERENCE = Claims(
    device="Xiaomi 14", load_s=47, short_answer_s=0.320, saved_share=0.60, cpu_c=42, gpu_c=48, added_w=2.3
)
