"""A layer with experts, computed in steps: the bits of `layers`, in any order and groups; nothing done out of turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from kernels.random_model import config, random_matrix, random_vector
from numpy.typing import NDArray

from pocketseek.kernels.choose import KernelChoice, supported_sets
from pocketseek.kernels.contract import ModelKernels, RowSpan, TensorData
from pocketseek.kernels.kv_memory import KvMemory
from pocketseek.package.layer_tensors import expert_tensors, layer_tensors
from pocketseek.shapes import MlaShape, MoeShape

MOE = MoeShape(num_experts=8, experts_per_token=3, expert_size=32, shared_size=48, dense_layers=(1,))
CONFIGS = {
    "plain": config(moe=MOE, num_layers=2, qkv_bias=False),
    "alone": config(
        moe=MoeShape(num_experts=8, experts_per_token=2, expert_size=32, normalised=True), num_layers=1, qkv_bias=False
    ),
    "latent": config(
        moe=MOE,
        mla=MlaShape(rank=32, nope_dim=16, rope_dim=8, value_dim=16),
        num_layers=2,
        num_kv_heads=1,
        qkv_bias=False,
        qk_norm=False,
    ),
}
NUM_ROWS = 9


class Layer:
    """Layer 0 of a random model, on kernels of its own, at the beginning of a sequence."""

    def __init__(self, name: str, kernels: str = "reference") -> None:
        rng = np.random.default_rng(5)
        self.model = CONFIGS[name]
        self.kernels: ModelKernels = KernelChoice(kernels, "").open(self.model, 2)
        moe = self.model.moe
        assert moe is not None
        self.always: dict[str, TensorData] = {}
        for tensor, shape in layer_tensors(self.model, 0).items():
            is_matrix, kind = len(shape) == 2, "f32" if tensor == "router" else "q4s"
            self.always[tensor] = random_matrix(rng, kind, *shape) if is_matrix else random_vector(rng, *shape)
        self.tensors_of = {
            expert: {part: random_matrix(rng, "q4s", *shape) for part, shape in expert_tensors(self.model).items()}
            for expert in range(moe.num_experts)
        }
        self.whole = self.kernels.load_layer(
            self.always
            | {f"{number}.{part}": data for number, parts in self.tensors_of.items() for part, data in parts.items()}
        )
        self.layer = self.kernels.load_layer(self.always)
        self.experts = {number: self.kernels.load_expert(parts) for number, parts in self.tensors_of.items()}
        self.memory = KvMemory(self.model, 1)
        inv_freq = np.linspace(1, 0.1, self.model.rope_dim // 2).astype(np.float32)
        self.rows = self.kernels.begin([RowSpan(0, NUM_ROWS, (0,))], inv_freq, self.memory)
        self.input = rng.normal(0, 1, (NUM_ROWS, self.model.hidden_size)).astype(np.float32)

    def at_once(self) -> bytes:
        hidden = self.input.copy()
        self.kernels.layers([self.whole], 0, self.rows, hidden)
        return hidden.tobytes()

    def begun(self) -> tuple[NDArray[np.float32], list[int]]:
        """The hidden rows, and who was chosen by anybody."""
        hidden = self.input.copy()
        chosen = self.kernels.attend_and_route(self.layer, 0, self.rows, hidden)
        assert chosen.dtype == np.int32
        assert all(list(row) == sorted(set(row)) for row in chosen.tolist())
        return hidden, sorted(set(chosen.ravel().tolist()))

    def some(self, numbers: Sequence[int]) -> Mapping[int, object]:
        return {number: self.experts[number] for number in numbers}


@pytest.fixture(params=["reference", *supported_sets()])
def kernels(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=CONFIGS)
def layer(request: pytest.FixtureRequest, kernels: str) -> Layer:
    return Layer(request.param, kernels)


def test_in_any_order_and_groups_the_bits_are_those_of_the_whole_layer(layer: Layer) -> None:
    expected, random = layer.at_once(), np.random.default_rng(8)
    for size in (1, 2, 8):
        hidden, chosen = layer.begun()
        random.shuffle(chosen)
        groups = [chosen[start : start + size] for start in range(0, len(chosen), size)]
        shared_at = int(random.integers(len(groups)))
        for number, group in enumerate(groups):
            if number == shared_at:
                layer.kernels.shared_experts(layer.layer)
            layer.kernels.experts(layer.some(group))
        layer.kernels.end_layer(hidden)
        assert hidden.tobytes() == expected


def test_an_expert_is_used_where_it_lies_now(layer: Layer) -> None:
    expected = layer.at_once()
    room = {
        part: TensorData(data.format, data.shape, ((0, np.empty_like(data.parts[0][1])),))
        for part, data in layer.tensors_of[0].items()
    }
    slot = layer.kernels.load_expert(room)
    hidden, chosen = layer.begun()
    layer.kernels.shared_experts(layer.layer)
    for number in chosen:
        for part, data in layer.tensors_of[number].items():
            room[part].parts[0][1][:] = data.parts[0][1]
        layer.kernels.experts({number: slot})
    layer.kernels.end_layer(hidden)
    assert hidden.tobytes() == expected


def test_what_does_not_follow_is_refused_and_does_nothing(layer: Layer) -> None:
    expected, kernels = layer.at_once(), layer.kernels
    hidden, chosen = layer.begun()
    untouched = hidden.tobytes()
    nobody = next(number for number in (*range(8), 99) if number not in chosen)
    wrong = {chosen[0]: layer.experts[chosen[0]], nobody: layer.experts[0]}
    with pytest.raises(ValueError, match=str(nobody)):
        kernels.experts(wrong)
    kernels.experts(layer.some(chosen[:1]))
    with pytest.raises(ValueError, match=str(chosen[0])):
        kernels.experts(layer.some(chosen[:1]))
    kernels.shared_experts(layer.layer)
    with pytest.raises(ValueError, match="not complete"):
        kernels.end_layer(hidden)
    assert hidden.tobytes() == untouched
    kernels.experts(layer.some(chosen[1:]))
    kernels.end_layer(hidden)
    assert hidden.tobytes() == expected
    for step in (
        lambda: kernels.end_layer(hidden),
        lambda: kernels.experts(layer.some(chosen)),
        lambda: kernels.shared_experts(layer.layer),
    ):
        with pytest.raises(ValueError, match="begun"):
            step()


def test_whatever_else_runs_ends_the_layer(layer: Layer) -> None:
    hidden, chosen = layer.begun()
    layer.kernels.layers([layer.whole], 0, layer.rows, layer.input.copy())
    with pytest.raises(ValueError, match="begun"):
        layer.kernels.experts(layer.some(chosen))
    with pytest.raises(ValueError, match="begun"):
        layer.kernels.end_layer(hidden)


def test_a_layer_that_shares_experts_is_not_complete_without_them(kernels: str) -> None:
    layer = Layer("plain", kernels)
    hidden, chosen = layer.begun()
    layer.kernels.experts(layer.some(chosen))
    with pytest.raises(ValueError, match="shared"):
        layer.kernels.end_layer(hidden)
    layer.kernels.shared_experts(layer.layer)
    with pytest.raises(ValueError, match="already"):
        layer.kernels.shared_experts(layer.layer)


def test_a_dense_layer_has_no_such_steps(kernels: str) -> None:
    layer = Layer("plain", kernels)
    with pytest.raises(ValueError, match="layer 1 has no experts"):
        layer.kernels.attend_and_route(layer.layer, 1, layer.rows, layer.input.copy())
