from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import encode, write_gguf
from tiny_models import TinyModel, gguf_metadata, gguf_tensor_name, tiny_model, write_hf, write_model_gguf

from pocketseek.convert.families.base import ModelPlan
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.open import open_source
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.package.model_fields import expected_tensors

FAMILIES = ("llama", "qwen2", "qwen3")
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "factor": 2.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}

Planned = Callable[[Path], ModelPlan]


@pytest.fixture
def planned() -> Iterator[Planned]:
    opened: list[Source] = []

    def plan_it(path: Path) -> ModelPlan:
        source = open_source(path)
        opened.append(source)
        return choose_planner(source)(source)

    yield plan_it
    for source in opened:
        source.close()


def changed(model: TinyModel, *, config: dict[str, object] | None = None, **weights: np.ndarray | None) -> TinyModel:
    """weights: keys with __ for dots and without "model.layers.0."; None removes one."""
    named: dict[str, Any] = {key.replace("__", "."): value for key, value in weights.items()}
    kept = {name: array for name, array in model.weights.items() if name not in named}
    added = {name: array for name, array in named.items() if array is not None}
    return replace(model, config=model.config | (config or {}), weights=kept | added)


def without(model: TinyModel, *names: str) -> TinyModel:
    return replace(model, weights={name: array for name, array in model.weights.items() if name not in names})


def plus(model: TinyModel, **arrays: np.ndarray) -> TinyModel:
    return changed(model, **arrays)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("family", "scaling"), [*product(FAMILIES, [None, YARN, LINEAR]), ("llama", LLAMA3)])
def test_both_kinds_of_checkpoint_give_the_same_model(
    family: str, tied: bool, scaling: dict[str, object] | None, tmp_path: Path, planned: Planned
) -> None:
    model = tiny_model(family, tied=tied, rope_scaling=scaling)
    from_hf = planned(write_hf(tmp_path / "hf", model))
    from_gguf = planned(write_model_gguf(tmp_path / "model.gguf", model))
    plain = from_hf.model.rope_scaling
    if scaling is LLAMA3:  # a GGUF file does not say how its divisors came about
        plain = from_gguf.model.rope_scaling
        assert plain.kind == "llama3"
    expected = replace(from_hf.model, rms_norm_eps=from_gguf.model.rms_norm_eps, rope_scaling=plain)
    assert from_gguf.model == expected
    assert from_gguf.model.rms_norm_eps == pytest.approx(from_hf.model.rms_norm_eps, rel=1e-6)
    np.testing.assert_allclose(from_gguf.inv_freq, from_hf.inv_freq, rtol=5e-7)
    assert [tensor.name for tensor in from_gguf.tensors] == [tensor.name for tensor in from_hf.tensors]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [False, True])
def test_the_plan_is_the_set_of_tensors_a_package_must_have(
    family: str, tied: bool, tmp_path: Path, planned: Planned
) -> None:
    plan = planned(write_hf(tmp_path / "hf", tiny_model(family, tied=tied)))
    shapes = {tensor.name: tensor.shape for tensor in plan.tensors} | {"rope.inv_freq": plan.inv_freq.shape}
    assert shapes == expected_tensors(plan.model)
    assert plan.model.tied_embeddings is tied


def test_stages_come_in_the_order_of_the_pass(tmp_path: Path, planned: Planned) -> None:
    plan = planned(write_hf(tmp_path / "hf", tiny_model(num_layers=11)))
    stages = list(dict.fromkeys(tensor.stage for tensor in plan.tensors))
    assert stages == ["embed", *(f"layer.{index}" for index in range(11)), "head"]


def test_only_q_and_k_of_llama_ggufs_are_marked_as_interleaved(tmp_path: Path, planned: Planned) -> None:
    for family in FAMILIES:
        plan = planned(write_model_gguf(tmp_path / f"{family}.gguf", tiny_model(family)))
        marked = {tensor.name.split(".")[-1] for tensor in plan.tensors if tensor.picks}
        assert marked == ({"q", "k"} if family == "llama" else set())
    from_hf = planned(write_hf(tmp_path / "hf", tiny_model()))
    assert not any(tensor.picks for tensor in from_hf.tensors)


def test_a_gguf_without_output_matrix_is_tied(tmp_path: Path, planned: Planned) -> None:
    plan = planned(write_model_gguf(tmp_path / "m.gguf", tiny_model(tied=True)))
    assert plan.model.tied_embeddings
    assert plan.tensors[-1].source_name == "token_embd.weight"


def test_an_untied_checkpoint_without_output_matrix_is_incomplete(tmp_path: Path, planned: Planned) -> None:
    model = without(tiny_model(tied=False), "lm_head.weight")
    with pytest.raises(FormatError, match=r"lm_head\.weight"):
        planned(write_hf(tmp_path / "hf", model))


def test_a_tied_model_may_store_its_output_matrix_too(tmp_path: Path, planned: Planned) -> None:
    model = tiny_model(tied=True)
    twice = plus(model, lm_head__weight=model.weights["model.embed_tokens.weight"])
    assert planned(write_hf(tmp_path / "hf", twice)).model.tied_embeddings


def test_a_model_that_says_tied_but_stores_another_output_matrix_is_not(tmp_path: Path, planned: Planned) -> None:
    model = tiny_model(tied=True)
    other = model.weights["model.embed_tokens.weight"].copy()
    other[-1, -1] += 1
    assert not planned(write_hf(tmp_path / "hf", plus(model, lm_head__weight=other))).model.tied_embeddings


