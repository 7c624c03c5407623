"""Layers and the head in parts: the bits of the whole, with nothing but the part's own tile rows to read from."""

from __future__ import annotations

import ctypes
import mmap
import random
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.random_model import FORMATS, RandomModel, config, tokens_of
from kernels.test_odd_shapes import any_format, layer_config, num_inputs, odd_examples
from numpy.typing import NDArray

from pocketseek.errors import UsageError
from pocketseek.formats import num_tile_rows, tile_row_bytes
from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.contract import LAYER_MATRICES, LAYER_STEPS, LayerPart, RowSpan, TensorData, step_tiles
from pocketseek.kernels.kv_memory import KV_FORMATS, PAGE_TOKENS, KvFormat, KvMemory
from pocketseek.kernels.native import NativeKernels
from pocketseek.kernels.reference import ReferenceKernels

BEST = supported_sets()[-1]
GARBAGE = 0xFF  # NaN as f16 and f32, and large as int8 and int4
STEP_MATRICES = {"qkv": ("q", "k", "v"), "o": ("o",), "gate": ("gate",), "up": ("up",), "down": ("down",)}


class Scratch:
    """A matrix whose tile rows lie apart, in memory that begins as garbage; `show` brings some to where they belong."""

    def __init__(self, tensor: TensorData) -> None:
        stride = tile_row_bytes(tensor.format, tensor.shape[1])
        self._stored = np.concatenate([part for _, part in tensor.parts]).reshape(-1, stride)
        room = np.full((len(self._stored), 2, stride), GARBAGE, np.uint8)  # every second row is never a tile
        self._rows = room[:, 0]
        self.tensor = TensorData(tensor.format, tensor.shape, tuple(enumerate(self._rows)))

    def show(self, first: int, end: int) -> None:
        self._rows[:] = GARBAGE
        first, end = max(first, 0), min(end, len(self._rows))
        if first < end:
            self._rows[first:end] = self._stored[first:end]

    @property
    def num_tiles(self) -> int:
        return len(self._rows)


