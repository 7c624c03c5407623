"""The whole chain for the demo model: its GGUF as float16 safetensors -> int8-static .ort files -> an answer.

Takes half a minute and the model, so it is off by default:

POCKETSEEK_DEMO_GGUF    path of the demo model's GGUF file
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from onnx_answers import greedy

from pocketseek.convert.static_export import StaticOptions, export_static

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
DOCS = Path(__file__).resolve().parents[2] / "docs"
PROMPT = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_safetensors_become_ort_files_that_know_the_capital_of_france(tmp_path: Path) -> None:
    gguf = os.environ.get("POCKETSEEK_DEMO_GGUF")
    if not gguf:
        pytest.skip("POCKETSEEK_DEMO_GGUF is not set: no demo model")
    script = BENCHMARKS / "dequantised_checkpoint.py"
    subprocess.run([sys.executable, str(script), gguf, str(tmp_path / "checkpoint")], check=True)
    texts = [(DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("design", "runtime")]
    options = StaticOptions(bits=16, calibration_tokens=1024, layers_per_stage=10)
    folder = export_static(
        tmp_path / "checkpoint", tmp_path / "export", calibration=texts, options=options, format="ort"
    )
    assert len(list(folder.glob("layers-*.ort"))) == 3
    assert "Paris" in greedy(folder, PROMPT, 10)
