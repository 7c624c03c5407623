"""Quantised graphs compute, in ONNX Runtime, what the model computes, and have the form that NPU compilers expect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.layer_math import Floats
from pocketseek.convert.onnx.qdq import QdqGraph
from pocketseek.convert.onnx.static_stages import Shapes, embed_stage, head_stage, layers_stage, rms_norm
from pocketseek.convert.sources.open import open_source
from pocketseek.convert.static_rule import StaticRule
from pocketseek.convert.static_walk import StaticHead, StaticLayer, StaticWalk

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
CASES = ("llama-llama3", "qwen2-yarn", "qwen2-tied", "qwen3")
OPSET = 21


@dataclass(frozen=True)
class Walked:
    weights: CheckpointWeights
    layers: list[StaticLayer]
    head: StaticHead
    ids: np.ndarray
    logits: Floats


@pytest.fixture(scope="module", params=CASES)
def walked(request: pytest.FixtureRequest) -> Iterator[Walked]:
    case = GOLDEN / str(request.param)
    golden = np.load(case / "golden.npz")
    ids = golden["input_ids"].astype(np.int32).reshape(1, -1)
    with closing(open_source(case)) as source:
        weights = CheckpointWeights(source, choose_planner(source)(source))
        walk = StaticWalk(weights, ids, share=0.5)
        layers = [walk.layer(index) for index in range(weights.model.num_layers)]
        yield Walked(weights, layers, walk.head(), ids[0], golden["logits"].reshape(ids.size, -1))


class Runner:
    """Stages one after another, and the cache between passes."""

    def __init__(self, walked: Walked, rule: StaticRule, shapes: Shapes | None = None) -> None:
        shapes = shapes or Shapes()
        config = walked.weights.model
        self.models = [
            embed_stage(walked.weights, shapes, OPSET),
            layers_stage(config, 0, walked.layers, rule, shapes, OPSET).model,
            head_stage(walked.weights, walked.head, rule, shapes, OPSET),
        ]
        self.sessions = [onnxruntime.InferenceSession(model.SerializeToString()) for model in self.models]
        self.cache_shape = (1, config.num_kv_heads, 0, config.head_dim)
        self.names = [f"{index}.{kind}" for index in range(config.num_layers) for kind in ("key", "value")]

    def run(self, ids: np.ndarray, mask: np.ndarray, rows: np.ndarray, cache: dict[str, Floats]) -> dict[str, Floats]:
        values = {f"past_key_values.{name}": value for name, value in cache.items()}
        values |= {"input_ids": ids[None].astype(np.int64), "attention_mask": mask[None], "logit_rows": rows}
        for session in self.sessions:
            names = [output.name for output in session.get_outputs()]
            inputs = {one.name: values[one.name] for one in session.get_inputs()}
            values |= dict(zip(names, session.run(names, inputs), strict=True))
        return values

    def logits(self, ids: np.ndarray, cuts: tuple[int, ...] = ()) -> Floats:
        """Of all tokens, read in pieces that end at cuts."""
        cache = {name: np.zeros(self.cache_shape, np.float32) for name in self.names}
        found, start = [], 0
        for stop in (*cuts, len(ids)):
            result = self.run(ids[start:stop], np.ones(stop, np.int64), np.arange(stop - start), cache)
            cache = {name: result[f"present.{name}"] for name in self.names}
            found.append(result["logits"][0])
            start = stop
        return np.concatenate(found)


def relative_error(found: Floats, expected: Floats) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(("rule", "most"), [(StaticRule(0), 0.02), (StaticRule(16), 0.02), (StaticRule(8), 0.2)])
def test_logits_are_those_of_transformers_within_what_rounding_costs(
    walked: Walked, rule: StaticRule, most: float
) -> None:
    assert relative_error(Runner(walked, rule).logits(walked.ids), walked.logits) < most


def test_a_prompt_in_pieces_gives_what_it_gives_at_once(walked: Walked) -> None:
    runner = Runner(walked, StaticRule(16))
    whole, pieces = runner.logits(walked.ids), runner.logits(walked.ids, cuts=(3, 4, 9))
    np.testing.assert_allclose(pieces, whole, atol=2e-3 * float(np.abs(whole).max()))


def test_a_graph_of_fixed_shapes_reads_a_padded_piece_after_a_cache_with_gaps(walked: Walked) -> None:
    """Cache kept in place by the caller: 5 tokens read, room for 20, then 4 of which 3 count."""
    tokens, total = 4, 24
    runner = Runner(walked, StaticRule(16), Shapes(tokens, total))
    expected = Runner(walked, StaticRule(16)).logits(walked.ids)
    cache = {
        name: np.zeros((*runner.cache_shape[:2], total - tokens, runner.cache_shape[3]), np.float32)
        for name in runner.names
    }
    read = 0
    for count in (4, 1, 3):
        ids = np.zeros(tokens, np.int64)
        ids[:count] = walked.ids[read : read + count]
        mask = np.zeros(total, np.int64)
        mask[:read] = 1
        mask[total - tokens : total - tokens + count] = 1
        result = runner.run(ids, mask, np.array([count - 1]), cache)
        for name in runner.names:
            cache[name][:, :, read : read + count] = result[f"present.{name}"][:, :, :count]
        read += count
        np.testing.assert_allclose(
            result["logits"][0, 0], expected[read - 1], atol=2e-3 * float(np.abs(expected).max())
        )


def graph_of(walked: Walked, rule: StaticRule, shapes: Shapes | None = None) -> list[onnx.ModelProto]:
    return Runner(walked, rule, shapes).models


@pytest.mark.parametrize("shapes", [Shapes(), Shapes(4, 64)])
def test_graphs_are_valid_and_of_standard_operators(walked: Walked, shapes: Shapes) -> None:
    for model in graph_of(walked, StaticRule(), shapes):
        onnx.checker.check_model(model, full_check=True)
        assert {node.domain for node in model.graph.node} == {""}


def test_every_matrix_product_lies_between_pairs_of_the_same_bits(walked: Walked) -> None:
    for model in graph_of(walked, StaticRule())[1:]:
        producers = {name: node for node in model.graph.node for name in node.output}
        kinds = {one.name: one.data_type for one in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type not in ("MatMul", "Gemm"):
                continue
            inputs = [producers[name] for name in node.input]
            readers = [reader for reader in model.graph.node if node.output[0] in reader.input]
            assert {one.op_type for one in inputs} == {"DequantizeLinear"}
            if [reader.op_type for reader in readers] != ["Concat"]:
                assert [reader.op_type for reader in readers] == ["QuantizeLinear"]
                assert kinds[readers[0].input[2]] == kinds[inputs[0].input[2]]


def test_weights_are_int8_per_output_and_nothing_large_is_float(walked: Walked) -> None:
    hidden = walked.weights.model.hidden_size
    for model in graph_of(walked, StaticRule()):
        for one in model.graph.initializer:
            if len(one.dims) == 2 and min(one.dims) > 1:
                assert one.data_type == TensorProto.INT8, one.name
            elif one.data_type == TensorProto.FLOAT:
                assert np.prod(one.dims) <= max(hidden, *walked.logits.shape, walked.weights.model.intermediate_size)


def test_biases_are_int32_in_steps_of_input_times_weight(walked: Walked) -> None:
    model = graph_of(walked, StaticRule())[1]
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    biases = {name: value for name, value in constants.items() if name.endswith(".bias")}
    assert bool(biases) == walked.weights.model.qkv_bias
    for name, codes in biases.items():
        layer, short = walked.layers[int(name.split(".")[1])], name.split(".")[2]
        assert codes.dtype == np.int32
        expected = layer.vectors[f"{short}_bias"]
        np.testing.assert_allclose(codes * constants[f"{name}_scale"], expected, atol=2e-4)


@pytest.mark.parametrize("peak", [0.01, 1.0, 26_910.0])
def test_norms_stay_within_float16_and_compute_the_same_bits(peak: float) -> None:
    """Squares are computed of x times a power of two, so that an NPU's float16 (65504) holds the largest of them."""
    x = np.random.default_rng(1).normal(size=(5, 64)).astype(np.float32) * np.float32(peak / 1000)
    x[2, 7] = -peak
    weight = np.linspace(0.5, 2, 64, dtype=np.float32)
    results, largest = [], []
    for said in (peak, 64.0):  # of 64 nothing is scaled
        graph = QdqGraph("norm")
        normed = rms_norm(graph, graph.input("x", TensorProto.FLOAT, (5, 64)), graph.constant("w", weight), 1e-30, said)
        graph.output(normed, "y", TensorProto.FLOAT, (5, 64))
        model = graph.model(OPSET)
        squares = next(node.output[0] for node in model.graph.node if node.input[:1] == node.input[1:])
        model.graph.output.append(onnx.helper.make_tensor_value_info(squares, TensorProto.FLOAT, None))
        session = onnxruntime.InferenceSession(model.SerializeToString())
        result, squared = session.run(None, {"x": x})
        results.append(result)
        largest.append(float(squared.max()))
    np.testing.assert_array_equal(results[0], results[1])
    assert 1000 <= largest[0] <= 4096
