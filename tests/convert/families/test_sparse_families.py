"""Families deepseek_v2, deepseek_v3, qwen3_moe: what is read from the settings of both kinds of checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import write_gguf
from sparse_gguf import gguf_arrays, gguf_metadata, write_sparse_gguf
from tiny_models import TinyModel, write_hf
from tiny_sparse import FAMILY_CONFIGS, YARN, tiny_sparse

from pocketseek.convert.families.base import ModelPlan
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.open import open_source
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.shapes import MlaShape, MoeShape

FAMILIES = tuple(FAMILY_CONFIGS)
Planned = Callable[[Path], ModelPlan]


@pytest.fixture
def planned() -> Iterator[Planned]:
    opened: list[Source] = []

    def plan_it(path: Path) -> ModelPlan:
        opened.append(open_source(path))
        return choose_planner(opened[-1])(opened[-1])

    yield plan_it
    for source in opened:
        source.close()


def of_hf(planned: Planned, tmp_path: Path, model: TinyModel) -> ModelPlan:
    return planned(write_hf(tmp_path / "hf", model))


@pytest.mark.parametrize("split_kv_b", [True, False])
@pytest.mark.parametrize("scaling", [None, YARN])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_gguf_and_a_directory_are_read_as_the_same_model(
    family: str, scaling: dict[str, object] | None, split_kv_b: bool, tmp_path: Path, planned: Planned
) -> None:
    if family == "qwen3_moe":
        scaling = None
    model = tiny_sparse(family, rope_scaling=scaling)
    from_hf = of_hf(planned, tmp_path, model)
    from_gguf = planned(write_sparse_gguf(tmp_path / "m.gguf", model, split_kv_b=split_kv_b))
    scale = math.isclose(
        from_hf.model.mla.score_factor if from_hf.model.mla else 1.0,
        from_gguf.model.mla.score_factor if from_gguf.model.mla else 1.0,
        rel_tol=1e-6,
    )
    assert scale
    assert without_score_factor(from_gguf) == without_score_factor(from_hf)
    np.testing.assert_array_equal(from_gguf.inv_freq, from_hf.inv_freq)
    assert [(one.name, one.shape) for one in from_gguf.tensors] == [(one.name, one.shape) for one in from_hf.tensors]


def without_score_factor(plan: ModelPlan) -> object:
    """GGUF has it in f32; so are other numbers rounded, but these are equal."""
    mla = replace(plan.model.mla, score_factor=1.0) if plan.model.mla else None
    scaling = replace(plan.model.rope_scaling, attention_factor=round(plan.model.rope_scaling.attention_factor, 6))
    return replace(plan.model, mla=mla, rope_scaling=scaling, rms_norm_eps=round(plan.model.rms_norm_eps, 12))


def test_v2_lite_is_read_in_full(tmp_path: Path, planned: Planned) -> None:
    model = of_hf(planned, tmp_path, tiny_sparse("deepseek_v2", q_lora_rank=None, rope_scaling=YARN)).model
    assert model.moe == MoeShape(num_experts=8, experts_per_token=3, expert_size=32, shared_size=64, dense_layers=(0,))
    factor = (0.1 * 0.707 * math.log(40) + 1) ** 2
    assert model.mla == MlaShape(rank=32, nope_dim=32, rope_dim=16, value_dim=32, q_rank=0, score_factor=factor)
    assert (model.head_dim, model.num_kv_heads, model.rope_scaling.attention_factor) == (48, 1, 1.0)


def test_group_limited_choice_of_v2_takes_the_best_of_a_group(tmp_path: Path, planned: Planned) -> None:
    changes: dict[str, Any] = {"topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2}
    moe = of_hf(planned, tmp_path, tiny_sparse("deepseek_v2", **changes, routed_scaling_factor=16.0)).model.moe
    assert moe is not None
    assert (moe.num_groups, moe.groups_per_token, moe.group_score, moe.weight_factor) == (4, 2, "best", 16.0)


def test_v3_has_scores_by_sigmoid_and_a_bias_and_the_best_two_of_a_group(tmp_path: Path, planned: Planned) -> None:
    moe = of_hf(planned, tmp_path, tiny_sparse("deepseek_v3")).model.moe
    assert moe is not None
    assert (moe.score, moe.score_bias, moe.group_score, moe.normalised) == ("sigmoid", True, "best_two", True)


@pytest.mark.parametrize(
    ("family", "changes", "dense"),
    [
        ("deepseek_v2", {"first_k_dense_replace": 2, "moe_layer_freq": 1}, (0, 1)),
        ("deepseek_v2", {"first_k_dense_replace": 1, "moe_layer_freq": 2}, (0, 1, 3)),
        ("qwen3_moe", {"decoder_sparse_step": 2, "mlp_only_layers": [3]}, (0, 2, 3)),
        ("qwen3_moe", {"mlp_only_layers": [1, 2]}, (1, 2)),
    ],
)
def test_which_layers_have_experts(family: str, changes: dict[str, Any], dense: tuple[int, ...]) -> None:
    """Of the settings alone: the tensors would have to fit."""
    from pocketseek.convert.families import deepseek_hf, qwen3_moe
    from pocketseek.convert.families.fields import Fields

    config = tiny_sparse(family, num_layers=4, **changes).config
    fields = Fields("config.json", config)
    if family == "qwen3_moe":
        assert qwen3_moe._dense_layers(fields, 4) == dense
    else:
        assert deepseek_hf._dense_layers(fields, deepseek_hf.V2, 4) == dense


def test_layers_behind_the_last_are_left_out(tmp_path: Path, planned: Planned) -> None:
    full = tiny_sparse("deepseek_v3", num_layers=3)
    extra = {**full.weights, "model.layers.2.eh_proj.weight": np.zeros((4, 4), np.float32)}
    config = full.config | {"num_hidden_layers": 2, "num_nextn_predict_layers": 1}
    plan = of_hf(planned, tmp_path, replace(full, config=config, weights=extra))
    assert plan.model.num_layers == 2
    assert not any(".2." in tensor.source_name.partition("mlp")[0] for tensor in plan.tensors)


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("deepseek_v2", {"attention_bias": True}, "attention_bias"),
        ("deepseek_v2", {"topk_method": "noaux_tc"}, "topk_method 'noaux_tc' .* greedy or group_limited_greedy"),
        ("deepseek_v2", {"scoring_func": "sigmoid"}, "scoring_func"),
        ("deepseek_v2", {"norm_topk_prob": True, "routed_scaling_factor": 2.0}, "norm_topk_prob with a routed"),
        ("deepseek_v3", {"scoring_func": "softmax"}, "scoring_func"),
        ("deepseek_v3", {"topk_method": "greedy"}, "topk_method"),
        ("deepseek_v3", {"hidden_act": "gelu"}, "hidden_act"),
        ("deepseek_v3", {"quantization_config": {"quant_method": "gptq"}}, "already quantised"),
        ("deepseek_v3", {"quantization_config": {"quant_method": "fp8", "weight_block_size": [64, 64]}}, "already"),
        ("qwen3_moe", {"attention_bias": True}, "attention_bias"),
        ("deepseek_v3", {"num_experts_per_tok": 9}, "outside what a package can hold"),
        ("deepseek_v3", {"n_group": 3}, "outside what a package can hold"),
        ("deepseek_v3", {"num_hidden_layers": 2**26}, "outside what a package can hold"),
        ("qwen3_moe", {"num_hidden_layers": 2**26}, "outside what a package can hold"),
        ("deepseek_v2", {"qk_rope_head_dim": 15, "rope_scaling": YARN}, "outside what a package can hold"),
        ("deepseek_v2", {"kv_lora_rank": 40}, "outside what a package can hold"),
    ],
)
def test_what_would_be_computed_otherwise_is_refused(
    family: str, changes: dict[str, Any], words: str, tmp_path: Path, planned: Planned
) -> None:
    model = tiny_sparse(family)
    with pytest.raises(UnsupportedError, match=words) as refusal:
        of_hf(planned, tmp_path, replace(model, config=model.config | changes))
    assert "\n" not in str(refusal.value)


def test_what_no_package_can_hold_is_told_of_the_checkpoint_and_not_of_a_manifest(
    tmp_path: Path, planned: Planned
) -> None:
    model = tiny_sparse("deepseek_v2")
    with pytest.raises(UnsupportedError) as refusal:
        of_hf(planned, tmp_path, replace(model, config=model.config | {"num_experts_per_tok": 40}))
    told = str(refusal.value)
    assert told.endswith("(model.moe: 40 experts per token of 8); get an undamaged checkpoint, or another model")
    assert "manifest" not in told


def test_the_number_of_experts_may_be_called_as_transformers_5_calls_it(tmp_path: Path, planned: Planned) -> None:
    model = tiny_sparse("qwen3_moe")
    config = {"num_local_experts" if key == "num_experts" else key: value for key, value in model.config.items()}
    other = planned(write_hf(tmp_path / "other", replace(model, config=config)))
    assert other.model == of_hf(planned, tmp_path, model).model
    del config["num_local_experts"]
    with pytest.raises(FormatError, match="does not give num_experts;"):
        planned(write_hf(tmp_path / "none", replace(model, config=config)))


@pytest.mark.parametrize("name", ["kv_lora_rank", "v_head_dim", "moe_intermediate_size", "num_experts_per_tok"])
def test_a_missing_setting_is_named(name: str, tmp_path: Path, planned: Planned) -> None:
    model = tiny_sparse("deepseek_v2")
    config = {key: value for key, value in model.config.items() if key != name}
    with pytest.raises(FormatError, match=name):
        of_hf(planned, tmp_path, replace(model, config=config))


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.1.mlp.experts.5.up_proj.weight",
        "model.layers.1.mlp.gate.e_score_correction_bias",
        "model.layers.0.self_attn.kv_b_proj.weight",
        "model.layers.1.mlp.shared_experts.down_proj.weight",
    ],
)
def test_a_missing_tensor_is_named(name: str, tmp_path: Path, planned: Planned) -> None:
    model = tiny_sparse("deepseek_v3")
    weights = {key: value for key, value in model.weights.items() if key != name}
    with pytest.raises(FormatError, match=name.replace(".", r"\.")):
        of_hf(planned, tmp_path, replace(model, weights=weights))


def test_a_wrong_shape_and_an_unknown_tensor_are_named(tmp_path: Path, planned: Planned) -> None:
    model = tiny_sparse("deepseek_v3")
    name = "model.layers.1.mlp.experts.5.up_proj.weight"
    short = replace(model, weights=model.weights | {name: model.weights[name][:-1]})
    with pytest.raises(FormatError, match="has shape"):
        planned(write_hf(tmp_path / "short", short))
    more = replace(model, weights=model.weights | {"model.layers.1.mlp.experts.8.up_proj.weight": np.ones((2, 2))})
    with pytest.raises(UnsupportedError, match=r"experts\.8"):
        planned(write_hf(tmp_path / "more", more))


def test_a_stack_of_too_few_experts_is_refused(tmp_path: Path, planned: Planned) -> None:
    model = tiny_sparse("deepseek_v2")
    tensors = {name: ("F32", array) for name, array in gguf_arrays(model, split_kv_b=True).items()}
    stack = "blk.1.ffn_up_exps.weight"
    tensors[stack] = ("F32", tensors[stack][1][:-1])
    with pytest.raises(FormatError, match="has shape"):
        planned(write_gguf(tmp_path / "m.gguf", gguf_metadata(model), tensors))


def test_old_files_that_keep_kv_b_beside_its_halves_are_read(tmp_path: Path, planned: Planned) -> None:
    model = tiny_sparse("deepseek_v2")
    both = gguf_arrays(model, split_kv_b=True) | gguf_arrays(model, split_kv_b=False)
    tensors = {name: ("F32", array) for name, array in both.items()}
    plan = planned(write_gguf(tmp_path / "m.gguf", gguf_metadata(model), tensors))
    assert {one.source_name for one in plan.tensors if one.name.endswith("k_b")} == {
        f"blk.{layer}.attn_k_b.weight" for layer in (0, 1)
    }


def test_an_unknown_gating_is_refused(tmp_path: Path, planned: Planned) -> None:
    model = tiny_sparse("deepseek_v2")
    tensors = {name: ("F32", array) for name, array in gguf_arrays(model, split_kv_b=True).items()}
    metadata = gguf_metadata(model) | {"deepseek2.expert_gating_func": 4}
    with pytest.raises(UnsupportedError, match="expert_gating_func 4"):
        planned(write_gguf(tmp_path / "m.gguf", metadata, tensors))
