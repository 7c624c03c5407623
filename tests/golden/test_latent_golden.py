"""Checkpoints with latent attention and without experts, converted and run by the executor on the compiled kernels,
against the reference, which agrees with transformers (test_sparse_golden.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from golden.test_golden_logits import MAX_ABS_LOG_PROBABILITY_DIFFERENCE, Quant, differences, run_in_passes
from golden.test_sparse_golden import mean_kl
from tiny_models import write_hf
from tiny_sparse import YARN, tiny_sparse

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.kv_memory import KV_FORMATS, KvFormat

NUM_LAYERS = 2
MAX_MEAN_KL = 2e-4  # nats; measured: below 1e-9, and up to 5e-5 where an int8 value falls to the other side of two
CASES: dict[str, dict[str, object]] = {"q-lora": {}, "plain-q-yarn": {"q_lora_rank": None, "rope_scaling": YARN}}
TOKENS = np.random.default_rng(4).integers(0, 300, 80).tolist()  # over one page
Convert = Callable[[str, Quant], Path]


@pytest.fixture(scope="module")
def convert(tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """Packages of the cases, each made once."""
    directory = tmp_path_factory.mktemp("latents")

    def converted(case: str, quant: Quant) -> Path:
        package, checkpoint = directory / f"{case}-{quant}", directory / case
        if not checkpoint.exists():
            write_hf(checkpoint, tiny_sparse("deepseek_v2", first_k_dense_replace=NUM_LAYERS, **CASES[case]))
        if not package.exists():
            convert_checkpoint(checkpoint, package, quant=quant, models_dir=directory)
        return package

    return converted


@pytest.mark.parametrize("kv", KV_FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_log_probabilities_are_those_of_the_reference(case: str, kv: KvFormat, convert: Convert) -> None:
    package = convert(case, "keep")
    expected, actual = (run_in_passes(package, name, TOKENS, [80], kv) for name in ("reference", supported_sets()[-1]))
    if kv == "f16":
        assert differences(actual, expected).max() <= MAX_ABS_LOG_PROBABILITY_DIFFERENCE
    assert mean_kl(expected, actual) <= MAX_MEAN_KL


@pytest.mark.parametrize("kv", KV_FORMATS)
@pytest.mark.parametrize("quant", ["q8", "q4"])
@pytest.mark.parametrize("case", CASES)
def test_quantised_packages_have_the_distribution_of_the_reference(
    case: str, quant: Quant, kv: KvFormat, convert: Convert
) -> None:
    package = convert(case, quant)
    expected, actual = (run_in_passes(package, name, TOKENS, [80], kv) for name in ("reference", supported_sets()[-1]))
    assert mean_kl(expected, actual) <= MAX_MEAN_KL


@pytest.mark.parametrize(("quant", "kv"), [("keep", "f16"), ("q8", "q8"), ("q4", "f16")])
@pytest.mark.parametrize("case", CASES)
def test_every_set_and_every_cut_gives_the_same_bits(case: str, quant: Quant, kv: KvFormat, convert: Convert) -> None:
    package = convert(case, quant)
    results = {
        run_in_passes(package, name, TOKENS, cut, kv).tobytes()
        for name in supported_sets()
        for cut in ([80], [37, 33, *[1] * 10])
    }
    assert len(results) == 1
