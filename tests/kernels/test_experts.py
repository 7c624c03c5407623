"""Layers with experts in the compiled core: the reference within rounding, and one set of bits on every instruction
set, thread count, batch and cut. What the steps of such a layer refuse is in test_expert_steps.py."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.random_model import (
    FORMATS,
    RandomModel,
    Runner,
    config,
    latent_config,
    random_matrix,
    relative_rms,
    tokens_of,
)
from numpy.typing import NDArray

from pocketseek.errors import UsageError
from pocketseek.kernels import _native
from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.contract import LayerPart, ModelKernels, RowSpan, TensorData
from pocketseek.kernels.kv_memory import KvMemory
from pocketseek.kernels.native import NativeKernels
from pocketseek.kernels.reference import ReferenceKernels
from pocketseek.shapes import MlaShape, MoeShape
from pocketseek.types import ModelConfig

BEST = supported_sets()[-1]
# Widths that are no multiples of the 16 outputs of a tile or of the 32 inputs of a block.
MOE = MoeShape(num_experts=10, experts_per_token=3, expert_size=40, shared_size=100)
VARIANTS = {
    "v2-lite": MOE,
    "v2": replace(MOE, num_groups=5, groups_per_token=2, weight_factor=16.0),
    "v3": MoeShape(
        num_experts=24,
        experts_per_token=4,
        expert_size=33,
        shared_size=16,
        score="sigmoid",
        score_bias=True,
        num_groups=4,
        groups_per_token=2,
        group_score="best_two",
        normalised=True,
        weight_factor=2.5,
    ),
    "qwen3": MoeShape(num_experts=16, experts_per_token=5, expert_size=48, normalised=True),
    "all": MoeShape(num_experts=3, experts_per_token=3, expert_size=7, shared_size=9),
}
Values = NDArray[np.float32]


def moe_config(moe: MoeShape = MOE, **changes: object) -> ModelConfig:
    return config(**{"family": "qwen3_moe", "moe": moe, "num_layers": 1, "qkv_bias": False, **changes})


def native(model: RandomModel, instruction_set: str = BEST, threads: int = 2) -> Runner:
    return Runner(model, NativeKernels(model.config, instruction_set, threads))


@pytest.mark.parametrize("format_name", FORMATS)
def test_agrees_with_the_numpy_reference(format_name: str) -> None:
    model = RandomModel(format_name, moe_config(replace(MOE, dense_layers=(0,)), num_layers=2))
    tokens = tokens_of(model, 75)
    expected = Runner(model, ReferenceKernels(model.config)).run(("a", 0, tokens))["a"]
    assert relative_rms(native(model).run(("a", 0, tokens))["a"], expected) < (
        1e-2 if format_name[0] == "q" else 3e-4  # an activation on the edge between two of 255 steps falls to either
    )


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("instruction_set", supported_sets()[1:])
def test_every_instruction_set_gives_the_bits_of_the_scalar_twin(format_name: str, instruction_set: str) -> None:
    model = RandomModel(format_name, moe_config())
    tokens = tokens_of(model, 150)
    expected = native(model, "scalar").run(("a", 0, tokens))["a"]
    assert native(model, instruction_set).run(("a", 0, tokens))["a"].tobytes() == expected.tobytes()
    assert np.isfinite(expected).all()
    assert expected.std() > 0.01


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_way_to_choose_agrees_across_sets_and_threads_and_with_the_reference(variant: str) -> None:
    model = RandomModel("f32", moe_config(VARIANTS[variant]))
    tokens = tokens_of(model, 60)
    expected = Runner(model, ReferenceKernels(model.config)).run(("a", 0, tokens))["a"]
    results = [native(model, name, n).run(("a", 0, tokens))["a"] for name in supported_sets() for n in (1, 3)]
    assert relative_rms(results[0], expected) < 1e-3
    assert len({result.tobytes() for result in results}) == 1


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_company_cuts_and_threads_change_no_bit(data: st.DataObject) -> None:
    moe, format_name = data.draw(st.sampled_from([*VARIANTS.values()])), data.draw(st.sampled_from(FORMATS))
    model = RandomModel(format_name, moe_config(moe))
    lengths = data.draw(st.lists(st.integers(1, 120), min_size=1, max_size=3))
    tokens = {str(index): tokens_of(model, length, seed=index) for index, length in enumerate(lengths)}
    together = native(model, threads=data.draw(st.integers(1, 5))).run(*((name, 0, t) for name, t in tokens.items()))
    alone = native(model, threads=data.draw(st.integers(1, 5)))
    for name, all_tokens in tokens.items():
        cut = data.draw(st.integers(0, len(all_tokens) - 1))
        parts = [alone.run((name, a, all_tokens[a:b]))[name] for a, b in ((0, cut), (cut, len(all_tokens))) if a < b]
        assert np.concatenate(parts).tobytes() == together[name].tobytes()


@pytest.mark.parametrize("format_name", ["q4p", "q8s"])
def test_long_passes_in_waves_and_sweeps_give_the_bits_of_short_ones(format_name: str) -> None:
    """Where all rows choose the same, an expert has more than one reading serves, and a wave holds one expert."""
    moe = MoeShape(
        num_experts=4, experts_per_token=2, expert_size=300, shared_size=20, score="sigmoid", score_bias=True
    )
    model = RandomModel(format_name, moe_config(moe))
    model.layers[0]["router_bias"].vector()[:] = [0, 9, 0, 8]
    tokens = tokens_of(model, 600)
    whole = native(model, threads=3).run(("a", 0, tokens))["a"]
    runner = native(model, threads=1)
    parts = [runner.run(("a", first, tokens[first : first + 40]))["a"] for first in range(0, 600, 40)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_threads_round_jobs_of_unequal_widths_without_touching_each_others_rows() -> None:
    """Shared and chosen experts of one wave, packed into panels; where threads meet is chance, so more than once."""
    moe = MoeShape(
        num_experts=4, experts_per_token=2, expert_size=300, shared_size=1100, score="sigmoid", score_bias=True
    )
    model = RandomModel("q4p", moe_config(moe))
    model.layers[0]["router_bias"].vector()[:] = [0, 9, 0, 8]
    tokens = tokens_of(model, 120)
    expected = native(model, threads=1).run(("a", 0, tokens))["a"].tobytes()
    for threads in (2, 3, 4) * 15:
        assert native(model, threads=threads).run(("a", 0, tokens))["a"].tobytes() == expected, threads


class Steps:
    """Layer 0 of a random model in steps, on kernels of its own, at the beginning of a sequence."""

    def __init__(self, model: RandomModel, kernels: ModelKernels, num_rows: int) -> None:
        self.kernels, tensors = kernels, model.layers[0]
        self.layer = kernels.load_layer({name: data for name, data in tensors.items() if not name[0].isdigit()})
        moe = model.config.moe
        assert moe is not None
        self.weights = [
            kernels.load_expert({part: tensors[f"{number}.{part}"] for part in ("gate", "up", "down")})
            for number in range(moe.num_experts)
        ]
        self.whole = kernels.load_layer(tensors)
        self.memory = KvMemory(model.config, 16)
        self.rows = kernels.begin([RowSpan(0, num_rows, tuple(range(16)))], model.inv_freq, self.memory)
        rng = np.random.default_rng(6)
        self.input = rng.normal(0, 1, (num_rows, model.config.hidden_size)).astype(np.float32)

    def choose(self) -> tuple[NDArray[np.int32], Values]:
        hidden = self.input.copy()
        return self.kernels.attend_and_route(self.layer, 0, self.rows, hidden), hidden

    def at_once(self) -> Values:
        hidden = self.input.copy()
        self.kernels.layers([self.whole], 0, self.rows, hidden)
        return hidden

    def in_groups(self, groups: Sequence[Sequence[int]]) -> Values:
        _, hidden = self.choose()
        for group in groups:
            self.kernels.experts({number: self.weights[number] for number in group})
        self.kernels.shared_experts(self.layer)
        self.kernels.end_layer(hidden)
        return hidden


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_kernels_choose_the_same(variant: str) -> None:
    model = RandomModel("f32", moe_config(VARIANTS[variant]))
    expected, _ = Steps(model, ReferenceKernels(model.config), 200).choose()
    for name in supported_sets():
        chosen, _ = Steps(model, NativeKernels(model.config, name, 2), 200).choose()
        np.testing.assert_array_equal(chosen, expected)


@pytest.mark.parametrize("instruction_set", supported_sets())
def test_of_equal_experts_and_groups_the_first_are_chosen(instruction_set: str) -> None:
    def chosen(moe: MoeShape) -> set[tuple[int, ...]]:
        model = RandomModel("f32", moe_config(moe))
        model.layers[0]["router"].parts[0][1][:] = 0
        if moe.score_bias:
            model.layers[0]["router_bias"].vector()[:] = [0, 0, 1, 1, 1, 0, 1, 1]
        numbers, _ = Steps(model, NativeKernels(model.config, instruction_set, 2), 3).choose()
        return {tuple(row) for row in numbers.tolist()}

    plain = MoeShape(num_experts=8, experts_per_token=3, expert_size=16)
    assert chosen(plain) == {(0, 1, 2)}
    assert chosen(replace(plain, num_groups=4, groups_per_token=2)) == {(0, 1, 2)}
    biased = replace(plain, score="sigmoid", score_bias=True, num_groups=4, groups_per_token=2)
    assert chosen(biased) == {(2, 3, 4)}  # all but the first group are as good
    assert chosen(replace(biased, group_score="best_two")) == {(2, 3, 6)}


@pytest.mark.parametrize("num_rows", [1, 9, 70])
def test_experts_of_all_formats_in_any_order_and_groups_give_the_bits_of_the_whole_layer(num_rows: int) -> None:
    """In steps nobody knows beforehand which forms of the rows experts will read."""
    formats = itertools.cycle(FORMATS)
    of = {f"{number}.{part}": next(formats) for number in range(10) for part in ("gate", "up", "down")}
    model = RandomModel("q4p", moe_config(), formats=of)
    steps = Steps(model, NativeKernels(model.config, BEST, 2), num_rows)
    expected, random = steps.at_once(), np.random.default_rng(9)
    numbers = np.unique(steps.choose()[0]).tolist()
    for size in (1, 2, 5, 10):
        random.shuffle(numbers)
        groups = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        assert steps.in_groups(groups).tobytes() == expected.tobytes()


def test_between_steps_the_number_of_threads_may_change() -> None:
    model = RandomModel("q4p", moe_config())
    steps = Steps(model, NativeKernels(model.config, BEST, 1), 70)
    expected = steps.at_once()
    chosen, hidden = steps.choose()
    for threads, number in enumerate(np.unique(chosen).tolist(), 2):
        steps.kernels.set_num_threads(threads % 4 + 1)
        steps.kernels.experts({number: steps.weights[number]})
    steps.kernels.shared_experts(steps.layer)
    steps.kernels.end_layer(hidden)
    assert hidden.tobytes() == expected.tobytes()


def test_a_pass_without_rows_changes_nothing() -> None:
    model = RandomModel("q4p", moe_config())
    kernels = NativeKernels(model.config, BEST, 2)
    steps = Steps(model, kernels, 2)
    steps.rows, steps.input = kernels.begin([], model.inv_freq, steps.memory), steps.input[:0]
    assert steps.choose()[0].shape == (0, 3)
    assert steps.in_groups([]).shape == steps.at_once().shape == (0, 72)


@pytest.mark.parametrize("instruction_set", supported_sets())
@pytest.mark.parametrize("moe", [VARIANTS["v2-lite"], VARIANTS["v3"]], ids=["softmax", "sigmoid"])
def test_overflow_shows_as_nan_and_not_as_numbers(instruction_set: str, moe: MoeShape) -> None:
    model = RandomModel("q8s", moe_config(moe))
    model.layers[0]["mlp_norm"].vector()[3] = np.inf
    with np.errstate(all="ignore"):
        logits = native(model, instruction_set).run(("a", 0, tokens_of(model, 3)))["a"]
    assert np.isnan(logits).any(axis=1).all()


def test_latents_and_experts_go_together() -> None:
    mla = MlaShape(rank=48, nope_dim=24, rope_dim=8, value_dim=16, q_rank=20, score_factor=1.3)
    model = RandomModel("f32", latent_config(mla, moe=replace(VARIANTS["v3"], dense_layers=(0,)), num_layers=3))
    tokens = tokens_of(model, 75)
    expected = Runner(model, ReferenceKernels(model.config)).run(("a", 0, tokens))["a"]
    results = [native(model, name, n).run(("a", 0, tokens))["a"] for name in supported_sets() for n in (1, 2)]
    assert relative_rms(results[0], expected) < 1e-3
    assert len({result.tobytes() for result in results}) == 1


def test_a_layer_without_its_experts_is_not_for_layers() -> None:
    model = RandomModel("q4p", moe_config(num_layers=2))
    steps = Steps(model, NativeKernels(model.config, BEST, 1), 2)
    hidden = steps.input.copy()
    with pytest.raises(ValueError, match="without its experts"):
        steps.kernels.layers([steps.whole, steps.layer], 0, steps.rows, hidden)
    assert hidden.tobytes() == steps.input.tobytes()


def test_layers_with_experts_are_not_done_in_parts() -> None:
    model = RandomModel("q4p", moe_config())
    steps = Steps(model, NativeKernels(model.config, BEST, 1), 2)
    assert not steps.kernels.can_stream
    with pytest.raises(UsageError, match="whole only"):
        steps.kernels.layer_part(steps.whole, 0, LayerPart("qkv", 0, 1), steps.rows, steps.input)


def test_a_layer_ends_where_it_began_and_with_its_own_shared_experts() -> None:
    model = RandomModel("q4p", moe_config())
    steps = Steps(model, NativeKernels(model.config, BEST, 1), 2)
    chosen, hidden = steps.choose()
    with pytest.raises(ValueError, match="another layer"):
        steps.kernels.shared_experts(steps.whole)
    steps.kernels.shared_experts(steps.layer)
    steps.kernels.experts({number: steps.weights[number] for number in np.unique(chosen).tolist()})
    with pytest.raises(ValueError, match="began with"):
        steps.kernels.end_layer(hidden.copy())
    steps.kernels.end_layer(hidden)
    assert hidden.tobytes() == steps.at_once().tobytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_experts": 0}, "impossible shape"),
        ({"num_experts": 4097}, "impossible shape"),
        ({"expert_size": 0}, "impossible shape"),
        ({"num_groups": 3}, "groups"),
        ({"groups_per_token": 3}, "groups"),
        ({"experts_per_token": 9}, "so many"),
        ({"experts_per_token": 5, "num_groups": 2}, "so many"),
        ({"score": "loud"}, "score"),
        ({"group_score": "best_two", "num_groups": 8, "groups_per_token": 2}, "score of groups"),
    ],
    ids=str,
)
def test_impossible_shapes_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NativeKernels(moe_config(replace(MoeShape(8, 2, 16), **changes)), BEST, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["3.down", "shared_up", "router"])
def test_a_matrix_of_another_shape_is_refused(name: str) -> None:
    model = RandomModel("q4p", moe_config())
    model.layers[0][name] = random_matrix(np.random.default_rng(1), "q4p", 90, 72)
    with pytest.raises(ValueError, match="shape"):
        native(model)


def test_an_expert_of_another_model_is_refused() -> None:
    kernels = NativeKernels(moe_config(), BEST, 1)
    rng = np.random.default_rng(1)
    wrong: dict[str, TensorData] = {part: random_matrix(rng, "q4p", 48, 72) for part in ("gate", "up")}
    wrong["down"] = random_matrix(rng, "q4p", 72, 48)
    with pytest.raises(ValueError, match="shape"):
        kernels.load_expert(wrong)
    with pytest.raises(ValueError, match="no experts"):
        _native.Expert(_native.ModelShape(72, 100, 6, 2, 24, 1e-6, "f16"), {})
