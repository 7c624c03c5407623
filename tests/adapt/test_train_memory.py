"""The memory of a training is planned before it begins."""

from __future__ import annotations

import pytest

from pocketseek.adapt.train_memory import least_training_bytes, plan_memory
from pocketseek.errors import MemoryLimitError
from pocketseek.types import ModelConfig

# DeepSeek-R1-Distill-Qwen-1.5B
SHAPE = ModelConfig("qwen2", 28, 1536, 8960, 12, 2, 128, 151936, 131072, 1e-6, 1e4)
NUM_PARAMETERS = 18_464_768


def test_with_plenty_everything_stays_decoded() -> None:
    plan = plan_memory(SHAPE, NUM_PARAMETERS, 512, 100 << 30)
    assert (plan.micro_tokens, plan.num_pinned_layers, plan.pins_head) == (1024, 28, True)


def test_with_less_weights_are_decoded_anew_and_then_fewer_tokens_go_at_once() -> None:
    least_bytes = least_training_bytes(SHAPE, NUM_PARAMETERS, 1024)
    plan = plan_memory(SHAPE, NUM_PARAMETERS, 512, least_bytes)
    assert (plan.micro_tokens, plan.num_pinned_layers, plan.pins_head) == (1024, 0, False)
    assert plan.total_bytes == least_bytes
    assert plan_memory(SHAPE, NUM_PARAMETERS, 512, least_bytes - 1).micro_tokens == 512


def test_a_1_5b_model_can_be_trained_in_three_gigabytes() -> None:
    assert least_training_bytes(SHAPE, NUM_PARAMETERS, 512) < 3e9


def test_what_does_not_fit_is_refused_with_figures() -> None:
    with pytest.raises(MemoryLimitError, match=r"training takes \d+ MB .* 100 MB may be used"):
        plan_memory(SHAPE, NUM_PARAMETERS, 512, 100_000_000)
