"""Planning of DeepSeek-V2 and V3, from either kind of checkpoint. In GGUF the two are one architecture, whose settings
say which model it is."""

from __future__ import annotations

from pocketseek.convert.families.base import ModelPlan
from pocketseek.convert.families.decoder import missing_tensors
from pocketseek.convert.families.deepseek_gguf import read_deepseek_gguf
from pocketseek.convert.families.deepseek_hf import DeepseekTraits, read_deepseek_hf
from pocketseek.convert.families.fields import Fields
from pocketseek.convert.families.gguf_config import gguf_fields
from pocketseek.convert.families.names import source_name
from pocketseek.convert.families.sparse_plan import SparseSettings, plan_sparse
from pocketseek.convert.sources.base import Source

GGUF_ARCHITECTURE = "deepseek2"


def plan_deepseek(source: Source, traits: DeepseekTraits) -> ModelPlan:
    """What a family's `plan` does, see `base`."""
    return plan_sparse(source, _read_settings(source, traits))


def _read_settings(source: Source, traits: DeepseekTraits) -> SparseSettings:
    if source.kind == "safetensors":
        return read_deepseek_hf(Fields(f"{source.path}: config.json", source.metadata), traits)
    embedding = source.tensors.get(source_name("embed.weight", "gguf"))
    if embedding is None:
        raise missing_tensors(source, [source_name("embed.weight", "gguf")])
    return read_deepseek_gguf(
        gguf_fields(str(source.path), source.metadata, GGUF_ARCHITECTURE),
        vocab_size=embedding.num_rows,
        has_score_bias=any(name.endswith("exp_probs_b.bias") for name in source.tensors),
    )
