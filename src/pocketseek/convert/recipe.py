"""Which format each tensor of a package gets. The decision is written into the manifest, never guessed back.

    quant   matrices                                             embedding and head
    q4      q4p (q4s if stored as Q4_0, which it holds exactly)  q6s (q4s if stored as Q4_0)
    q4-pure the same                                             the same as matrices
    q8      q8s                                                  q8s
    keep    the narrowest format that holds the stored type      the same
            (table below)

The head gets more bits under q4 because its errors go straight into the logits, and a tied one is the embedding too.
Of models with experts or latent attention the router is f32 always (who is chosen must not depend on rounding), and
k_b and v_b get q8s under q4: they are small, and what k_b makes goes straight into the scores. k_b is a transposed
half of what most checkpoints store; if that is quantised, k_b is rounded anew and gets q8s under keep, too.
q4-pure is for the smallest package and the fastest pass: what other engines call 4 bits throughout.
Vectors (norms, biases) are f32 always. Default: keep for GGUF, which was quantised by someone already, q4 for
safetensors. Under keep, a BF16 matrix with a value beyond float16 becomes f32 (`slabs` looks before it writes).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pocketseek.convert.sources.base import SourceKind
from pocketseek.convert.sources.ggml_types import QUANTISED_TYPES
from pocketseek.errors import UsageError

Quant = Literal["q4", "q4-pure", "q8", "keep"]
QUANTS: tuple[Quant, ...] = ("q4", "q4-pure", "q8", "keep")

KEEP_FORMATS: Mapping[str, str] = {
    "F32": "f32",
    "F16": "f16",
    "BF16": "f16",
    "F8_E4M3": "f16",
    "Q4_0": "q4s",
    "Q4_1": "q4a",
    "Q4_K": "q4a",
    "Q2_K": "q4a",
    "Q3_K": "q4a",
    "Q5_0": "q6s",
    "Q5_1": "q8s",
    "Q5_K": "q8s",
    "Q6_K": "q8s",
    "Q8_0": "q8s",
}
_LATENT_MATRICES = frozenset({"k_b", "v_b"})
_VOCABULARY = frozenset({"embed.weight", "head.weight"})


def resolve_quant(quant: str | None, kind: SourceKind) -> Quant:
    """The quant asked for, or the default of this kind of checkpoint. Raises UsageError for an unknown one."""
    if quant is None:
        return "keep" if kind == "gguf" else "q4"
    for known in QUANTS:
        if quant == known:
            return known
    raise UsageError(f"--quant {quant!r} is unknown; use one of {', '.join(QUANTS)}")


def choose_format(quant: Quant, name: str, stored_type: str) -> str:
    """Format of the matrix with this canonical name."""
    part = name.rpartition(".")[2]
    if part == "router":
        return "f32"
    if quant == "keep":
        return "q8s" if part == "k_b" and stored_type in QUANTISED_TYPES else KEEP_FORMATS[stored_type]
    if part in _LATENT_MATRICES:
        return "q8s"
    if quant == "q8":
        return "q8s"
    if stored_type == "Q4_0":
        return "q4s"
    return "q6s" if quant == "q4" and name in _VOCABULARY else "q4p"
