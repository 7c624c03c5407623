from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from package.samples import TINY

from pocketseek.errors import FormatError
from pocketseek.package.model_fields import expected_tensors, parse_model, render_model, stage_names, stage_of_tensor
from pocketseek.types import ModelConfig, RopeKind, RopeScaling

POSITIVE = st.floats(1e-6, 1e9)


@given(
    kind=st.sampled_from(["none", "linear", "llama3", "yarn"]),
    numbers=st.lists(POSITIVE, min_size=6, max_size=6),
    original=st.integers(0, 2**26),
    eps=st.floats(1e-12, 1e-3),
    theta=st.floats(1.0, 1e12),
    flags=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_every_config_comes_back_equal(
    kind: RopeKind, numbers: list[float], original: int, eps: float, theta: float, flags: list[bool]
) -> None:
    factor, low, high, fast, slow, attention = numbers
    model = replace(
        TINY,
        rms_norm_eps=eps,
        rope_theta=theta,
        rope_scaling=RopeScaling(kind, factor, original, low, high, fast, slow, attention),
        tied_embeddings=flags[0],
        qkv_bias=flags[1],
        qk_norm=flags[2],
    )
    assert parse_model(render_model(model)) == model


def test_every_field_of_the_config_is_read() -> None:
    rendered = render_model(TINY)
    assert rendered.keys() == {field.name for field in fields(ModelConfig)} - {"moe", "mla"}  # test_sparse_fields.py
    other = replace(
        TINY,
        rope_scaling=RopeScaling("yarn", 2.0, 3, 4.0, 5.0, 6.0, 7.0, 8.0),
        tied_embeddings=True,
        qkv_bias=True,
        qk_norm=True,
    )
    assert all(getattr(other.rope_scaling, field.name) != field.default for field in fields(RopeScaling))
    assert parse_model(render_model(other)) == other


def test_fields_with_a_default_may_be_missing() -> None:
    required = {name: value for name, value in render_model(TINY).items() if name not in ("rope_scaling", "qk_norm")}
    assert parse_model(required) == TINY


@pytest.mark.parametrize(
    "change",
    [
        {"num_layers": 0},
        {"num_layers": 1025},
        {"num_layers": True},
        {"num_layers": 2.0},
        {"hidden_size": -1},
        {"num_kv_heads": 3},
        {"num_kv_heads": 8},
        {"head_dim": 15},
        {"head_dim": 1026},
        {"head_dim": 0},
        {"vocab_size": 2**22 + 1},
        {"context_length": 0},
        {"rms_norm_eps": 0},
        {"rms_norm_eps": "1e-5"},
        {"rope_theta": -1.0},
        {"family": "Llama"},
        {"family": "../llama"},
        {"tied_embeddings": 1},
        {"unknown": 1},
        {"rope_scaling": None},
        {"rope_scaling": {"kind": "dynamic"}},
        {"rope_scaling": {"factor": 0}},
        {"rope_scaling": {"original_context": 1.5}},
        {"rope_scaling": {"surprise": 1}},
    ],
)
def test_impossible_configs_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match=r"manifest\.json: model"):
        parse_model(render_model(TINY) | change)


def test_a_missing_field_is_named() -> None:
    value = render_model(TINY)
    del value["vocab_size"]
    with pytest.raises(FormatError, match="lacks 'vocab_size'"):
        parse_model(value)


def test_stages_are_in_the_order_of_the_pass() -> None:
    assert stage_names(TINY) == ("embed", "layer.0", "layer.1", "head")


def test_expected_tensors_follow_the_config() -> None:
    table = expected_tensors(replace(TINY, tied_embeddings=True, qkv_bias=True, qk_norm=True, num_layers=1))
    assert table == {
        "rope.inv_freq": (8,),
        "layer.0.attn_norm": (48,),
        "layer.0.mlp_norm": (48,),
        "layer.0.q": (64, 48),
        "layer.0.k": (32, 48),
        "layer.0.v": (32, 48),
        "layer.0.o": (48, 64),
        "layer.0.gate": (80, 48),
        "layer.0.up": (80, 48),
        "layer.0.down": (48, 80),
        "layer.0.q_bias": (64,),
        "layer.0.k_bias": (32,),
        "layer.0.v_bias": (32,),
        "layer.0.q_norm": (16,),
        "layer.0.k_norm": (16,),
        "head.norm": (48,),
        "head.weight": (700, 48),
    }
    assert list(dict.fromkeys(map(stage_of_tensor, table))) == ["embed", "layer.0", "head"]


def test_an_untied_model_has_an_embedding_of_its_own() -> None:
    table = expected_tensors(TINY)
    assert table is not None
    assert table["embed.weight"] == table["head.weight"]


def test_an_unknown_family_has_no_expected_tensors() -> None:
    assert expected_tensors(replace(TINY, family="toy")) is None
