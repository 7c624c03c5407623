"""The compiled core: one function, the same bits on every instruction set, thread count, batch and cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.random_model import FORMATS, RandomModel, Runner, config, relative_rms, tokens_of

from pocketseek.convert.pack import ZERO_CODE, Planes, pack_planes
from pocketseek.kernels import _native
from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.contract import RowSpan, TensorData
from pocketseek.kernels.native import NativeKernels
from pocketseek.kernels.reference import ReferenceKernels

BEST = supported_sets()[-1]


def native(model: RandomModel, instruction_set: str = BEST, threads: int = 2) -> Runner:
    return Runner(model, NativeKernels(model.config, instruction_set, threads))


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("instruction_set", supported_sets()[1:])
def test_every_instruction_set_gives_the_bits_of_the_scalar_twin(format_name: str, instruction_set: str) -> None:
    model = RandomModel(format_name)
    tokens = tokens_of(model, 75)
    expected = native(model, "scalar").run(("a", 0, tokens))["a"]
    assert native(model, instruction_set).run(("a", 0, tokens))["a"].tobytes() == expected.tobytes()
    assert np.isfinite(expected).all()
    assert expected.std() > 0.01


@pytest.mark.parametrize("format_name", FORMATS)
def test_agrees_with_the_numpy_reference(format_name: str) -> None:
    model = RandomModel(format_name)
    tokens = tokens_of(model, 75)
    expected = Runner(model, ReferenceKernels(model.config)).run(("a", 0, tokens))["a"]
    actual = native(model).run(("a", 0, tokens))["a"]
    # K and V rounded to f16, and int8 activations, turn a last-place difference into a visible one now and then
    assert relative_rms(actual, expected) < (1e-2 if format_name[0] == "q" else 1e-4)


@pytest.mark.parametrize("threads", [1, 3, 5])
def test_the_number_of_threads_changes_no_bit(threads: int) -> None:
    model = RandomModel("q4s", config(intermediate_size=700, vocab_size=900))
    tokens = tokens_of(model, 130)
    expected = native(model, threads=2).run(("a", 0, tokens))["a"]
    assert native(model, threads=threads).run(("a", 0, tokens))["a"].tobytes() == expected.tobytes()


def test_threads_can_change_between_passes() -> None:
    model = RandomModel("q4a")
    tokens = tokens_of(model, 40)
    whole = native(model).run(("a", 0, tokens))["a"]
    runner = native(model)
    pieces = []
    for index, threads in enumerate((4, 1, 3, 2)):
        runner.kernels.set_num_threads(threads)
        pieces.append(runner.run(("a", index * 10, tokens[index * 10 : index * 10 + 10]))["a"])
    assert np.concatenate(pieces).tobytes() == whole.tobytes()


@settings(max_examples=25, deadline=None)
@given(format_name=st.sampled_from(FORMATS), data=st.data())
def test_cuts_and_company_change_no_bit(format_name: str, data: st.DataObject) -> None:
    model = RandomModel(format_name, config(num_layers=1))
    lengths = data.draw(st.lists(st.integers(1, 90), min_size=1, max_size=5))
    sequences = {str(i): tokens_of(model, n, seed=i) for i, n in enumerate(lengths)}
    alone = {name: native(model, threads=1).run((name, 0, tokens))[name] for name, tokens in sequences.items()}
    runner, done = native(model), dict.fromkeys(sequences, 0)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in sequences}
    while open_names := [name for name in sequences if done[name] < len(sequences[name])]:
        chosen = data.draw(st.lists(st.sampled_from(open_names), min_size=1, unique=True))
        pieces = []
        for name in chosen:
            take = data.draw(st.integers(1, 70))
            pieces.append((name, done[name], sequences[name][done[name] : done[name] + take]))
        for name, logits in runner.run(*pieces).items():
            parts[name].append(logits)
            done[name] += len(logits)
    for name, logits in alone.items():
        assert np.concatenate(parts[name]).tobytes() == logits.tobytes()


@pytest.mark.parametrize("format_name", FORMATS)
def test_more_rows_than_a_panel_hold_give_the_bits_of_small_passes(format_name: str) -> None:
    model = RandomModel(format_name, config(num_layers=1, intermediate_size=3000))
    tokens = tokens_of(model, 450)
    whole = native(model).run(("a", 0, tokens))["a"]
    runner = native(model)
    parts = [runner.run(("a", first, tokens[first : first + 25]))["a"] for first in range(0, 450, 25)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("instruction_set", supported_sets())
@pytest.mark.parametrize("tensor", ["v_bias", "attn_norm", "mlp_norm"])
def test_overflow_shows_as_nan_and_not_as_numbers(format_name: str, instruction_set: str, tensor: str) -> None:
    model = RandomModel(format_name, config(num_layers=1))
    model.layers[0][tensor].vector()[3] = 1e30 if tensor != "v_bias" else 1e6  # beyond f16 for K and V
    if tensor == "mlp_norm":
        model.layers[0][tensor].vector()[3] = np.inf
    with np.errstate(all="ignore"):
        logits = native(model, instruction_set).run(("a", 0, tokens_of(model, 3)))["a"]
    assert np.isnan(logits).any(axis=1).all()


SHAPES = [
    {"num_heads": 1, "num_kv_heads": 1, "head_dim": 64},
    {"num_heads": 20, "num_kv_heads": 2, "head_dim": 16},
    {"num_heads": 3, "num_kv_heads": 3, "head_dim": 256},
    {"num_heads": 9, "num_kv_heads": 1, "head_dim": 80},
    {"vocab_size": 1},
    {"vocab_size": 1000, "hidden_size": 33},
    {"hidden_size": 512, "intermediate_size": 16},
    {"qkv_bias": False, "qk_norm": False},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_odd_shapes_agree_across_sets_and_with_the_reference(shape: dict[str, int]) -> None:
    model = RandomModel("f32", config(**shape))
    tokens = tokens_of(model, 20)
    expected = Runner(model, ReferenceKernels(model.config)).run(("a", 0, tokens))["a"]
    results = [native(model, name).run(("a", 0, tokens))["a"] for name in supported_sets()]
    assert relative_rms(results[0], expected) < 1e-4
    assert len({result.tobytes() for result in results}) == 1


def test_a_matrix_in_several_parts_is_the_same_matrix() -> None:
    tokens = tokens_of(RandomModel("q8s"), 30)
    one, many = (native(RandomModel("q8s", parts=parts)).run(("a", 0, tokens))["a"] for parts in (1, 3))
    assert one.tobytes() == many.tobytes()


def test_rope_tables_are_right_to_the_last_place_far_out() -> None:
    rng = np.random.default_rng(3)
    positions = np.sort(rng.integers(0, 1 << 20, 500)).astype(np.int32)
    inv_freq = (1e6 ** -(np.arange(64) / 64)).astype(np.float32)
    cosine, sine = np.empty((500, 64), np.float32), np.empty((500, 64), np.float32)
    _native.rope_table(positions, inv_freq, 1.0, cosine, sine)
    angles = (positions.astype(np.float32)[:, None] * inv_freq).astype(np.float64)
    assert np.abs(cosine - np.cos(angles)).max() < 6e-8
    assert np.abs(sine - np.sin(angles)).max() < 6e-8


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([(0, np.zeros(100, np.uint8))], "whole tile rows"),
        ([], "cover"),
        ([(1, np.zeros(2048 * 2, np.uint8))], "order"),
    ],
)
def test_wrong_matrix_parts_are_refused(parts: list[tuple[int, np.ndarray]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _native.Matrix("f32", 16, 32, parts)


def test_token_ids_beyond_the_vocabulary_are_refused() -> None:
    model = RandomModel("q4s")
    with pytest.raises(ValueError, match="vocabulary"):
        native(model).run(("a", 0, [model.config.vocab_size]))


@pytest.mark.parametrize("kind", ["native", "reference"])
def test_layers_one_by_one_give_the_bits_of_all_at_once(kind: str) -> None:
    model = RandomModel("q4p", config(num_layers=3))
    tokens = tokens_of(model, 30)

    def hidden_after(*runs: tuple[int, int]) -> bytes:
        kernels = ReferenceKernels(model.config) if kind == "reference" else NativeKernels(model.config, BEST, 2)
        runner = Runner(model, kernels)
        rows = kernels.begin([RowSpan(0, len(tokens), (3,))], model.inv_freq, runner.memory)
        hidden = np.empty((len(tokens), model.config.hidden_size), np.float32)
        kernels.embed(runner.embed, np.array(tokens, np.int32), hidden)
        for first, end in runs:
            kernels.layers(runner.layers[first:end], first, rows, hidden)
        return hidden.tobytes()

    assert hidden_after((0, 1), (1, 3)) == hidden_after((0, 3))
    assert hidden_after((0, 2)) != hidden_after((0, 3))


def test_page_ids_beyond_the_memory_are_refused() -> None:
    model = RandomModel("q4s")
    runner = native(model)
    for page_id in (-1, runner.memory.num_pages):
        with pytest.raises(ValueError, match="page id"):
            runner.kernels.begin([RowSpan(0, 1, (page_id,))], model.inv_freq, runner.memory)


@pytest.mark.parametrize("instruction_set", supported_sets())
@pytest.mark.parametrize("threads", [1, 3])
def test_a_pass_without_rows_or_without_chosen_rows_computes_nothing(instruction_set: str, threads: int) -> None:
    model = RandomModel("q4p")
    runner = native(model, instruction_set, threads)
    kernels, none = runner.kernels, np.empty(0, np.int32)
    hidden, nothing = (
        np.ones((1, model.config.hidden_size), np.float32),
        np.empty((0, model.config.vocab_size), np.float32),
    )
    kernels.head(model.head_norm, runner.head, hidden, none, nothing)
    kernels.head(model.head_norm, runner.head, hidden[:0], none, nothing)
    kernels.embed(runner.embed, none, hidden[:0])
    kernels.layers(runner.layers, 0, kernels.begin([], model.inv_freq, runner.memory), hidden[:0])
    assert (hidden == 1).all()


def logits_of_head(instruction_set: str, tables: list[TensorData], hidden: np.ndarray) -> list[np.ndarray]:
    rows, cols = tables[0].shape
    kernels = NativeKernels(config(hidden_size=cols, vocab_size=rows), instruction_set, 1)
    found = []
    for table in tables:
        logits = np.empty((len(hidden), rows), np.float32)
        chosen = np.arange(len(hidden), dtype=np.int32)
        kernels.head(np.ones(cols, np.float32), kernels.load_matrix(table), hidden, chosen, logits)
        found.append(logits)
    return found


@pytest.mark.parametrize("instruction_set", supported_sets())
def test_formats_that_hold_the_same_values_give_the_same_bits(instruction_set: str) -> None:
    rng = np.random.default_rng(11)
    codes = rng.integers(-8, 8, (37, 3, 32)).astype(np.int8)
    scales = rng.normal(0, 0.01, (37, 3)).astype(np.float16)
    tables = []
    for format_name in ("q4s", "q6s", "q8s"):
        quants = (codes + np.int8(ZERO_CODE[format_name])).view(np.int8 if format_name == "q8s" else np.uint8)
        packed = pack_planes(format_name, Planes(quants, scales))
        tables.append(TensorData(format_name, (37, 96), ((0, packed.reshape(-1)),)))
    for count in (1, 5):
        one, *others = logits_of_head(instruction_set, tables, rng.normal(size=(count, 96)).astype(np.float32))
        assert [other.tobytes() for other in others] == [one.tobytes()] * 2


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("instruction_set", supported_sets())
def test_the_largest_codes_and_activations_do_not_saturate(instruction_set: str, sign: int) -> None:
    largest = {"q4s": (15, 7), "q6s": (63, 31), "q8s": (-128, -128)}
    for format_name, (code, value) in largest.items():
        quants = np.full((16, 2, 32), code, np.int8 if format_name == "q8s" else np.uint8)
        packed = pack_planes(format_name, Planes(quants, np.ones((16, 2), np.float16)))
        table = TensorData(format_name, (16, 64), ((0, packed.reshape(-1)),))
        for logits in logits_of_head(instruction_set, [table], np.full((5, 64), np.float32(sign))):
            np.testing.assert_allclose(logits, sign * 64 * value, rtol=1e-5)
