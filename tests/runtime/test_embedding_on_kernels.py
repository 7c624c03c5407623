"""Embeddings of a tiny real model: what the head sees, averaged; the same bits in company, cut and with less memory."""

from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_hf_directory

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.contract import TensorData
from pocketseek.kernels.reference import multiply, unpack_matrix
from pocketseek.package.reader import Package
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.load import load
from pocketseek.runtime.work import Slice, Work
from pocketseek.types import Request, SamplingParams

PROMPT = tuple(np.random.default_rng(4).integers(0, 256, 130).tolist())
PAGES = (0, 1, 2)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    return convert_checkpoint(
        tiny_hf_directory(directory / "source"), directory / "package", quant="keep", models_dir=directory
    )


def states_and_logits(package: Path, kernels: str | None) -> tuple[np.ndarray, np.ndarray]:
    with Package.open(package) as opened:
        executor = KernelExecutor(opened, choose_kernels(kernels), num_threads=2, num_pages=4)
        other = Slice(1, (1, 2, 3), 0, (3,), 1)
        wanted = Slice(0, PROMPT, 0, PAGES, len(PROMPT), wants_states=True)
        logits = executor.run(Work((other, wanted)))[1:].copy()
        states = executor.states.copy()
        assert executor.states.shape == (len(PROMPT), opened.manifest.model.hidden_size)
        executor.run(Work((Slice(1, (4,), 3, (3,), 1),)))
        assert len(executor.states) == 0
        executor.close()
    return states, logits


@pytest.mark.parametrize("kernels", ["scalar", "reference"])
def test_the_head_makes_the_logits_of_the_states(package: Path, kernels: str) -> None:
    states, logits = states_and_logits(package, kernels)
    with Package.open(package) as opened:
        names = {entry.name for entry in opened.manifest.tensors}
        stored = opened.tensor("head.weight" if "head.weight" in names else "embed.weight")
        parts = tuple((part.first_tile, part.data.copy()) for part in stored.parts)
        head = unpack_matrix(TensorData(stored.format, stored.shape, parts))
    np.testing.assert_allclose(multiply(head, states), logits, atol=2e-3 * np.abs(logits).max())


def test_the_kernels_agree_on_the_states(package: Path) -> None:
    ours, slow = states_and_logits(package, None)[0], states_and_logits(package, "reference")[0]
    np.testing.assert_allclose(ours, slow, atol=2e-3 * np.abs(slow).max())


def test_an_embedding_is_the_mean_of_the_states(package: Path) -> None:
    states = states_and_logits(package, None)[0]
    with load(package) as engine:
        vector = engine.embed(PROMPT)
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, states.mean(axis=0), rtol=1e-4, atol=1e-6)


def test_embeddings_are_the_same_bits_in_company_and_with_less_memory(package: Path) -> None:
    texts = [PROMPT[:length] for length in (1, 40, 64, 100, 130)]
    with load(package, speculation=False) as engine:
        alone = [engine.embed(text).tobytes() for text in texts]
        answers = [engine.stream(Request(text, 30, SamplingParams(seed=1))) for text in texts]
        pending = [engine.start_embedding(text) for text in texts]
        assert [one.wait().tobytes() for one in pending] == alone
        del answers
    with load(package, prefix_cache=False) as engine:
        assert [engine.embed(text).tobytes() for text in texts] == alone
