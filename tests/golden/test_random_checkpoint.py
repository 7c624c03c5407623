"""benchmarks/random_checkpoint.py, small: what it writes converts and runs, in both file formats."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.kernels.choose import KernelChoice
from pocketseek.package.reader import Package
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.work import Slice, Work

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "random_checkpoint.py"
VOCAB_SIZE = 288


@pytest.mark.parametrize("file_name", ["random.gguf", "random"])
def test_a_random_checkpoint_converts_and_gives_finite_logits_of_ordinary_size(tmp_path: Path, file_name: str) -> None:
    checkpoint = tmp_path / file_name
    command = [sys.executable, str(SCRIPT), str(checkpoint), "--layers", "1", "--vocab", str(VOCAB_SIZE)]
    subprocess.run(command, check=True)
    path = convert_checkpoint(checkpoint, tmp_path / "package", quant="keep", models_dir=tmp_path)
    with Package.open(path) as package:
        executor = KernelExecutor(package, KernelChoice("reference", "slow"), num_threads=1, num_pages=1)
        logits = executor.run(Work((Slice(0, (1, 2, 3), 0, (0,), 3),))).copy()
        executor.close()
    assert logits.shape == (3, VOCAB_SIZE)
    assert np.isfinite(logits).all()
    assert 0.1 < logits.std() < 10.0
