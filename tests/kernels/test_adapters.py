"""Adapters in the kernels: what they add, and that no bit of a row depends on whose adapters are beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.random_model import RandomModel, config, relative_rms, tokens_of
from numpy.typing import NDArray

from pocketseek.convert.pack import pack_values
from pocketseek.formats import num_tile_rows
from pocketseek.kernels.adapter_lanes import output_lanes, plain_values, rank_lanes
from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.contract import LAYER_MATRICES, LAYER_STEPS, LayerPart, LowRank, RowSpan, TensorData, step_tiles
from pocketseek.kernels.kv_memory import PAGE_TOKENS, KvMemory
from pocketseek.kernels.native import NativeKernels
from pocketseek.kernels.reference import ReferenceKernels
from pocketseek.package.adapter_layout import adapter_targets
from pocketseek.types import ModelConfig

BEST = supported_sets()[-1]
WIDE = {"intermediate_size": 1100}  # three spans of inputs
Kernels = NativeKernels | ReferenceKernels
Layers = list[dict[str, LowRank]]


def stored(values: NDArray[np.float16]) -> TensorData:
    return TensorData("f16", values.shape, ((0, pack_values("f16", values).reshape(-1)),))


def random_adapter(
    model: ModelConfig, rank: int, seed: int = 1, targets: Sequence[str] = LAYER_MATRICES, size: float = 0.3
) -> Layers:
    rng = np.random.default_rng(seed)

    def pair(outputs: int, inputs: int) -> LowRank:
        a, b = (rng.normal(0, size, (rank, width)).astype(np.float16) for width in (inputs, outputs))
        return LowRank(stored(a), stored(b), float(rng.uniform(0.1, 0.5)))

    return [
        {name: pair(*shape) for name, shape in adapter_targets(model, index).items() if name in targets}
        for index in range(model.num_layers)
    ]


class Passes:
    """Passes over one model, sequences on pages of their own, each with the adapter of its name."""

    def __init__(self, model: RandomModel, kernels: Kernels, adapters: Mapping[str, object]) -> None:
        self.model, self.kernels, self.adapters = model, kernels, adapters
        self.memory = KvMemory(model.config, 64)
        self.embed, self.head = kernels.load_matrix(model.embed), kernels.load_matrix(model.head)
        self.layers = [kernels.load_layer(layer) for layer in model.layers]
        self._pages: dict[str, list[int]] = {}
        self._next_page = 0

    def run(self, *pieces: tuple[str, int, Sequence[int]], parts: int = 0) -> dict[str, NDArray[np.float32]]:
        """pieces: (sequence, first position, token ids). parts: so many tile rows at a time; 0: whole layers."""
        spans = []
        for name, first, tokens in pieces:
            pages = self._pages.setdefault(name, [])
            while len(pages) * PAGE_TOKENS < first + len(tokens):
                pages.append(self._next_page)
                self._next_page += 1
            spans.append(RowSpan(first, len(tokens), tuple(pages), self.adapters.get(name)))
        rows = self.kernels.begin(spans, self.model.inv_freq, self.memory)
        token_ids = np.array([token for _, _, tokens in pieces for token in tokens], np.int32)
        hidden = np.empty((len(token_ids), self.model.config.hidden_size), np.float32)
        self.kernels.embed(self.embed, token_ids, hidden)
        if parts:
            self._in_parts(rows, hidden, parts)
        else:
            self.kernels.layers(self.layers, 0, rows, hidden)
        chosen = np.arange(len(token_ids), dtype=np.int32)
        logits = np.empty((len(token_ids), self.model.config.vocab_size), np.float32)
        self.kernels.head(self.model.head_norm, self.head, hidden, chosen, logits)
        ends = np.cumsum([len(tokens) for _, _, tokens in pieces])[:-1]
        return dict(zip([name for name, _, _ in pieces], np.split(logits, ends), strict=True))

    def _in_parts(self, rows: object, hidden: NDArray[np.float32], parts: int) -> None:
        for index, layer in enumerate(self.layers):
            for step in LAYER_STEPS:
                tiles = step_tiles(self.model.config, step)
                for first in range(0, tiles, parts):
                    part = LayerPart(step, first, min(parts, tiles - first))
                    self.kernels.layer_part(layer, index, part, rows, hidden)


def alone(model: RandomModel, kernels: Kernels, adapter: object | None, tokens: Sequence[int]) -> NDArray[np.float32]:
    return Passes(model, kernels, {} if adapter is None else {"a": adapter}).run(("a", 0, tokens))["a"]


@pytest.mark.parametrize("rank", [1, 3, 16, 37, 256])
def test_lanes_hold_what_the_tiles_hold(rank: int) -> None:
    values = np.random.default_rng(rank).normal(size=(rank, 100)).astype(np.float16)
    whole = stored(values)
    cut = whole if rank <= 16 else TensorData("f16", (rank, 100), _halves(whole))
    a = rank_lanes(cut).view(np.float16).reshape(num_tile_rows(rank), 100, 16)
    b = output_lanes(cut).view(np.float16).reshape(7, rank, 16)
    assert np.array_equal(a.transpose(0, 2, 1).reshape(-1, 100)[:rank], values)
    assert np.array_equal(b.transpose(1, 0, 2).reshape(rank, -1)[:, :100], values)
    assert not b.transpose(1, 0, 2).reshape(rank, -1)[:, 100:].any()
    assert np.array_equal(plain_values(cut), values.astype(np.float32))


def _halves(tensor: TensorData) -> tuple[tuple[int, NDArray[np.uint8]], ...]:
    rows = tensor.parts[0][1].reshape(num_tile_rows(tensor.shape[0]), -1)
    return (0, rows[:1].reshape(-1)), (1, rows[1:].reshape(-1))


@pytest.mark.parametrize("targets", [*((name,) for name in LAYER_MATRICES), LAYER_MATRICES])
@pytest.mark.parametrize("rows", [4, 40])
def test_the_compiled_core_agrees_with_the_reference(targets: Sequence[str], rows: int) -> None:
    model = RandomModel("f32", config(**WIDE))
    layers, tokens = random_adapter(model.config, 20, targets=targets), tokens_of(model, rows)
    native, reference = NativeKernels(model.config, BEST, 2), ReferenceKernels(model.config)
    expected = alone(model, reference, reference.load_adapter(layers), tokens)
    found = alone(model, native, native.load_adapter(layers), tokens)
    assert relative_rms(found, expected) < 1e-4
    assert relative_rms(alone(model, native, None, tokens), expected) > 1e-2


@pytest.mark.parametrize("kernels", supported_sets())
@pytest.mark.parametrize("format_name", ["q4p", "q8s"])
def test_every_instruction_set_gives_the_same_bits(kernels: str, format_name: str) -> None:
    model = RandomModel(format_name, config(**WIDE))
    layers, tokens = random_adapter(model.config, 37), tokens_of(model, 70)
    results = []
    for name in ("scalar", kernels):
        native = NativeKernels(model.config, name, 3)
        results.append(alone(model, native, native.load_adapter(layers), tokens).tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize("rank", [1, 16, 130, 256])
@pytest.mark.parametrize("threads", [1, 3])
def test_cuts_threads_and_parts_change_no_bit(rank: int, threads: int) -> None:
    model = RandomModel("q4p", config(**WIDE))
    layers, tokens = random_adapter(model.config, rank), tokens_of(model, 50)
    one = NativeKernels(model.config, BEST, 2)
    whole = alone(model, one, one.load_adapter(layers), tokens)
    kernels = NativeKernels(model.config, BEST, threads)
    handle = kernels.load_adapter(layers)
    for cuts, parts in (([1] * 50, 0), ([3, 40, 7], 0), ([50], 2), ([9, 41], 5)):
        passes, first, rows = Passes(model, kernels, {"a": handle}), 0, []
        for count in cuts:
            rows.append(passes.run(("a", first, tokens[first : first + count]), parts=parts)["a"])
            first += count
        assert np.concatenate(rows).tobytes() == whole.tobytes()


def test_rows_without_an_adapter_have_the_bits_of_a_pass_without_any() -> None:
    model = RandomModel("q4p")
    kernels = NativeKernels(model.config, BEST, 2)
    tokens = tokens_of(model, 40)
    plain = alone(model, kernels, None, tokens)
    passes = Passes(model, kernels, {"a": kernels.load_adapter(random_adapter(model.config, 16))})
    mixed = passes.run(("x", 0, tokens), ("a", 0, tokens), ("y", 0, tokens))
    assert mixed["x"].tobytes() == mixed["y"].tobytes() == plain.tobytes()
    assert mixed["a"].tobytes() != plain.tobytes()


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_eight_adapters_in_one_batch_give_each_row_what_it_has_alone(data: st.DataObject) -> None:
    model = RandomModel(data.draw(st.sampled_from(["q4p", "q6s"])))
    kernels = NativeKernels(model.config, BEST, data.draw(st.integers(1, 4)))
    names = [f"s{i}" for i in range(8)]
    adapters = {
        name: kernels.load_adapter(
            random_adapter(
                model.config,
                data.draw(st.sampled_from([1, 2, 8, 16, 33])),
                seed,
                data.draw(st.sampled_from([LAYER_MATRICES, ("q", "v"), ("down",), ("gate", "up")])),
            )
        )
        for seed, name in enumerate(names)
    }
    adapters["plain"] = None
    tokens = {name: tokens_of(model, data.draw(st.integers(1, 20)), seed) for seed, name in enumerate(adapters)}
    order = data.draw(st.permutations([*names, "plain"]))
    mixed = Passes(model, kernels, adapters).run(*((name, 0, tokens[name]) for name in order))
    for name in order:
        assert mixed[name].tobytes() == alone(model, kernels, adapters[name], tokens[name]).tobytes()


def test_two_sequences_share_an_adapter() -> None:
    model = RandomModel("q4p")
    kernels = NativeKernels(model.config, BEST, 2)
    adapter = kernels.load_adapter(random_adapter(model.config, 16))
    tokens = tokens_of(model, 30)
    passes = Passes(model, kernels, {"a": adapter, "b": adapter})
    mixed = passes.run(("a", 0, tokens), ("x", 0, tokens[:3]), ("b", 0, tokens))
    assert mixed["a"].tobytes() == mixed["b"].tobytes() == alone(model, kernels, adapter, tokens).tobytes()


def test_a_layer_that_the_adapter_leaves_out_is_as_without() -> None:
    model = RandomModel("q4p")
    kernels = NativeKernels(model.config, BEST, 2)
    tokens = tokens_of(model, 10)
    nothing = kernels.load_adapter([{} for _ in range(model.config.num_layers)])
    assert alone(model, kernels, nothing, tokens).tobytes() == alone(model, kernels, None, tokens).tobytes()


def test_an_adapter_of_another_shape_is_refused() -> None:
    kernels = NativeKernels(config(), BEST, 1)
    with pytest.raises(ValueError, match="A does not have the model's shape"):
        kernels.load_adapter(random_adapter(config(hidden_size=88), 4, targets=("q",)))
    with pytest.raises(ValueError, match="rank must be from 1 to 256"):
        kernels.load_adapter(random_adapter(config(), 257, targets=("q",)))


def test_an_adapter_with_fewer_layers_is_refused_by_the_pass() -> None:
    model = RandomModel("q4p")
    kernels = NativeKernels(model.config, BEST, 1)
    short = kernels.load_adapter(random_adapter(model.config, 4)[:1])
    with pytest.raises(ValueError, match="fewer layers"):
        alone(model, kernels, short, tokens_of(model, 3))
