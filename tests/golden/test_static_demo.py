"""The whole chain for the demo model: its weights as float16 safetensors -> int8-static .ort files -> an answer.

Runs where the demo model is at hand: installed in the user's data directory, or

POCKETSEEK_DEMO_GGUF    path of its GGUF file
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_answers import greedy

from pocketseek.convert.static_export import StaticOptions, export_static
from pocketseek.package.store import ModelStore
from pocketseek.settings import read_settings

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
DOCS = Path(__file__).resolve().parents[2] / "docs"
PROMPT = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def demo() -> Path:
    """GGUF or package. Of the module, so that it is asked before a test gets a data directory of its own."""
    if gguf := os.environ.get("POCKETSEEK_DEMO_GGUF"):
        return Path(gguf)
    store = ModelStore(read_settings().models_dir)
    if not store.is_installed("demo"):
        pytest.skip("the demo model is not installed, and POCKETSEEK_DEMO_GGUF is not set")
    return store.resolve("demo")


@pytest.mark.timeout(1800)
def test_safetensors_become_ort_files_that_know_the_capital_of_france(demo: Path, tmp_path: Path) -> None:
    script = BENCHMARKS / "dequantised_checkpoint.py"
    subprocess.run([sys.executable, str(script), str(demo), str(tmp_path / "checkpoint")], check=True)
    texts = [(DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("design", "runtime")]
    options = StaticOptions(bits=16, calibration_tokens=1024, layers_per_stage=10)
    folder = export_static(
        tmp_path / "checkpoint", tmp_path / "export", calibration=texts, options=options, format="ort"
    )
    assert len(list(folder.glob("layers-*.ort"))) == 3
    assert "Paris" in greedy(folder, PROMPT, 10)
