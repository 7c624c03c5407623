"""Adapters against PEFT: tiny adapters of every family on the golden checkpoints, float32 weights.

`scripts/make-golden-adapters` wrote them, with the logits of the last positions, and made sure that they matter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden.test_golden_logits import DATA, differences

from pocketseek.adapt.add import add_adapter
from pocketseek.adapt.peft_config import CONFIG_NAME, read_peft_config
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.kernels.choose import choose_kernels, supported_sets
from pocketseek.package.reader import Package
from pocketseek.runtime.adapters import AdapterShelf
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.work import Slice, Work, pages_for

ADAPTERS = Path(__file__).parent / "adapters"
CASES = sorted(folder.name for folder in ADAPTERS.iterdir())
# Of log-probabilities that the adapters move by 0.5 to 7. Measured: 3.6e-4 where A and B are BF16, which f16 holds
# exactly (so it is keys and values in f16, as without an adapter); 2e-4 to 2.3e-3 where they are F32.
MAX_ABS_LOG_PROBABILITY_DIFFERENCE = {"qwen2": 1e-3}
MAX_OF_F32_ADAPTERS = 3e-3


@pytest.mark.parametrize("kernels", ["reference", *supported_sets()])
@pytest.mark.parametrize("case", CASES)
def test_log_probabilities_equal_those_of_peft(case: str, kernels: str, tmp_path: Path) -> None:
    base = read_peft_config(ADAPTERS / case / CONFIG_NAME).base
    convert_checkpoint(DATA / base, tmp_path / "base", quant="keep", models_dir=tmp_path)
    add_adapter(ADAPTERS / case, tmp_path / "base", tmp_path / case)
    with np.load(DATA / base / "golden.npz") as file:
        token_ids = tuple(file["input_ids"].tolist())
    with np.load(ADAPTERS / case / "golden.npz") as file:
        expected = file["logits"]
    pages = tuple(range(pages_for(len(token_ids))))
    with Package.open(tmp_path / "base") as package:
        executor = KernelExecutor(package, choose_kernels(kernels), num_threads=2, num_pages=len(pages))
        shelf = AdapterShelf(package.manifest, tmp_path.joinpath, executor.load_adapter)
        work = Work((Slice(0, token_ids, 0, pages, len(expected), adapter=shelf.take(case).handle),))
        found = differences(executor.run(work), expected).max()
        executor.close()
    assert found <= MAX_ABS_LOG_PROBABILITY_DIFFERENCE.get(case, MAX_OF_F32_ADAPTERS)
