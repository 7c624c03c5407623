"""The executor against transformers: tiny random checkpoints of every family and rope scaling, float32 weights.

`scripts/make-golden` wrote the checkpoints and the logits (float32, eager attention, 80 positions: over one KV page)
and made sure that each case's logits depend on what the case is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import NativeCoreError
from pocketseek.kernels.choose import choose_kernels, supported_sets
from pocketseek.kernels.kv_memory import KvFormat
from pocketseek.package.reader import Package
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.work import Slice, Work, pages_for

DATA = Path(__file__).parent / "data"
SPARSE = ("deepseek", "qwen3-moe")  # in test_sparse_golden.py, with what is asked of experts and latents
CASES = sorted(directory.name for directory in DATA.iterdir() if not directory.name.startswith(SPARSE))
MAX_ABS_LOG_PROBABILITY_DIFFERENCE = 1e-3
MAX_MEAN_KL = {"q8": 5e-4, "q4": 0.02}  # nats; measured: 1e-4 to 2.3e-4, and 0.005 to 0.013
MAX_COMMITTED_BYTES = 4_500_000

Quant = Literal["q4", "q8", "keep"]
Logits = npt.NDArray[np.float32]
Convert = Callable[[str, Quant], Path]


def _kernel_names() -> list[str]:
    try:
        return ["reference", *supported_sets()]
    except NativeCoreError:
        return ["reference"]


@pytest.fixture(scope="module")
def convert(tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """Packages of the cases, each made once."""
    models_dir = tmp_path_factory.mktemp("models")

    def converted(case: str, quant: Quant) -> Path:
        package = models_dir / f"{case}-{quant}"
        if not package.exists():
            convert_checkpoint(DATA / case, package, quant=quant, models_dir=models_dir)
        return package

    return converted


@pytest.fixture(params=_kernel_names())
def kernels(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def golden(case: str) -> tuple[list[int], Logits]:
    with np.load(DATA / case / "golden.npz") as file:
        return file["input_ids"].tolist(), file["logits"]


def run_in_passes(
    package_path: Path, kernels: str, token_ids: list[int], pass_tokens: list[int], kv: KvFormat = "f16"
) -> Logits:
    """Logits of every position, the prompt cut into passes of the given lengths."""
    with Package.open(package_path) as package:
        pages = tuple(range(pages_for(len(token_ids))))
        choice = choose_kernels(kernels)
        executor = KernelExecutor(package, choice, num_threads=2, num_pages=len(pages), kv_format=kv)
        rows = [executor.run(work).copy() for work in _works(token_ids, pass_tokens, pages)]
        executor.close()
    return np.concatenate(rows)


def _works(token_ids: list[int], pass_tokens: list[int], pages: tuple[int, ...]) -> Iterator[Work]:
    first = 0
    for count in pass_tokens:
        part = tuple(token_ids[first : first + count])
        yield Work((Slice(0, part, first, pages[: pages_for(first + count)], num_logits=count),))
        first += count


def log_softmax(logits: Logits) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def differences(left: Logits, right: Logits) -> npt.NDArray[np.float64]:
    """Absolute differences of log-probabilities, [positions, vocabulary]."""
    return np.abs(log_softmax(left) - log_softmax(right))


@pytest.mark.parametrize("case", CASES)
def test_log_probabilities_equal_those_of_transformers(case: str, kernels: str, convert: Convert) -> None:
    token_ids, expected = golden(case)
    logits = run_in_passes(convert(case, "keep"), kernels, token_ids, [len(token_ids)])
    assert logits.shape == expected.shape
    assert differences(logits, expected).max() <= MAX_ABS_LOG_PROBABILITY_DIFFERENCE


@pytest.mark.parametrize("case", ["llama-llama3", "qwen2", "qwen3-yarn"])
def test_a_prompt_cut_in_pieces_and_decoded_token_by_token_gives_the_same(
    case: str, kernels: str, convert: Convert
) -> None:
    token_ids, expected = golden(case)
    logits = run_in_passes(convert(case, "keep"), kernels, token_ids, [37, 33, *[1] * 10])
    assert differences(logits, expected).max() <= MAX_ABS_LOG_PROBABILITY_DIFFERENCE


@pytest.mark.parametrize("quant", ["q8", "q4"])
@pytest.mark.parametrize("case", CASES)
def test_quantised_weights_and_activations_stay_near_the_golden_distribution(
    case: str, quant: Quant, kernels: str, convert: Convert
) -> None:
    token_ids, expected = golden(case)
    logits = run_in_passes(convert(case, quant), kernels, token_ids, [len(token_ids)])
    golden_log, own_log = log_softmax(expected), log_softmax(logits)
    mean_kl = (np.exp(golden_log) * (golden_log - own_log)).sum(axis=-1).mean()
    assert mean_kl <= MAX_MEAN_KL[quant]


@pytest.mark.parametrize("case", CASES)
def test_int8_pages_stay_near_the_golden_distribution(case: str, kernels: str, convert: Convert) -> None:
    token_ids, expected = golden(case)
    logits = run_in_passes(convert(case, "keep"), kernels, token_ids, [len(token_ids)], "q8")
    golden_log, own_log = log_softmax(expected), log_softmax(logits)
    mean_kl = (np.exp(golden_log) * (golden_log - own_log)).sum(axis=-1).mean()
    assert mean_kl <= MAX_MEAN_KL["q8"]


def test_the_committed_files_stay_small() -> None:
    assert sum(file.stat().st_size for file in DATA.rglob("*") if file.is_file()) <= MAX_COMMITTED_BYTES
