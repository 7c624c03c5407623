"""The memory of a training is planned before it begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import tiny_model, write_hf

from pocketseek.adapt.train_memory import least_training_bytes, plan_memory
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import MemoryLimitError
from pocketseek.types import ModelConfig

# DeepSeek-R1-Distill-Qwen-1.5B
SHAPE = ModelConfig("qwen2", 28, 1536, 8960, 12, 2, 128, 151936, 131072, 1e-6, 1e4)
NUM_PARAMETERS = 18_464_768
ROOM_BYTES = 275_000_000
"""For a training, beside what importing PyTorch takes: 245 MB, and 350 more with its build for CUDA."""


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


_WORKER = """
import sys
from pathlib import Path
from pocketseek.adapt.data_file import Example
from pocketseek.adapt.train import train_adapter
from pocketseek.adapt.train_settings import TrainSettings
from pocketseek.device.memory import process_memory
import accelerate, torch
limit_bytes = process_memory().rss_bytes + int(sys.argv[2])
settings = TrainSettings(rank=4, steps=2, batch=4, context=128, num_threads=1, memory_bytes=limit_bytes)
train_adapter(Path(sys.argv[1]), [Example(text="the quick brown fox " * 200)], settings)
print(process_memory().peak_rss_bytes, limit_bytes)
"""


def test_a_training_takes_no_more_than_it_may(tmp_path: Path) -> None:
    """20 layers of 8 MB each in float32 and 160 MB for all of them, which would not fit."""
    model = tiny_model("llama", hidden=384, intermediate=1408, num_layers=20, num_heads=6, num_kv_heads=2)
    package = convert_checkpoint(write_hf(tmp_path / "hf", model), tmp_path / "package", quant="q8")
    done = subprocess.run(
        [sys.executable, "-c", _WORKER, str(package), str(ROOM_BYTES)], check=True, capture_output=True, text=True
    )
    peak_bytes, limit_bytes = map(int, done.stdout.split())
    assert peak_bytes < limit_bytes
