from __future__ import annotations

import pytest
from tiny_models import gguf_tensor_name, tiny_model

from pocketseek.convert.families.names import LAYER_PARTS, canonical_name, source_name, unused_bias_names
from pocketseek.convert.sources.base import SourceKind

CANONICAL = ["embed.weight", "head.norm", "head.weight", *(f"layer.12.{part}" for part in LAYER_PARTS)]


@pytest.mark.parametrize("kind", ["safetensors", "gguf"])
@pytest.mark.parametrize("name", CANONICAL)
def test_names_go_both_ways(name: str, kind: SourceKind) -> None:
    assert canonical_name(source_name(name, kind), kind) == name


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_every_weight_of_a_model_has_the_same_name_from_both_kinds(family: str) -> None:
    for name in tiny_model(family).weights:
        canonical = canonical_name(name, "safetensors")
        assert canonical is not None
        assert canonical_name(gguf_tensor_name(name), "gguf") == canonical


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.o_proj.bias",
        "model.layers..self_attn.q_proj.weight",
        "model.layers.x.self_attn.q_proj.weight",
        "model.layers.².self_attn.q_proj.weight",
        "layers.0.self_attn.q_proj.weight",
        "model.layers.0.block_sparse_moe.gate.weight",
        "",
    ],
)
def test_other_names_have_no_canonical_one(name: str) -> None:
    assert canonical_name(name, "safetensors") is None


def test_unused_biases_are_not_canonical() -> None:
    for kind in ("safetensors", "gguf"):
        assert {canonical_name(name, kind) for name in unused_bias_names(2, kind)} == {None}


@pytest.mark.parametrize("name", ["rope.inv_freq", "layer.0.unknown", "block.0.q"])
def test_a_name_that_no_checkpoint_has_is_the_callers_mistake(name: str) -> None:
    with pytest.raises((KeyError, ValueError)):
        source_name(name, "gguf")