class Pass:
    """One pass over a model on some kernels: embedded rows, and pages of their own."""

    def __init__(self, model: RandomModel, kernels: NativeKernels, rows: int, kv: KvFormat = "f16") -> None:
        self.model, self.kernels = model, kernels
        num_pages = -(-rows // PAGE_TOKENS) + 1
        self.memory = KvMemory(model.config, num_pages, kv)
        for page_id in range(num_pages):
            self.memory.page(page_id)[:] = 0x7D
        spans = [RowSpan(0, rows, tuple(range(num_pages)))]
        self.rows = kernels.begin(spans, model.inv_freq, self.memory)
        self.hidden = np.empty((rows, model.config.hidden_size), np.float32)
        kernels.embed(kernels.load_matrix(model.embed), np.array(tokens_of(model, rows), np.int32), self.hidden)

    def bytes(self) -> bytes:
        return self.hidden.tobytes() + b"".join(self.memory.page(i).tobytes() for i in range(self.memory.num_pages))


def cuts(rng: random.Random, tiles: int, most: int) -> Iterator[tuple[int, int]]:
    """(first tile, number of tiles) from 0 to the end."""
    first = 0
    while first < tiles:
        count = min(rng.randint(1, most), tiles - first)
        yield first, count
        first += count


def run_in_parts(run: Pass, rng: random.Random, most: int = 7) -> None:
    """Everything but the part's tile rows is garbage while it runs."""
    for index, tensors in enumerate(run.model.layers):
        scratch = {name: Scratch(tensors[name]) for name in LAYER_MATRICES}
        layer = run.kernels.load_layer(tensors | {name: matrix.tensor for name, matrix in scratch.items()})
        for step in LAYER_STEPS:
            for first, count in cuts(rng, step_tiles(run.model.config, step), most):
                show_part(scratch, LayerPart(step, first, count))
                run.kernels.layer_part(layer, index, LayerPart(step, first, count), run.rows, run.hidden)


def show_part(scratch: Mapping[str, Scratch], part: LayerPart) -> None:
    for matrix in scratch.values():
        matrix.show(0, 0)
    before = 0
    for name in STEP_MATRICES[part.step]:
        first = part.first_tile - before
        scratch[name].show(first, first + part.num_tiles)
        before += scratch[name].num_tiles


def whole_pass(model: RandomModel, kernels: NativeKernels, rows: int, kv: KvFormat = "f16") -> Pass:
    run = Pass(model, kernels, rows, kv)
    kernels.layers([kernels.load_layer(layer) for layer in model.layers], 0, run.rows, run.hidden)
    return run


def check_parts(model: RandomModel, name: str, rows: int, seed: int, threads: int = 2, kv: KvFormat = "f16") -> None:
    kernels = NativeKernels(model.config, name, threads)
    expected = whole_pass(model, kernels, rows, kv)
    assert np.isfinite(expected.hidden).all()
    run = Pass(model, kernels, rows, kv)
    run_in_parts(run, random.Random(seed))
    assert run.bytes() == expected.bytes()


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("instruction_set", supported_sets())
def test_a_layer_in_parts_has_the_bits_of_the_whole_and_reads_nothing_else(
    format_name: str, instruction_set: str
) -> None:
    model = RandomModel(format_name, config(hidden_size=300, intermediate_size=700))
    for rows in (1, 2, 8, 33, 70):  # the last two are expanded where the format is
        check_parts(model, instruction_set, rows, seed=rows)


@odd_examples(60)
@given(
    formats=st.fixed_dictionaries(dict.fromkeys(LAYER_MATRICES, any_format | st.just("q4p"))),
    hidden=num_inputs,
    intermediate=num_inputs,
    heads=st.sampled_from([(1, 1, 16), (1, 1, 50), (3, 1, 16), (5, 1, 48), (4, 2, 24), (6, 3, 80)]),
    rows=st.integers(1, 80),
    threads=st.integers(1, 3),
    kv=st.sampled_from(KV_FORMATS),
    instruction_set=st.sampled_from(supported_sets()),
    seed=st.integers(0, 1000),
)
def test_layers_of_mixed_formats_and_odd_shapes_can_be_cut_anywhere(
    formats: dict[str, str],
    hidden: int,
    intermediate: int,
    heads: tuple[int, int, int],
    rows: int,
    threads: int,
    kv: KvFormat,
    instruction_set: str,
    seed: int,
) -> None:
    num_heads, num_kv_heads, head_dim = heads
    shape = layer_config(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
    )
    check_parts(RandomModel("q4p", shape, formats=formats), instruction_set, rows, seed, threads, kv)


def logits_of(
    model: RandomModel, kernels: NativeKernels, hidden: NDArray[np.float32], chosen: Sequence[int]
) -> NDArray[np.float32]:
    logits = np.empty((len(chosen), model.config.vocab_size), np.float32)
    kernels.head(model.head_norm, kernels.load_matrix(model.head), hidden, np.array(chosen, np.int32), logits)
    return logits


@pytest.mark.parametrize("instruction_set", supported_sets())
@pytest.mark.parametrize("format_name", FORMATS)
def test_the_head_in_parts_has_the_bits_of_the_whole_and_reads_nothing_else(
    format_name: str, instruction_set: str
) -> None:
    rng = random.Random(5)
    model = RandomModel(format_name, config(hidden_size=300, vocab_size=1003))
    kernels = NativeKernels(model.config, instruction_set, 2)
    scratch = Scratch(model.head)
    table = kernels.load_matrix(scratch.tensor)
    for rows in (1, 2, 8, 33, 70):
        hidden = np.random.default_rng(rows).normal(0, 1, (rows, 300)).astype(np.float32)
        chosen = rng.sample(range(rows), rows)
        logits = np.full((rows, 1003), np.nan, np.float32)
        parts = list(cuts(rng, num_tile_rows(1003), 20))
        rng.shuffle(parts)
        for first, count in parts:
            scratch.show(first, first + count)
            before = logits.copy()
            kernels.head_part(model.head_norm, table, hidden, np.array(chosen, np.int32), logits, first, count)
            before[:, 16 * first : 16 * (first + count)] = logits[:, 16 * first : 16 * (first + count)]
            assert logits.tobytes() == before.tobytes()  # no other column was written
        assert logits.tobytes() == logits_of(model, kernels, hidden, chosen).tobytes()


def before_a_wall(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy that ends where memory ends: the next page may not be touched."""
    size = -(-data.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = np.frombuffer(mmap.mmap(-1, size + mmap.PAGESIZE), np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(memory.ctypes.data + size), mmap.PAGESIZE, 0) == 0
    memory[size - data.nbytes : size] = data
    return memory[size - data.nbytes : size]


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("instruction_set", supported_sets())
def test_no_kernel_touches_memory_behind_a_tile_row(format_name: str, instruction_set: str) -> None:
    model = RandomModel(format_name, config(num_layers=1, hidden_size=300, intermediate_size=290))

    def behind_walls(tensor: TensorData) -> TensorData:
        rows = np.concatenate([part for _, part in tensor.parts]).reshape(num_tile_rows(tensor.shape[0]), -1)
        return TensorData(tensor.format, tensor.shape, tuple((i, before_a_wall(row)) for i, row in enumerate(rows)))

    kernels = NativeKernels(model.config, instruction_set, 2)
    tensors = model.layers[0] | {name: behind_walls(model.layers[0][name]) for name in LAYER_MATRICES}
    layer = kernels.load_layer(tensors)
    for rows in (1, 9, 40):
        run = Pass(model, kernels, rows)
        kernels.layers([layer], 0, run.rows, run.hidden)
        assert run.bytes() == whole_pass(model, kernels, rows).bytes()


def layer_parts(model: RandomModel) -> list[LayerPart]:
    """A layer in parts of two tiles."""
    return [
        LayerPart(step, first, min(2, step_tiles(model.config, step) - first))
        for step in LAYER_STEPS
        for first in range(0, step_tiles(model.config, step), 2)
    ]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_only_the_next_part_is_taken_and_a_refused_one_does_nothing(data: st.DataObject) -> None:
    model = RandomModel("q4s", config(num_layers=1))
    kernels = NativeKernels(model.config, BEST, 1)
    layer, parts = kernels.load_layer(model.layers[0]), layer_parts(model)
    expected = whole_pass(model, kernels, 3)
    run = Pass(model, kernels, 3)
    for index, part in enumerate(parts):
        wrong = data.draw(st.sampled_from([p for i, p in enumerate(parts) if i != index]))
        before = run.bytes()
        with pytest.raises(ValueError, match="must begin"):
            kernels.layer_part(layer, 0, wrong, run.rows, run.hidden)
        assert run.bytes() == before
        kernels.layer_part(layer, 0, part, run.rows, run.hidden)
    assert run.bytes() == expected.bytes()


@pytest.mark.parametrize(
    "part",
    [LayerPart("qkv", 0, 0), LayerPart("qkv", -1, 2), LayerPart("qkv", 0, 10**6), LayerPart("o", 2**31 - 1, 1)],
)
def test_parts_beyond_their_step_are_refused(part: LayerPart) -> None:
    model = RandomModel("q4s", config(num_layers=1))
    kernels = NativeKernels(model.config, BEST, 1)
    run = Pass(model, kernels, 1)
    with pytest.raises(ValueError, match="beyond"):
        kernels.layer_part(kernels.load_layer(model.layers[0]), 0, part, run.rows, run.hidden)


@pytest.mark.parametrize(("first", "count"), [(0, 0), (-1, 1), (3, 2), (0, 5)])
def test_parts_beyond_the_head_are_refused(first: int, count: int) -> None:
    model = RandomModel("q4s")
    kernels = NativeKernels(model.config, BEST, 1)
    hidden, logits = (np.ones((1, n), np.float32) for n in (model.config.hidden_size, model.config.vocab_size))
    with pytest.raises(ValueError, match="beyond"):
        kernels.head_part(
            model.head_norm, kernels.load_matrix(model.head), hidden, np.zeros(1, np.int32), logits, first, count
        )


@pytest.mark.parametrize("between", ["embed", "layers", "head", "another pass"])
def test_what_runs_between_two_parts_ends_the_layer_and_a_new_pass_begins_well(between: str) -> None:
    model = RandomModel("q4s", config(num_layers=1))
    kernels = NativeKernels(model.config, BEST, 1)
    layer, parts = kernels.load_layer(model.layers[0]), layer_parts(model)
    expected = whole_pass(model, kernels, 3)
    run = Pass(model, kernels, 3)
    for part in parts[:4]:
        kernels.layer_part(layer, 0, part, run.rows, run.hidden)
    other = Pass(model, kernels, 3) if between == "embed" else whole_pass(model, kernels, 3)
    if between == "head":
        logits_of(model, kernels, other.hidden, [0])
    if between == "another pass":
        other = Pass(model, kernels, 3)
        for part in parts[:4]:
            kernels.layer_part(layer, 0, part, other.rows, other.hidden)
    with pytest.raises(ValueError, match="must begin"):
        kernels.layer_part(layer, 0, parts[4], run.rows, run.hidden)
    again = Pass(model, kernels, 3)
    for part in parts:
        kernels.layer_part(layer, 0, part, again.rows, again.hidden)
    assert again.bytes() == expected.bytes()


def test_whole_layers_and_layers_in_parts_make_one_pass() -> None:
    model = RandomModel("q4p", config(num_layers=4))
    kernels = NativeKernels(model.config, BEST, 2)
    expected = whole_pass(model, kernels, 40)
    run = Pass(model, kernels, 40)
    layers = [kernels.load_layer(layer) for layer in model.layers]
    kernels.layers(layers[:2], 0, run.rows, run.hidden)
    for part in layer_parts(model):
        kernels.layer_part(layers[2], 2, part, run.rows, run.hidden)
    kernels.layers(layers[3:], 3, run.rows, run.hidden)
    assert run.bytes() == expected.bytes()


def test_the_number_of_threads_may_change_between_parts() -> None:
    model = RandomModel("q4p", config(num_layers=1, intermediate_size=700))
    kernels = NativeKernels(model.config, BEST, 1)
    expected = whole_pass(model, kernels, 40)
    run = Pass(model, kernels, 40)
    layer = kernels.load_layer(model.layers[0])
    for index, part in enumerate(layer_parts(model)):
        kernels.set_num_threads(1 + index % 4)
        kernels.layer_part(layer, 0, part, run.rows, run.hidden)
    assert run.bytes() == expected.bytes()


def test_a_layer_of_another_kind_cannot_go_on_with_a_step() -> None:
    model, other = (RandomModel(name, config(num_layers=1)) for name in ("q4s", "f32"))
    kernels = NativeKernels(model.config, BEST, 1)
    run = Pass(model, kernels, 1)
    kernels.layer_part(kernels.load_layer(model.layers[0]), 0, LayerPart("qkv", 0, 1), run.rows, run.hidden)
    with pytest.raises(ValueError, match="go on"):
        kernels.layer_part(kernels.load_layer(other.layers[0]), 0, LayerPart("qkv", 1, 1), run.rows, run.hidden)


def test_the_reference_has_no_parts_and_says_so() -> None:
    model = RandomModel("q4s")
    kernels, nothing = ReferenceKernels(model.config), np.empty((0, 0), np.float32)
    assert not kernels.can_stream
    assert NativeKernels(model.config, BEST, 1).can_stream
    with pytest.raises(UsageError, match="whole layers"):
        kernels.layer_part(object(), 0, LayerPart("qkv", 0, 1), object(), nothing)
    with pytest.raises(UsageError, match="whole layers"):
        kernels.head_part(model.head_norm, object(), nothing, np.empty(0, np.int32), nothing, 0, 1)
