"""Adapters on latent attention and shared experts: what they add, and that no bit of a row depends on whose adapters
are beside it. Those of dense layers are in test_adapters.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.random_model import RandomModel, config, latent_config, relative_rms, tokens_of
from kernels.test_adapters import Passes, alone, random_adapter
from numpy.typing import NDArray

from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.contract import ModelKernels, RowSpan
from pocketseek.kernels.kv_memory import KvMemory
from pocketseek.kernels.native import NativeKernels
from pocketseek.kernels.reference import ReferenceKernels
from pocketseek.package.adapter_layout import ADAPTER_TARGETS, adapter_targets
from pocketseek.shapes import MlaShape, MoeShape

BEST = supported_sets()[-1]
MLA = MlaShape(rank=48, nope_dim=24, rope_dim=8, value_dim=16, score_factor=1.3)
# Widths that are no multiples of 16 or 32, and the first layer is dense.
MOE = MoeShape(num_experts=8, experts_per_token=2, expert_size=40, shared_size=100, dense_layers=(0,))
MODELS = {
    "latents": latent_config(MLA, moe=MOE),
    "latents-q": latent_config(replace(MLA, q_rank=20), moe=MOE),
    "wide": latent_config(replace(MLA, rank=528), num_layers=1),  # two spans of latents
    "experts": config(moe=replace(MOE, shared_size=600), qkv_bias=False),  # two spans of what goes into down
}
SPARSE = {
    "latents": ("q", "kv_a", "kv_b", "o", "shared_gate", "shared_up", "shared_down"),
    "latents-q": ("q_a", "q_b", "kv_a", "kv_b", "o", "gate"),
    "wide": ("kv_b",),
    "experts": ("shared_gate", "shared_down"),
}


@pytest.mark.parametrize("rows", [4, 40])
@pytest.mark.parametrize(
    ("name", "targets"),
    [*((name, (target,)) for name, targets in SPARSE.items() for target in targets), ("latents-q", ADAPTER_TARGETS)],
)
def test_the_compiled_core_agrees_with_the_reference(name: str, targets: Sequence[str], rows: int) -> None:
    model = RandomModel("f32", MODELS[name])
    layers, tokens = random_adapter(model.config, 20, targets=targets), tokens_of(model, rows)
    native, reference = NativeKernels(model.config, BEST, 2), ReferenceKernels(model.config)
    expected = alone(model, reference, reference.load_adapter(layers), tokens)
    found = alone(model, native, native.load_adapter(layers), tokens)
    assert relative_rms(found, expected) < 3e-4
    assert relative_rms(alone(model, native, None, tokens), expected) > 3e-3


def test_every_model_has_its_targets() -> None:
    dense, sparse = adapter_targets(MODELS["latents"], 0), adapter_targets(MODELS["latents"], 1)
    assert list(dense) == ["q", "o", "gate", "up", "down", "kv_a", "kv_b"]
    assert list(sparse) == ["q", "o", "kv_a", "kv_b", "shared_gate", "shared_up", "shared_down"]
    assert sparse["kv_b"] == (3 * (24 + 16), 48)
    assert list(adapter_targets(MODELS["latents-q"], 1))[:4] == ["o", "q_a", "q_b", "kv_a"]


@pytest.mark.parametrize("kernels", supported_sets())
@pytest.mark.parametrize("format_name", ["q4p", "q8s"])
@pytest.mark.parametrize("name", MODELS)
def test_every_instruction_set_gives_the_same_bits(name: str, format_name: str, kernels: str) -> None:
    model = RandomModel(format_name, MODELS[name])
    layers, tokens = random_adapter(model.config, 37, targets=ADAPTER_TARGETS), tokens_of(model, 70)
    results = []
    for one in ("scalar", kernels):
        native = NativeKernels(model.config, one, 3)
        results.append(alone(model, native, native.load_adapter(layers), tokens).tobytes())
    assert results[0] == results[1]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_adapters_beside_each_other_cuts_and_threads_change_no_bit(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(MODELS)))
    model = RandomModel(data.draw(st.sampled_from(["q4p", "q6s"])), MODELS[name])
    kernels, other = (NativeKernels(model.config, BEST, data.draw(st.integers(1, 4))) for _ in range(2))
    wishes = [
        (data.draw(st.sampled_from([1, 2, 16, 33])), data.draw(st.sampled_from([ADAPTER_TARGETS, SPARSE[name][:1]])))
        for _ in range(4)
    ]
    all_layers = {
        f"s{seed}": random_adapter(model.config, rank, seed, targets) for seed, (rank, targets) in enumerate(wishes)
    }
    adapters: dict[str, object | None] = {one: kernels.load_adapter(layers) for one, layers in all_layers.items()}
    adapters["plain"] = None
    tokens = {one: tokens_of(model, data.draw(st.integers(2, 50)), seed) for seed, one in enumerate(adapters)}
    cuts = {one: data.draw(st.integers(1, len(tokens[one]) - 1)) for one in adapters}
    order = data.draw(st.permutations(list(adapters)))
    passes = Passes(model, kernels, adapters)
    first = passes.run(*((one, 0, tokens[one][: cuts[one]]) for one in order))
    rest = passes.run(*((one, cuts[one], tokens[one][cuts[one] :]) for one in reversed(order)))
    for one in order:
        adapter = other.load_adapter(all_layers[one]) if one in all_layers else None
        whole = alone(model, other, adapter, tokens[one])
        assert np.concatenate([first[one], rest[one]]).tobytes() == whole.tobytes()


@pytest.mark.parametrize("kernels", ["reference", BEST])
@pytest.mark.parametrize("rows", [3, 40])
def test_a_layer_in_steps_has_the_bits_of_the_whole_one(rows: int, kernels: str) -> None:
    model = RandomModel("q4p", replace(MODELS["latents-q"], moe=replace(MOE, dense_layers=())))
    both: list[ModelKernels] = [
        ReferenceKernels(model.config) if kernels == "reference" else NativeKernels(model.config, kernels, 2)
        for _ in range(2)
    ]
    results = []
    for is_whole, one in zip((True, False), both, strict=True):
        adapter = one.load_adapter(random_adapter(model.config, 5, targets=ADAPTER_TARGETS))
        spans = [RowSpan(0, rows, (0,), adapter), RowSpan(0, 2, (1,)), RowSpan(0, rows, (2,), adapter)]
        memory = KvMemory(model.config, 3)
        batch = one.begin(spans, model.inv_freq, memory)
        hidden = np.random.default_rng(3).normal(0, 1, (2 * rows + 2, model.config.hidden_size)).astype(np.float32)
        if is_whole:
            one.layers([one.load_layer(layer) for layer in model.layers], 0, batch, hidden)
        else:
            for index in range(model.config.num_layers):
                in_steps(one, model, index, batch, hidden)
        results.append(hidden.tobytes())
    assert results[0] == results[1]


def in_steps(kernels: ModelKernels, model: RandomModel, index: int, batch: object, hidden: NDArray[np.float32]) -> None:
    tensors = model.layers[index]
    layer = kernels.load_layer({name: tensor for name, tensor in tensors.items() if not name[0].isdigit()})
    chosen = sorted(set(kernels.attend_and_route(layer, index, batch, hidden).ravel().tolist()))
    experts = {
        number: kernels.load_expert({part: tensors[f"{number}.{part}"] for part in ("gate", "up", "down")})
        for number in chosen
    }
    kernels.experts({number: experts[number] for number in chosen[1:]})
    kernels.shared_experts(layer)
    kernels.experts({chosen[0]: experts[chosen[0]]})
    kernels.end_layer(hidden)


def test_a_model_without_such_a_matrix_refuses_it() -> None:
    layers = random_adapter(MODELS["latents-q"], 4, targets=("q_a",))
    kernels = NativeKernels(MODELS["latents"], BEST, 1)
    with pytest.raises(ValueError, match="no q_a"):
        kernels.load_adapter(layers)
