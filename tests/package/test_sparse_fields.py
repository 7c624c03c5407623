from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from package.samples import SPARSE, TINY, write_sample

from pocketseek.errors import FormatError
from pocketseek.package.manifest import parse_manifest, read_manifest_bytes
from pocketseek.package.model_fields import expected_tensors, parse_model, render_model, stage_names
from pocketseek.shapes import MlaShape, MoeShape
from pocketseek.types import ModelConfig

MOE = SPARSE.moe or MoeShape(0, 0, 0)
MLA = SPARSE.mla or MlaShape(0, 0, 0, 0)


def test_every_field_is_rendered_and_read() -> None:
    rendered = json.loads(json.dumps(render_model(SPARSE)))
    assert rendered["moe"].keys() == {field.name for field in fields(MoeShape)}
    assert rendered["mla"].keys() == {field.name for field in fields(MlaShape)}
    assert parse_model(rendered) == SPARSE
    for field in fields(MoeShape):
        assert getattr(MOE, field.name) != field.default, f"{field.name} could be left out unnoticed"


def test_a_dense_model_is_rendered_as_before() -> None:
    assert not render_model(TINY).keys() & {"moe", "mla"}


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("moe", {"num_experts": 0}),
        ("moe", {"num_experts": 4097}),
        ("moe", {"experts_per_token": 5}),  # of two groups of two
        ("moe", {"num_groups": 3}),
        ("moe", {"groups_per_token": 5}),
        ("moe", {"num_groups": 8, "groups_per_token": 8}),  # groups of one have no best two
        ("moe", {"expert_size": 0}),
        ("moe", {"shared_size": -1}),
        ("moe", {"dense_layers": [1, 0]}),
        ("moe", {"dense_layers": [0, 0]}),
        ("moe", {"dense_layers": [3]}),
        ("moe", {"dense_layers": "0"}),
        ("moe", {"score": "tanh"}),
        ("moe", {"group_score": "mean"}),
        ("moe", {"normalised": 1}),
        ("moe", {"weight_factor": 0}),
        ("moe", {"surprise": 1}),
        ("mla", {"rank": 33}),
        ("mla", {"value_dim": 24}),
        ("mla", {"rope_dim": 7, "nope_dim": 17}),
        ("mla", {"nope_dim": 8}),  # with rope_dim not the head's size
        ("mla", {"q_rank": -1}),
        ("mla", {"score_factor": 0}),
    ],
)
def test_impossible_shapes_are_refused(part: str, change: dict[str, Any]) -> None:
    value = asdict(SPARSE)
    value[part] |= change
    with pytest.raises(FormatError, match=r"manifest\.json: model"):
        parse_model(json.loads(json.dumps(value)))


@pytest.mark.parametrize(
    "change", [{"moe": None}, {"mla": []}, {"num_kv_heads": 2, "num_heads": 4}, {"qkv_bias": True}, {"qk_norm": True}]
)
def test_parts_that_do_not_fit_the_model_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match=r"manifest\.json: model"):
        parse_model(json.loads(json.dumps(asdict(SPARSE) | change)))


def test_a_small_manifest_cannot_ask_for_millions_of_experts() -> None:
    moe = replace(MOE, num_experts=4096)
    with pytest.raises(FormatError, match="too many"):
        parse_model(json.loads(json.dumps(render_model(replace(SPARSE, num_layers=100, moe=moe)))))


def test_experts_are_stages_of_their_own() -> None:
    assert stage_names(SPARSE) == ("embed", "layer.0", "layer.1", "experts.1", "layer.2", "experts.2", "head")


def test_tensors_follow_the_shapes() -> None:
    table = expected_tensors(SPARSE) or {}
    layer = {name.removeprefix("layer.1."): shape for name, shape in table.items() if name.startswith("layer.1.")}
    assert layer == {
        "attn_norm": (48,),
        "q_a": (24, 48),
        "q_a_norm": (24,),
        "q_b": (96, 24),
        "kv_a": (40, 48),
        "kv_a_norm": (32,),
        "k_b": (128, 16),
        "v_b": (64, 32),
        "o": (48, 64),
        "mlp_norm": (48,),
        "router": (8, 48),
        "router_bias": (8,),
        "shared_gate": (40, 48),
        "shared_up": (40, 48),
        "shared_down": (48, 40),
    }
    assert table["layer.0.gate"] == (80, 48)
    assert table["experts.2.7.down"] == (48, 32)
    assert table["rope.inv_freq"] == (4,)
    assert sum(name.startswith("experts.") for name in table) == 2 * 8 * 3


def without_lora(model: ModelConfig) -> ModelConfig:
    return replace(model, mla=replace(MLA, q_rank=0))


def test_queries_without_a_rank_come_straight_from_the_hidden_state() -> None:
    table = expected_tensors(without_lora(SPARSE)) or {}
    assert table["layer.0.q"] == (96, 48)
    assert not any(name.endswith(("q_a", "q_b", "q_a_norm")) for name in table)


def test_only_models_that_need_it_have_the_new_format(tmp_path: Path) -> None:
    dense = json.loads(read_manifest_bytes(write_sample(tmp_path / "dense")))
    sparse = json.loads(read_manifest_bytes(write_sample(tmp_path / "sparse", SPARSE, max_chunk_bytes=140_000)))
    assert (dense["format_version"], sparse["format_version"]) == (1, 2)
    assert parse_manifest(json.dumps(sparse).encode()).model == SPARSE
    sparse["format_version"] = 1
    with pytest.raises(FormatError, match="unknown field 'm"):
        parse_manifest(json.dumps(sparse).encode())