def test_llama_biases_on_q_k_and_v_are_taken(tmp_path: Path, planned: Planned) -> None:
    biased = tiny_model(attention_bias=True)
    model = without(biased, *(f"model.layers.{index}.self_attn.o_proj.bias" for index in range(2)))
    assert planned(write_hf(tmp_path / "hf", model)).model.qkv_bias
    plan = planned(write_model_gguf(tmp_path / "model.gguf", model))
    marked = {tensor.name.split(".")[-1] for tensor in plan.tensors if tensor.picks}
    assert marked == {"q", "k", "q_bias", "k_bias"}


@pytest.mark.parametrize("part", ["self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"])
def test_other_biases_are_refused_unless_they_are_zero(part: str, tmp_path: Path, planned: Planned) -> None:
    model = tiny_model()
    name = f"model.layers.1.{part}.bias"
    size = len(model.weights[f"model.layers.1.{part}.weight"])
    zero = replace(model, weights=model.weights | {name: np.zeros(size, np.float32)})
    assert planned(write_hf(tmp_path / "zero", zero)).model == planned(write_hf(tmp_path / "plain", model)).model
    nonzero = replace(model, weights=model.weights | {name: np.eye(1, size, 3, dtype=np.float32)[0]})
    with pytest.raises(UnsupportedError, match=f"{name}.*; use "):
        planned(write_hf(tmp_path / "nonzero", nonzero))


def test_the_rotary_buffer_of_old_files_is_ignored(tmp_path: Path, planned: Planned) -> None:
    buffer = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(8, np.float32)}
    model = tiny_model()
    planned(write_hf(tmp_path / "hf", replace(model, weights=model.weights | buffer)))


def test_missing_tensors_are_listed_up_to_three(tmp_path: Path, planned: Planned) -> None:
    model = tiny_model()
    gone = [name for name in model.weights if ".mlp." in name]
    with pytest.raises(FormatError, match=r"missing tensors: '.*', '.*', '.*' and 3 more; get "):
        planned(write_hf(tmp_path / "hf", without(model, *gone)))


def test_unknown_tensors_are_listed_up_to_three(tmp_path: Path, planned: Planned) -> None:
    model = tiny_model()
    extra = {f"adapter.{index}": np.zeros(1, np.float32) for index in range(5)}
    with pytest.raises(UnsupportedError, match=r"'adapter.0', 'adapter.1', 'adapter.2' and 2 more; use "):
        planned(write_hf(tmp_path / "hf", replace(model, weights=model.weights | extra)))


@pytest.mark.parametrize("name", ["model.layers.1.self_attn.k_proj.weight", "model.norm.weight", "lm_head.weight"])
def test_a_wrong_shape_is_named(name: str, tmp_path: Path, planned: Planned) -> None:
    model = tiny_model()
    short = model.weights | {name: model.weights[name][:-1]}
    with pytest.raises(FormatError, match=f"{name}.* has shape .* instead of .*; get "):
        planned(write_hf(tmp_path / "hf", replace(model, weights=short)))


def test_a_transposed_matrix_is_a_wrong_shape(tmp_path: Path, planned: Planned) -> None:
    model = tiny_model()
    name = "model.layers.0.mlp.down_proj.weight"
    with pytest.raises(FormatError, match=name):
        planned(write_hf(tmp_path / "hf", replace(model, weights=model.weights | {name: model.weights[name].T})))


def test_more_layers_than_tensors_is_refused_before_they_are_counted_out(tmp_path: Path, planned: Planned) -> None:
    with pytest.raises(FormatError, match="60000000 layers but only 21 tensors"):
        planned(write_hf(tmp_path / "hf", changed(tiny_model(), config={"num_hidden_layers": 60_000_000})))


def test_heads_that_cannot_share_are_refused(tmp_path: Path, planned: Planned) -> None:
    with pytest.raises(UnsupportedError, match="outside what a package can hold"):
        planned(write_hf(tmp_path / "hf", tiny_model(num_heads=4, num_kv_heads=3)))


def test_a_tensor_type_that_cannot_be_read_is_refused(tmp_path: Path, planned: Planned) -> None:
    model = tiny_model()
    stored = {gguf_tensor_name(name): ("F32", encode("F32", array)) for name, array in model.weights.items()}
    stored["blk.0.ffn_up.weight"] = ("I32", np.zeros((96, 64 * 4), np.uint8))
    with pytest.raises(UnsupportedError, match=r"'blk.0.ffn_up.weight' has type I32; use .*Q4_0"):
        planned(write_gguf(tmp_path / "model.gguf", gguf_metadata(model), stored))


def test_a_gguf_without_embedding_is_refused(tmp_path: Path, planned: Planned) -> None:
    model = tiny_model()
    stored = {gguf_tensor_name(name): ("F32", encode("F32", array)) for name, array in model.weights.items()}
    del stored["token_embd.weight"]
    with pytest.raises(FormatError, match=r"missing tensors: 'token_embd.weight'"):
        planned(write_gguf(tmp_path / "model.gguf", gguf_metadata(model), stored))


def test_rope_divisors_in_a_family_without_them_are_unknown_tensors(tmp_path: Path, planned: Planned) -> None:
    model = tiny_model("qwen2")
    stored = {gguf_tensor_name(name): ("F32", encode("F32", array)) for name, array in model.weights.items()}
    stored["rope_freqs.weight"] = ("F32", encode("F32", np.ones(8, np.float32)))
    with pytest.raises(UnsupportedError, match=r"rope_freqs.weight"):
        planned(write_gguf(tmp_path / "model.gguf", gguf_metadata(model), stored))
