"""Networks cut in two compute what they computed whole; what is no network, or cannot be cut, is told."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.voice.engines.graph_cut import cut

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def is_sound(name: str) -> bool:
    return name.startswith("/dec/")


def network(*, passes_two: bool = False, uses_input: bool = False) -> bytes:
    """y = |x * weight| + 3, the last step of which has no name that tells where it belongs."""
    make = onnx.helper.make_node
    nodes = [
        make("Mul", ["x", "weight"], ["scaled"], name="/enc/Mul"),
        make("Neg", ["scaled"], ["other"], name="/enc/Neg"),
        make("Constant", [], ["three"], name="/Constant", value=onnx.numpy_helper.from_array(np.array(3, np.float32))),
        make("Abs", ["scaled"], ["positive"], name="/dec/Abs"),
        make("Add", ["positive", "three"], ["sum"], name="/dec/Add"),
    ]
    last = "sum"
    if passes_two:
        nodes.append(make("Add", ["sum", "other"], ["both"], name="/dec/Add_1"))
        last = "both"
    if uses_input:
        nodes.append(make("Add", [last, "x"], ["with_x"], name="/Add"))
        last = "with_x"
    nodes.append(make("Identity", [last], ["y"], name="/Identity"))
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "network",
        [value("x", onnx.TensorProto.FLOAT, ["n"])],
        [value("y", onnx.TensorProto.FLOAT, ["n"])],
        [onnx.numpy_helper.from_array(np.array([2, -1, 0.5], np.float32), "weight")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 15)], ir_version=8)
    return bytes(model.SerializeToString())


def run(model: bytes, **inputs: np.ndarray) -> np.ndarray:
    (output,) = runtime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, inputs)
    return np.asarray(output)


def test_the_parts_one_after_the_other_are_the_whole() -> None:
    model = network()
    parts = cut(memoryview(model), is_sound)
    assert parts is not None
    assert parts.border == "scaled"
    x = np.array([1, 2, 3], np.float32)
    frames = run(parts.first(), x=x)
    np.testing.assert_array_equal(frames, np.array([2, -2, 1.5], np.float32))
    np.testing.assert_array_equal(run(parts.second(), scaled=frames), run(model, x=x))


def test_weights_are_in_the_part_that_needs_them() -> None:
    parts = cut(memoryview(network()), is_sound)
    assert parts is not None
    assert [one.name for one in onnx.load_from_string(parts.first()).graph.initializer] == ["weight"]
    assert not onnx.load_from_string(parts.second()).graph.initializer


@pytest.mark.parametrize("model", [network(passes_two=True), network(uses_input=True)])
def test_where_more_than_one_value_passes_it_is_not_cut(model: bytes) -> None:
    assert cut(memoryview(model), is_sound) is None


def test_without_the_names_that_were_asked_for_it_is_not_cut() -> None:
    assert cut(memoryview(network()), lambda name: False) is None


@given(st.binary(max_size=200))
def test_whatever_it_is_it_ends_in_a_cut_or_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        cut(memoryview(data), is_sound)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_network_ends_in_a_cut_or_a_value_error(place: int, byte: int) -> None:
    damaged = bytearray(network())
    damaged[place % len(damaged)] = byte
    with suppress(ValueError):
        cut(memoryview(bytes(damaged)), is_sound)
    with suppress(ValueError):
        cut(memoryview(network())[: place % len(damaged)], is_sound)
