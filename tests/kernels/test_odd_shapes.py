"""Shapes that nothing divides evenly: all instruction sets give the bits of the scalar twin, and the reference agrees.

Derandomised, so that a failure here is a failure everywhere; hypothesis prints the example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.random_model import (
    FORMATS,
    RandomModel,
    Runner,
    config,
    random_matrix,
    random_vector,
    relative_rms,
    tokens_of,
)
from numpy.typing import NDArray

from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.contract import LAYER_MATRICES
from pocketseek.kernels.kv_memory import KV_FORMATS, KvFormat
from pocketseek.kernels.native import NativeKernels
from pocketseek.kernels.reference import ReferenceKernels
from pocketseek.types import ModelConfig

MAX_ROWS = 40
HEAD_DIMS = (2, 24, 64, 80, 96, 128, 160, 192, 250, 256)

any_format = st.sampled_from(FORMATS)
num_rows = st.integers(1, MAX_ROWS)
# around the borders of blocks (32) and superblocks (256), up to two and a half superblocks
num_inputs = st.builds(lambda edge, off: max(1, edge + off), st.sampled_from(range(0, 641, 32)), st.integers(-3, 3))


def odd_examples(number: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(max_examples=number, deadline=None, derandomize=True, database=None)


def bound(format_name: str) -> float:
    """As in test_native.py."""
    return 1e-2 if format_name[0] == "q" else 1e-4


def agree(results: dict[str, NDArray[np.float32]], expected: NDArray[np.float32], format_name: str) -> None:
    scalar = results["scalar"]
    for name, result in results.items():
        assert result.tobytes() == scalar.tobytes(), f"{name} differs from the scalar twin"
    assert np.isfinite(expected).all()
    assert relative_rms(scalar, expected) < bound(format_name)


def layer_config(**changes: int) -> ModelConfig:
    return config(**{"num_layers": 1, "hidden_size": 48, "intermediate_size": 32, "vocab_size": 20, **changes})


def check_model(
    format_name: str,
    shape: ModelConfig,
    rows: int,
    cut: int = 0,
    kv: KvFormat = "f16",
    formats: Mapping[str, str] | None = None,
    threads: int = 2,
) -> None:
    """One pass of `rows` rows, or two with the first `cut` rows in the first."""
    model = RandomModel(format_name, shape, formats=formats)
    tokens = tokens_of(model, rows)
    pieces = [("a", first, part) for first, part in ((0, tokens[:cut]), (cut, tokens[cut:])) if part]

    def logits(runner: Runner) -> NDArray[np.float32]:
        return np.concatenate([runner.run(piece)["a"] for piece in pieces])

    results = {name: logits(Runner(model, NativeKernels(shape, name, threads), 2, kv)) for name in supported_sets()}
    agree(results, logits(Runner(model, ReferenceKernels(shape), 2, kv)), format_name)


@odd_examples(40)
@given(format_name=any_format, outputs=st.integers(1, 100), inputs=num_inputs, rows=num_rows, parts=st.integers(1, 3))
def test_matrices_of_any_shape(format_name: str, outputs: int, inputs: int, rows: int, parts: int) -> None:
    check_head(format_name, outputs, inputs, rows, parts)


@pytest.mark.parametrize("last_blocks", range(1, 9))
def test_q4p_with_every_length_of_the_last_superblock(last_blocks: int) -> None:
    for rows in (1, 7, 33):  # below, beside and above the number of rows from which tiles are expanded
        check_head("q4p", 33, 256 + 32 * last_blocks - 5, rows)


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize(("vocabulary", "hidden"), [(1, 32), (17, 33), (32_003, 24), (200_000, 8)])
def test_vocabularies_of_any_size(format_name: str, vocabulary: int, hidden: int) -> None:
    check_head(format_name, vocabulary, hidden, 2)


def check_head(format_name: str, vocabulary: int, hidden_size: int, rows: int, parts: int = 1) -> None:
    """Embedding and head with one table, which is also the plainest way to one matrix product."""
    shape = layer_config(vocab_size=vocabulary, hidden_size=hidden_size)
    rng = np.random.default_rng(vocabulary + hidden_size)
    tensor, norm = random_matrix(rng, format_name, vocabulary, hidden_size, parts), random_vector(rng, hidden_size)
    ids = rng.integers(0, vocabulary, rows).astype(np.int32)
    ids[-1] = vocabulary - 1
    chosen = np.arange(rows, dtype=np.int32)

    def outcome(kernels: NativeKernels | ReferenceKernels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        table = kernels.load_matrix(tensor)
        hidden, logits = np.empty((rows, hidden_size), np.float32), np.empty((rows, vocabulary), np.float32)
        kernels.embed(table, ids, hidden)
        kernels.head(norm.vector(), table, hidden, chosen, logits)
        return hidden, logits

    outcomes = {name: outcome(NativeKernels(shape, name, 2)) for name in supported_sets()}
    embedded, logits = outcome(ReferenceKernels(shape))
    agree({name: outcome[0] for name, outcome in outcomes.items()}, embedded, format_name)
    agree({name: outcome[1] for name, outcome in outcomes.items()}, logits, format_name)


@odd_examples(30)
@given(
    format_name=any_format,
    head_dim=st.sampled_from(HEAD_DIMS),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 14),
    rows=num_rows,
    kv=st.sampled_from(KV_FORMATS),
    data=st.data(),
)
def test_heads_of_any_size_and_number(
    format_name: str, head_dim: int, kv_heads: int, group: int, rows: int, kv: KvFormat, data: st.DataObject
) -> None:
    shape = layer_config(head_dim=head_dim, num_kv_heads=kv_heads, num_heads=kv_heads * group)
    check_model(format_name, shape, rows, cut=data.draw(st.integers(0, rows - 1)), kv=kv)


@odd_examples(30)
@given(
    format_name=any_format,
    hidden=num_inputs,
    intermediate=num_inputs,
    vocabulary=st.integers(1, 60),
    rows=num_rows,
    extras=st.booleans(),
)
def test_layers_of_any_width(
    format_name: str, hidden: int, intermediate: int, vocabulary: int, rows: int, extras: bool
) -> None:
    shape = layer_config(
        hidden_size=hidden,
        intermediate_size=intermediate,
        vocab_size=vocabulary,
        num_heads=1,
        num_kv_heads=1,
        qkv_bias=extras,
        qk_norm=extras,
    )
    check_model(format_name, shape, rows)


# All kinds of neighbours in the piece of one thread: q, k and v are one loop; a panel has no rows for small kernels.
@odd_examples(60)
@given(
    formats=st.fixed_dictionaries(dict.fromkeys(LAYER_MATRICES, any_format | st.just("q4p"))),
    hidden=num_inputs,
    intermediate=num_inputs,
    heads=st.sampled_from([(1, 1, 16), (1, 1, 50), (3, 1, 16), (5, 1, 48), (4, 2, 24), (6, 3, 80)]),
    rows=st.integers(1, 80),
    threads=st.integers(1, 2),
    data=st.data(),
)
def test_layers_of_mixed_formats(
    formats: dict[str, str],
    hidden: int,
    intermediate: int,
    heads: tuple[int, int, int],
    rows: int,
    threads: int,
    data: st.DataObject,
) -> None:
    num_heads, num_kv_heads, head_dim = heads
    shape = layer_config(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
    )
    check_model("q4p", shape, rows, cut=data.draw(st.integers(0, rows - 1)), formats=formats, threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [32, 33, 41, 80])
@pytest.mark.parametrize("width", ["narrow", "wide"])
def test_a_q4p_matrix_behind_another_format_is_expanded_too(width: str, rows: int, threads: int) -> None:
    num_heads, num_kv_heads, head_dim = (1, 1, 16) if width == "narrow" else (40, 8, 80)
    shape = layer_config(num_heads=num_heads, num_kv_heads=num_kv_heads, head_dim=head_dim, hidden_size=288)
    check_model("q4p", shape, rows, formats={"k": "q8s"}, threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_thousands_of_rows_of_mixed_formats_give_the_bits_of_small_passes(threads: int) -> None:
    shape = layer_config(num_heads=1, num_kv_heads=1, head_dim=16)
    model = RandomModel("q4p", shape, formats={"k": "q8s"})
    rows = 32 * 264 + 1  # as many sweeps as it takes for the last to have a single row, where groups have eight
    sequences = {str(first): tokens_of(model, min(64, rows - first), seed=first) for first in range(0, rows, 64)}
    kernels = NativeKernels(shape, supported_sets()[-1], threads)
    pieces = [(name, 0, tokens) for name, tokens in sequences.items()]
    together = Runner(model, kernels, len(pieces)).run(*pieces)
    runner = Runner(model, NativeKernels(shape, supported_sets()[-1], 1), len(pieces))
    for name, tokens in sequences.items():
        small = [runner.run((name, first, tokens[first : first + 16]))[name] for first in range(0, len(tokens), 16)]
        assert np.concatenate(small).tobytes() == together[name].tobytes()
