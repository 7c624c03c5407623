"""Models with experts and latent attention against transformers, on reference and compiled kernels: tiny random
checkpoints of deepseek_v2 (with and without q_lora; greedy and among groups), deepseek_v3 (bias, groups; either order
of rotary rows) and qwen3_moe, float32 weights. `scripts/make-golden` wrote them.

And that a row's bits depend on nothing but what comes before it in its own text: neither on where the prompt is cut nor
on what else is in the pass, nor on which experts the others chose.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from golden.test_golden_logits import (
    DATA,
    MAX_ABS_LOG_PROBABILITY_DIFFERENCE,
    Logits,
    Quant,
    differences,
    golden,
    log_softmax,
    run_in_passes,
)

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.kernels.choose import KernelChoice, supported_sets
from pocketseek.kernels.kv_memory import KvFormat
from pocketseek.package.reader import Package
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.work import Slice, Work, pages_for

CASES = sorted(directory.name for directory in DATA.iterdir() if directory.name.startswith(("deepseek", "qwen3-moe")))
# Nats. Rounding changes who is chosen where two experts are nearly as good, which dense models do not know: measured
# are 2e-4 to 1.1e-3, and 0.007 to 0.024.
MAX_MEAN_KL = {"q8": 4e-3, "q4": 0.05}
BEST = supported_sets()[-1]
reference_and_compiled = pytest.mark.parametrize("kernels", ["reference", BEST])


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def converted(models_dir: Path, case: str, quant: Quant) -> Path:
    """Each made once."""
    package = models_dir / f"{case}-{quant}"
    if not package.exists():
        convert_checkpoint(DATA / case, package, quant=quant, models_dir=models_dir)
    return package


def mean_kl(expected: Logits, logits: Logits) -> float:
    golden_log, own_log = log_softmax(expected), log_softmax(logits)
    return float((np.exp(golden_log) * (golden_log - own_log)).sum(axis=-1).mean())


@reference_and_compiled
@pytest.mark.parametrize("case", CASES)
def test_log_probabilities_equal_those_of_transformers(case: str, kernels: str, models_dir: Path) -> None:
    token_ids, expected = golden(case)
    logits = run_in_passes(converted(models_dir, case, "keep"), kernels, token_ids, [len(token_ids)])
    assert differences(logits, expected).max() <= MAX_ABS_LOG_PROBABILITY_DIFFERENCE


@reference_and_compiled
@pytest.mark.parametrize("quant", ["q8", "q4"])
@pytest.mark.parametrize("case", CASES)
def test_quantised_weights_stay_near_the_golden_distribution(
    case: str, quant: Quant, kernels: str, models_dir: Path
) -> None:
    token_ids, expected = golden(case)
    logits = run_in_passes(converted(models_dir, case, quant), kernels, token_ids, [len(token_ids)])
    assert mean_kl(expected, logits) <= MAX_MEAN_KL[quant]


@reference_and_compiled
@pytest.mark.parametrize("case", CASES)
def test_int8_pages_stay_near_the_golden_distribution(case: str, kernels: str, models_dir: Path) -> None:
    token_ids, expected = golden(case)
    logits = run_in_passes(converted(models_dir, case, "keep"), kernels, token_ids, [len(token_ids)], "q8")
    assert mean_kl(expected, logits) <= MAX_MEAN_KL["q8"]


@reference_and_compiled
@pytest.mark.parametrize(("quant", "kv"), [("keep", "f16"), ("q8", "q8"), ("q4", "f16")])
@pytest.mark.parametrize("case", CASES)
def test_bits_do_not_depend_on_cuts_or_company(
    case: str, quant: Quant, kv: KvFormat, kernels: str, models_dir: Path
) -> None:
    token_ids, _ = golden(case)
    package = converted(models_dir, case, quant)
    alone = run_in_passes(package, kernels, token_ids, [len(token_ids)], kv)
    cut = run_in_passes(package, kernels, token_ids, [37, 33, *[1] * 10], kv)
    assert cut.tobytes() == alone.tobytes()
    with _executor(package, kernels, kv) as executor:
        first, second = token_ids[:50], token_ids[50:]
        together = [
            Slice(0, tuple(second), 0, (2,), num_logits=len(second)),
            Slice(1, tuple(first), 0, (0,), num_logits=len(first)),
        ]
        logits = executor.run(Work(tuple(together)))
        assert logits[len(second) :].tobytes() == alone[:50].tobytes()


@contextmanager
def _executor(path: Path, kernels: str, kv: KvFormat) -> Iterator[KernelExecutor]:
    with Package.open(path) as package:
        choice = KernelChoice(kernels, "asked for")
        executor = KernelExecutor(package, choice, num_threads=1, num_pages=pages_for(130) + 1, kv_format=kv)
        yield executor
        executor.close()


@pytest.mark.parametrize("quant", ["keep", "q8", "q4"])
@pytest.mark.parametrize("case", CASES)
def test_every_instruction_set_gives_the_same_bits(case: str, quant: Quant, models_dir: Path) -> None:
    token_ids, _ = golden(case)
    package = converted(models_dir, case, quant)
    assert len({run_in_passes(package, name, token_ids, [len(token_ids)]).tobytes() for name in supported_sets()}) == 1
