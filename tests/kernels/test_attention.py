"""Attention over pages of f16 and int8: the same bits however rows, spans and threads share the work."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.random_model import RandomModel, Runner, config, relative_rms, tokens_of

from pocketseek.kernels.choose import KernelChoice, supported_sets
from pocketseek.kernels.kv_memory import KV_FORMATS, KvFormat
from pocketseek.kernels.native import NativeKernels
from pocketseek.kernels.reference import ReferenceKernels, read_kv, write_kv

BEST = supported_sets()[-1]
both_kv_formats = pytest.mark.parametrize("kv", KV_FORMATS)


def native(model: RandomModel, kv: KvFormat, instruction_set: str = BEST, threads: int = 2) -> Runner:
    return Runner(model, NativeKernels(model.config, instruction_set, threads), num_pages=64, kv_format=kv)


@both_kv_formats
@pytest.mark.parametrize("heads", [(6, 2, 24), (14, 1, 64), (5, 5, 16), (26, 2, 8), (14, 2, 32)], ids=str)
def test_every_instruction_set_gives_the_bits_of_the_scalar_twin(kv: KvFormat, heads: tuple[int, int, int]) -> None:
    num_heads, num_kv_heads, head_dim = heads
    shape = config(num_layers=1, num_heads=num_heads, num_kv_heads=num_kv_heads, head_dim=head_dim)
    model = RandomModel("f32", shape)
    tokens = tokens_of(model, 540)
    expected = native(model, kv, "scalar").run(("a", 0, tokens))["a"]
    assert np.isfinite(expected).all()
    for instruction_set in supported_sets()[1:]:
        assert native(model, kv, instruction_set).run(("a", 0, tokens))["a"].tobytes() == expected.tobytes(), (
            instruction_set
        )


@both_kv_formats
def test_agrees_with_the_numpy_reference_over_several_spans(kv: KvFormat) -> None:
    model = RandomModel("f32", config(num_layers=1))
    tokens = tokens_of(model, 1100)
    expected = Runner(model, ReferenceKernels(model.config), kv_format=kv).run(("a", 0, tokens))["a"]
    actual = native(model, kv).run(("a", 0, tokens))["a"]
    # a key or value on the edge between two of 255 steps may fall to either side
    assert relative_rms(actual, expected) < (1e-4 if kv == "f16" else 5e-4)


@pytest.mark.parametrize("kernels", ["reference", *supported_sets()])
def test_int8_pages_change_the_result_but_little(kernels: str) -> None:
    model = RandomModel("f32")
    tokens = tokens_of(model, 300)
    choice = KernelChoice(kernels, "tested")
    half, eight = (
        Runner(model, choice.open(model.config, 2), kv_format=kv).run(("a", 0, tokens))["a"] for kv in KV_FORMATS
    )
    assert 1e-5 < relative_rms(eight, half) < 2e-2


@both_kv_formats
@pytest.mark.parametrize("cut", [1, 64, 511, 512, 513, 700, 1030])
def test_long_contexts_cross_spans_with_the_same_bits(kv: KvFormat, cut: int) -> None:
    model = RandomModel("f16", config(num_layers=1))
    tokens = tokens_of(model, 1060)
    whole = native(model, kv).run(("a", 0, tokens))["a"]
    runner = native(model, kv)
    first = runner.run(("a", 0, tokens[:cut]))["a"]
    second = runner.run(("a", cut, tokens[cut:]))["a"]
    assert np.concatenate([first, second]).tobytes() == whole.tobytes()


@both_kv_formats
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_spans_on_many_threads_give_the_bits_of_one(kv: KvFormat, data: st.DataObject) -> None:
    """Decode rows and drafts of several long sequences: too few blocks of rows for the threads, so spans are tasks."""
    model = RandomModel("f32", config(num_layers=1))
    lengths = data.draw(st.lists(st.integers(1, 1300), min_size=1, max_size=3))
    drafts = data.draw(st.lists(st.integers(1, 9), min_size=len(lengths), max_size=len(lengths)))
    threads = data.draw(st.integers(2, 9))
    results = []
    for count in (1, threads):
        runner = native(model, kv, threads=count)
        for index, length in enumerate(lengths):
            runner.run((str(index), 0, tokens_of(model, length, seed=index)))
        tails = [
            (str(i), n, tokens_of(model, k, seed=50 + i)) for i, (n, k) in enumerate(zip(lengths, drafts, strict=True))
        ]
        results.append(runner.run(*tails))
    for name, logits in results[0].items():
        assert logits.tobytes() == results[1][name].tobytes()


def test_a_head_of_int8_pages_is_read_back_as_it_was_rounded() -> None:
    model_config = config(num_layers=1)
    runner = Runner(RandomModel("f32", model_config), ReferenceKernels(model_config), kv_format="q8")
    heads = runner.memory.layer_of_page(3, 0)
    rng = np.random.default_rng(5)
    k, v = (rng.normal(size=(2, 24)).astype(np.float32) for _ in range(2))
    write_kv(heads, 7, k, v)
    keys, values = read_kv([heads], 24, 8)
    for read, written in ((keys[:, :, 7], k), (values[:, 7], v)):
        steps = np.abs(written).max(axis=1, keepdims=True) / 127
        assert (np.abs(read - written) <= steps * 0.501).all()
