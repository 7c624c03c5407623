"""adapter_config.json: ranks and scales as PEFT has them, and a refusal of everything that means something else."""

from __future__ import annotations

import math

import pytest
from peft_folders import peft_config

from pocketseek.adapt.peft_config import parse_peft_config
from pocketseek.errors import FormatError, UnsupportedError

Q = "model.layers.3.self_attn.q_proj"
DOWN = "model.layers.3.mlp.down_proj"


def test_alpha_over_rank_or_its_root() -> None:
    assert parse_peft_config(peft_config(r=4, lora_alpha=8), "x").scale_of(Q) == 2.0
    scale = parse_peft_config(peft_config(r=4, lora_alpha=8, use_rslora=True), "x").scale_of(Q)
    assert scale == 8 / math.sqrt(4)


def test_patterns_name_modules_or_their_ends() -> None:
    patterns = {"rank_pattern": {"down_proj": 2, Q: 16}, "alpha_pattern": {r"layers\.3\.mlp\.down_proj": 5}}
    config = parse_peft_config(peft_config(**patterns), "x")
    assert (config.rank_of(Q), config.rank_of(DOWN), config.rank_of("model.layers.1.self_attn.q_proj")) == (16, 2, 4)
    assert config.scale_of(DOWN) == 2.5
    assert config.rank_of("model.layers.3.mlp.xdown_proj") == 4


def test_an_anchored_pattern_is_the_whole_name() -> None:
    config = parse_peft_config(peft_config(rank_pattern={f"^{Q}": 9, "^q_proj": 7}), "x")
    assert config.rank_of(Q) == 9
    assert config.rank_of("model.layers.1.self_attn.q_proj") == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"bias": "lora_only"}, "biases"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"lora_bias": True}, "lora_bias"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"target_parameters": ["experts"]}, "experts"),
        ({"use_qalora": True}, "QALoRA"),
        ({"alora_invocation_tokens": [5]}, "activated LoRA"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"peft_type": None}, "None"),
        ({"use_something_new": {"x": 1}}, "use_something_new"),
        ({"r": 257}, "ranks up to 256"),
        ({"rank_pattern": {"q_proj": 1000}}, "ranks up to 256"),
        ({"rank_pattern": {"(a+)+$": 3}}, "only names of modules"),
    ],
)
def test_what_is_not_done_is_said(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UnsupportedError, match="x: ") as caught:
        parse_peft_config(peft_config(**changes), "x")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"r": 0},
        {"r": "4"},
        {"r": None},
        {"r": True},
        {"lora_alpha": None},
        {"lora_alpha": "8"},
        {"lora_alpha": 1e300},
        {"rank_pattern": [1]},
        {"alpha_pattern": {"q_proj": "x"}},
    ],
)
def test_nonsense_is_a_damaged_file(changes: dict[str, object]) -> None:
    with pytest.raises(FormatError, match="get an undamaged adapter"):
        parse_peft_config(peft_config(**changes), "x")


def test_settings_that_say_nothing_are_no_hindrance() -> None:
    parse_peft_config(peft_config(use_something_new=None, corda_config=None, peft_version="0.99"), "x")
