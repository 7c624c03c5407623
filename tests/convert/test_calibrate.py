"""Calibration computes what the model does, and what it quantises changes the output less than rounding does."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pocketseek.convert.calibrate import Calibration, QuantisedMatrix, compensated
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.gram import Gram, GramBlock
from pocketseek.convert.layer_math import Floats
from pocketseek.convert.quantize import dequantize, quantize
from pocketseek.convert.slabs import read_vector
from pocketseek.convert.sources.open import open_source

GOLDEN = Path(__file__).parents[1] / "golden" / "data"
CASES = sorted(path.name for path in GOLDEN.iterdir() if not path.name.startswith(("deepseek-", "qwen3-moe")))  # dense


def as_it_is(name: str, weights: Floats, gram: Gram) -> QuantisedMatrix:
    return QuantisedMatrix(None, weights, 0.0, 0.0)


@pytest.mark.parametrize("case", CASES)
def test_the_forward_pass_is_that_of_transformers(case: str) -> None:
    golden = np.load(GOLDEN / case / "golden.npz")
    with closing(open_source(GOLDEN / case)) as source:
        plan = choose_planner(source)(source)
        calibration = Calibration(source, plan, golden["input_ids"].astype(np.int32).reshape(1, -1))
        embed = calibration.matrix("head.weight" if plan.model.tied_embeddings else "embed.weight")
        calibration.embed(lambda ids: embed[ids])
        for index in range(plan.model.num_layers):
            calibration.layer(index, as_it_is)
        x = calibration.head(None)
        logits = x @ calibration.matrix("head.weight").T
        assert read_vector(source, plan.tensors[-2]).shape == (plan.model.hidden_size,)
    np.testing.assert_allclose(logits, golden["logits"], atol=2e-4)


def inputs(rows: int, cols: int, seed: int = 5) -> Floats:
    """Correlated, and of very different sizes, as hidden states are."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(cols, cols)) / np.sqrt(cols) + np.diag(np.exp(rng.normal(size=cols)))
    return (rng.normal(size=(rows, cols)) @ mixing).astype(np.float32)


@pytest.mark.parametrize("format_name", ["q4p", "q4s", "q4a", "q6s"])
@pytest.mark.parametrize("cols", [256, 320, 600])
def test_outputs_change_less_than_by_rounding(format_name: str, cols: int) -> None:
    x = inputs(2000, cols)
    weights = np.random.default_rng(1).normal(size=(48, cols)).astype(np.float32) * np.float32(0.05)
    gram = Gram(cols)
    gram.add(x)
    rounded = dequantize(format_name, quantize(format_name, weights))[:, :cols]
    matrix = compensated(format_name, weights, gram)
    assert matrix.planes is not None
    np.testing.assert_array_equal(matrix.values, dequantize(format_name, matrix.planes)[:, :cols])
    unseen = inputs(500, cols, seed=5)  # of the same kind
    error = np.square((matrix.values - weights) @ unseen.T).sum()
    assert error < 0.6 * np.square((rounded - weights) @ unseen.T).sum()


@pytest.mark.parametrize("format_name", ["q4p", "q4s", "q4a", "q6s"])
def test_rows_do_not_depend_on_what_is_quantised_with_them(format_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gram = Gram(256)
    gram.add(inputs(500, 256))
    weights = np.random.default_rng(4).normal(size=(80, 256)).astype(np.float32)
    whole = compensated(format_name, weights, gram).values
    monkeypatch.setattr("pocketseek.convert.compensate._SLAB_VALUES", 16 * 256)
    np.testing.assert_allclose(compensated(format_name, weights, gram).values, whole, atol=0.02)
    assert np.mean(compensated(format_name, weights, gram).values == whole) > 0.99  # BLAS rounds by shape


def test_a_gram_in_blocks_is_that_of_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.convert.gram.WIDEST", 256)
    x = inputs(100, 600)
    gram = Gram(600)
    gram.add(x[:37])
    gram.add(x[37:])
    assert [(block.start, block.stop) for block in gram.blocks] == [(0, 256), (256, 512), (512, 600)]
    for block in gram.blocks:
        part = x[:, block.start : block.stop]
        np.testing.assert_allclose(block.matrix, part.T @ part, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(gram.importance, np.square(x).mean(axis=0), rtol=1e-4)


def test_the_error_of_wide_inputs_has_the_terms_between_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.convert.gram.WIDEST", 256)
    monkeypatch.setattr("pocketseek.convert.gram.SAMPLED_EVERY", 3)
    x = np.repeat(inputs(40, 600), 3, axis=0)  # so that a third of the rows stands for all
    x[:, 256:512] = x[:, :256]
    gram = Gram(600)
    gram.add(x[:60])
    gram.add(x[60:])
    difference = np.random.default_rng(1).normal(size=(16, 600)).astype(np.float32)
    difference[:, 256:512] = -difference[:, :256]  # these cancel
    wanted = np.square(x[:, 512:] @ difference[:, 512:].T).sum(axis=1).mean()
    assert gram.error_of(difference) == pytest.approx(wanted, rel=1e-3)


def test_what_is_computed_of_a_gram_is_computed_once_until_rows_come() -> None:
    gram, blocks = Gram(64), []
    gram.add(inputs(100, 64))

    def factor_of(block: GramBlock) -> Floats:
        blocks.append(block)
        return block.matrix

    assert gram.factors(factor_of) is gram.factors(factor_of)
    assert len(blocks) == 1
    gram.add(inputs(10, 64))
    gram.factors(factor_of)
    assert len(blocks) == 2


def test_inputs_that_were_never_seen_are_rounded_all_the_same() -> None:
    gram = Gram(256)
    gram.add(np.zeros((10, 256), np.float32))
    weights = np.random.default_rng(2).normal(size=(16, 256)).astype(np.float32)
    values = compensated("q4p", weights, gram).values
    assert np.sqrt(np.square(values - weights).mean() / np.square(weights).mean()) < 0.12


def test_the_error_is_that_of_the_outputs() -> None:
    x = inputs(300, 64)
    gram = Gram(64)
    gram.add(x)
    weights = np.random.default_rng(3).normal(size=(16, 64)).astype(np.float32)
    matrix = compensated("q4s", weights, gram)
    outputs = np.square((matrix.values - weights) @ x.T).sum(axis=0).mean()
    assert matrix.error == pytest.approx(outputs, rel=1e-3)
    assert matrix.norm == pytest.approx(np.square(weights @ x.T).sum(axis=0).mean(), rel=1e-3)
