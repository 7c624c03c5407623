"""What a pass over a sparse package is said to read."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import random_package
import sparse_pass

from pocketseek.kernels.choose import choose_kernels
from pocketseek.package.reader import Package


def test_a_token_reads_all_but_the_experts_that_it_did_not_choose(tmp_path: Path) -> None:
    random_package.write_package(tmp_path / "tiny", random_package.SPARSE_SHAPES["deepseek-v2-tiny"], seed=1)
    with Package.open(tmp_path / "tiny") as package:
        config, tensors = package.manifest.model, package.manifest.tensors
        assert config.moe is not None
        model = sparse_pass.Model(package, choose_kernels().open(config, 1), 1, time.perf_counter)
        parts = model.run(np.array([7], np.int32), context=0)
    stored = {t.name: sum(extent.num_bytes for extent in t.extents) for t in tensors if len(t.shape) == 2}
    chosen_share = config.moe.experts_per_token / config.moe.num_experts
    wanted = sum(
        num_bytes * chosen_share if name.startswith("experts.") else num_bytes
        for name, num_bytes in stored.items()
        if name != "embed.weight"
    )
    assert parts[sparse_pass.WHOLE].num_bytes == round(wanted)
    assert all(parts[step].seconds > 0 for step in (sparse_pass.WHOLE, *sparse_pass.STEPS))
