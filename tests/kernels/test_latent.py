"""Latent attention in the compiled core: the reference within rounding, and one set of bits on every instruction set,
thread count, batch and cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.random_model import FORMATS, RandomModel, Runner, latent_config, relative_rms, tokens_of

from pocketseek.errors import UsageError
from pocketseek.kernels import _native
from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.contract import LayerPart, RowSpan
from pocketseek.kernels.kv_memory import KV_FORMATS, KvFormat, used_page_bytes
from pocketseek.kernels.native import NativeKernels
from pocketseek.kernels.reference import ReferenceKernels
from pocketseek.shapes import MlaShape

BEST = supported_sets()[-1]
MLA = MlaShape(rank=48, nope_dim=24, rope_dim=8, value_dim=16, q_rank=20, score_factor=1.3)
WHOLE_BUNDLES = MlaShape(rank=160, nope_dim=40, rope_dim=16, value_dim=32)  # two slices of the output
both_kv_formats = pytest.mark.parametrize("kv", KV_FORMATS)


def native(model: RandomModel, kv: KvFormat = "f16", instruction_set: str = BEST, threads: int = 2) -> Runner:
    return Runner(model, NativeKernels(model.config, instruction_set, threads), num_pages=64, kv_format=kv)


def small(format_name: str = "f32", **changes: object) -> RandomModel:
    return RandomModel(format_name, latent_config(MLA, **{"num_layers": 1, **changes}))


@pytest.mark.parametrize("format_name", FORMATS)
def test_agrees_with_the_numpy_reference(format_name: str) -> None:
    model = small(format_name, num_layers=2)
    tokens = tokens_of(model, 75)
    expected = Runner(model, ReferenceKernels(model.config)).run(("a", 0, tokens))["a"]
    actual = native(model).run(("a", 0, tokens))["a"]
    # a latent's value that falls to the other side of two of f16 is one for all heads
    assert relative_rms(actual, expected) < (1e-2 if format_name[0] == "q" else 3e-4)


@both_kv_formats
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("border", [512, 1024])
def test_agrees_with_the_numpy_reference_across_borders_of_spans(border: int, threads: int, kv: KvFormat) -> None:
    """The reference, which is slow, goes on with what the core has stored."""
    model = RandomModel("f32", latent_config(WHOLE_BUNDLES, num_layers=1, num_heads=16))
    tokens, first = tokens_of(model, border + 8), border - 8
    runner = native(model, kv, threads=threads)
    runner.run(("a", 0, tokens[:first]))
    reference = Runner(model, ReferenceKernels(model.config), runner.memory.num_pages, kv)
    for page_id in range(runner.memory.num_pages):
        reference.memory.page(page_id)[:] = runner.memory.page(page_id)
    expected = reference.run(("a", first, tokens[first:]))["a"]
    actual = [runner.run(("a", position, [tokens[position]]))["a"] for position in range(first, len(tokens))]
    # a value on the edge between two of 255 steps may fall to either side
    assert relative_rms(np.concatenate(actual), expected) < (3e-4 if kv == "f16" else 1e-3)


@both_kv_formats
@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("instruction_set", supported_sets()[1:])
def test_every_instruction_set_gives_the_bits_of_the_scalar_twin(
    format_name: str, instruction_set: str, kv: KvFormat
) -> None:
    model = small(format_name)
    tokens = tokens_of(model, 75)
    expected = native(model, kv, "scalar").run(("a", 0, tokens))["a"]
    assert native(model, kv, instruction_set).run(("a", 0, tokens))["a"].tobytes() == expected.tobytes()
    assert np.isfinite(expected).all()
    assert expected.std() > 0.01


SHAPES = [
    (MlaShape(16, 2, 2, 16), {"num_heads": 1}),
    (MlaShape(64, 32, 64, 48, q_rank=33), {"num_heads": 16}),
    (MlaShape(144, 16, 6, 16), {"num_heads": 17}),  # two bundles of a row, the second with one head
    (MlaShape(32, 130, 30, 16, score_factor=0.7), {"num_heads": 70}),  # more bundles of a row than a task has
    (MlaShape(272, 8, 8, 32, q_rank=300), {"num_heads": 2, "hidden_size": 33}),
]


@both_kv_formats
@pytest.mark.parametrize(("mla", "changes"), SHAPES, ids=str)
def test_odd_shapes_agree_across_sets_and_threads_and_with_the_reference(
    mla: MlaShape, changes: dict[str, int], kv: KvFormat
) -> None:
    model = RandomModel("f32", latent_config(mla, num_layers=1, **changes))
    tokens = tokens_of(model, 70)
    expected = Runner(model, ReferenceKernels(model.config), kv_format=kv).run(("a", 0, tokens))["a"]
    results = [native(model, kv, name, n).run(("a", 0, tokens))["a"] for name in supported_sets() for n in (1, 2)]
    assert relative_rms(results[0], expected) < 1e-3
    assert len({result.tobytes() for result in results}) == 1


@both_kv_formats
@pytest.mark.parametrize("threads", [1, 3])
def test_one_by_one_across_the_borders_of_spans_gives_the_bits_of_one_pass(kv: KvFormat, threads: int) -> None:
    model = small("q8s")
    tokens = tokens_of(model, 1060)
    whole = native(model, kv, threads=1).run(("a", 0, tokens))["a"]
    runner = native(model, kv, threads=threads)
    cuts = [0, 1, 60, *range(508, 517), 700, *range(1020, 1030), 1060]
    parts = [runner.run(("a", a, tokens[a:b]))["a"] for a, b in itertools.pairwise(cuts)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@both_kv_formats
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_company_drafts_and_threads_change_no_bit(kv: KvFormat, data: st.DataObject) -> None:
    """Of few rows spans are tasks of their own, or pages and slices of the output where there are few spans, too."""
    heads = data.draw(st.sampled_from([1, 16, 40]))
    mla = data.draw(st.sampled_from([MLA, WHOLE_BUNDLES]))
    model = RandomModel("f32", latent_config(mla, num_layers=1, num_heads=heads))
    lengths = data.draw(st.lists(st.integers(1, 600), min_size=1, max_size=3))
    drafts = data.draw(st.lists(st.integers(1, 9), min_size=len(lengths), max_size=len(lengths)))
    results = []
    for threads in (1, data.draw(st.integers(2, 9))):
        runner = native(model, kv, threads=threads)
        for index, length in enumerate(lengths):
            runner.run((str(index), 0, tokens_of(model, length, seed=index)))
        tails = [
            (str(i), n, tokens_of(model, k, seed=50 + i)) for i, (n, k) in enumerate(zip(lengths, drafts, strict=True))
        ]
        alone = {} if threads == 1 else runner.run(*tails)
        for piece in tails if threads == 1 else ():
            alone |= runner.run(piece)
        results.append(alone)
    for name, logits in results[0].items():
        assert logits.tobytes() == results[1][name].tobytes()


def test_a_long_context_in_waves_gives_the_bits_of_one_thread() -> None:
    model = RandomModel("f32", latent_config(MlaShape(16, 8, 8, 16), num_layers=1, num_heads=1, hidden_size=32))
    tokens = tokens_of(model, 8300)  # more spans than two threads do before they merge
    results = []
    for threads in (1, 2):
        runner = Runner(model, NativeKernels(model.config, BEST, threads), num_pages=140)
        runner.run(("a", 0, tokens))
        results.append(runner.run(("a", len(tokens), tokens[:1]))["a"])
    assert results[0].tobytes() == results[1].tobytes()


def test_more_heads_than_a_block_of_rows_holds_give_the_bits_of_small_passes() -> None:
    model = small("q4p", num_heads=70)  # 29 rows in a block
    tokens = tokens_of(model, 100)
    whole = native(model).run(("a", 0, tokens))["a"]
    runner = native(model)
    parts = [runner.run(("a", first, tokens[first : first + 10]))["a"] for first in range(0, 100, 10)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("instruction_set", supported_sets())
@both_kv_formats
def test_overflow_shows_as_nan_and_not_as_numbers(instruction_set: str, kv: KvFormat) -> None:
    model = small("q8s")
    model.layers[0]["kv_a_norm"].vector()[3] = np.inf
    with np.errstate(all="ignore"):
        logits = native(model, kv, instruction_set).run(("a", 0, tokens_of(model, 3)))["a"]
    assert np.isnan(logits).any(axis=1).all()


@both_kv_formats
def test_the_core_and_the_pool_agree_about_a_page(kv: KvFormat) -> None:
    mla = MlaShape(rank=512, nope_dim=128, rope_dim=64, value_dim=128)
    for shape in (mla, MLA):
        model = latent_config(shape, num_layers=1)
        latents = _native.LatentShape(shape.rank, shape.nope_dim, shape.rope_dim, shape.value_dim, 0, 1.0)
        core = _native.ModelShape(72, 100, 3, 1, model.head_dim, 1e-6, kv, latents)
        assert core.layer_bytes == used_page_bytes(model, kv)


def test_layers_with_latents_are_not_done_in_parts() -> None:
    model = small()
    runner = native(model)
    assert not runner.kernels.can_stream
    rows = runner.kernels.begin([RowSpan(0, 1, (0,))], model.inv_freq, runner.memory)
    hidden = np.zeros((1, model.config.hidden_size), np.float32)
    with pytest.raises(UsageError, match="whole only"):
        runner.kernels.layer_part(runner.layers[0], 0, LayerPart("qkv", 0, 1), rows, hidden)
    none = np.empty(0, np.int32)
    with pytest.raises(UsageError, match="whole only"):
        runner.kernels.head_part(model.head_norm, runner.head, hidden, none, hidden[:0], 0, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 24}, "multiples of 16"),
        ({"value_dim": 8}, "multiples of 16"),
        ({"rank": 0}, "multiples of 16"),
        ({"rope_dim": 3}, "dimensions"),
        ({"q_rank": -1}, "impossible"),
        ({"nope_dim": 20}, "nope_dim"),
    ],
    ids=str,
)
def test_impossible_shapes_are_refused(changes: dict[str, int], message: str) -> None:
    sizes = {"rank": 48, "nope_dim": 24, "rope_dim": 8, "value_dim": 16, "q_rank": 0} | changes
    with pytest.raises(ValueError, match=message):
        _native.ModelShape(72, 100, 3, 1, 32, 1e-6, "f16", _native.LatentShape(*sizes.values(), 1.0))


def test_a_layer_that_lacks_a_norm_of_its_latents_is_refused() -> None:
    model = small()
    del model.layers[0]["kv_a_norm"]
    with pytest.raises(ValueError, match="norm"):
        native(model)
