"""Models with experts and latent attention against llama.cpp, from one GGUF file: the same weights in float32 for both.

Needs a peer, so it is slow and off by default: POCKETSEEK_PEER_PYTHON is the interpreter of an environment with
llama-cpp-python (docs/benchmarks.md says how to make one).

Not compared: DeepSeek-V2's choice among groups. llama.cpp takes the best two experts of a group for its worth there, as
V3 does; the published code of V2, which we follow, takes the best one.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.test_golden_logits import differences, run_in_passes
from sparse_gguf import write_sparse_gguf
from tiny_sparse import YARN, tiny_sparse

from pocketseek.convert.pipeline import convert_checkpoint

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
NUM_POSITIONS = 80
MAX_ABS_LOG_PROBABILITY_DIFFERENCE = 5e-3  # measured: 2e-4 to 7e-4, with 27 layers 1.9e-3
# A file with kv_b whole makes llama.cpp multiply latents out and round keys and values in place of latents: positions
# all move a little (median of the largest differences 2e-3 to 5e-3), and once in a while another expert is chosen.
MAX_MEDIAN_OF_THE_OTHER_FORM = 0.02
PEER = """
import sys
import numpy as np
from llama_cpp_model import LlamaCppModel
model = LlamaCppModel(sys.argv[1], 1, 128, 128, all_logits=True)
np.save(sys.argv[3], model.run(np.load(sys.argv[2]).tolist(), 0))
"""
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "v2-lite": (  # llama.cpp knows it by its 27 layers
        "deepseek_v2",
        {"q_lora_rank": None, "rope_scaling": YARN, "num_layers": 27, "first_k_dense_replace": 24},
    ),
    "v2-lora": ("deepseek_v2", {"routed_scaling_factor": 4.0}),
    "v3": ("deepseek_v3", {"rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 1.0}}),
    "v3-one-group": ("deepseek_v3", {"n_group": 1, "topk_group": 1, "norm_topk_prob": False}),
    "qwen3": ("qwen3_moe", {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("split_kv_b", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_log_probabilities_equal_those_of_llama_cpp(case: str, split_kv_b: bool, tmp_path: Path) -> None:
    peer_python = os.environ.get("POCKETSEEK_PEER_PYTHON")
    if not peer_python:
        pytest.skip("POCKETSEEK_PEER_PYTHON is not set: no llama.cpp to compare with")
    family, changes = CASES[case]
    gguf = write_sparse_gguf(
        tmp_path / "m.gguf", tiny_sparse(family, **{"num_layers": 3, **changes}), split_kv_b=split_kv_b
    )
    ids = np.random.default_rng(5).integers(0, 300, NUM_POSITIONS)
    np.save(tmp_path / "ids.npy", ids)
    command = [peer_python, "-c", PEER, str(gguf), str(tmp_path / "ids.npy"), str(tmp_path / "logits.npy")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(BENCHMARKS)}
    )
    assert done.returncode == 0, done.stderr
    expected = np.load(tmp_path / "logits.npy")
    package = convert_checkpoint(gguf, tmp_path / "m", models_dir=tmp_path)
    logits = run_in_passes(package, "reference", ids.tolist(), [NUM_POSITIONS])
    largest = differences(logits, expected).max(axis=1)
    if split_kv_b or family == "qwen3_moe":
        assert largest.max() <= MAX_ABS_LOG_PROBABILITY_DIFFERENCE
    else:
        assert np.median(largest) <= MAX_MEDIAN_OF_THE_OTHER_FORM
