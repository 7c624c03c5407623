"""A graph that grows node by node: what all our graphs have in common. Names of values are made here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Dim = int | str
Attribute = int | float | list[int]


class OnnxGraph:
    """Constants are kept in the graph, unless a subclass puts them elsewhere (`_stored`)."""

    def __init__(self, name: str, ir_version: int) -> None:
        self._model = onnx.ModelProto(ir_version=ir_version, producer_name="pocketseek")
        self._graph = self._model.graph
        self._graph.name = name
        self._known: dict[str, bytes] = {}  # digests of constants
        self._num_names = 0

    def input(self, name: str, kind: int, shape: Sequence[Dim]) -> str:
        self._graph.input.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(self, value: str, name: str, kind: int, shape: Sequence[Dim]) -> None:
        """value: may have that name already."""
        if value != name:
            self._graph.node.append(helper.make_node("Identity", [value], [name], name=name))
        self._graph.output.append(helper.make_tensor_value_info(name, kind, list(shape)))

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """One constant of a name; asked for again, it must be the same."""
        array = np.asarray(values, order="C")
        digest = hashlib.sha256(array.reshape(-1).view(np.uint8).data).digest()
        if name not in self._known:
            self._known[name] = digest
            self._graph.initializer.append(self._stored(name, array))
        if self._known[name] != digest:
            raise ValueError(f"two constants want to be called {name!r}")
        return name

    def ints(self, *values: int) -> str:
        return self.constant("ints." + "_".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value: int) -> str:
        return self.constant(f"int.{value}", np.array(value, np.int64))

    def number(self, value: float) -> str:
        return self.constant(f"float.{value!r}", np.array(value, np.float32))

    def node(self, op: str, *inputs: str, label: str = "", domain: str = "", **attributes: Attribute) -> str:
        return self.nodes(op, inputs, 1, label=label, domain=domain, **attributes)[0]

    def nodes(
        self,
        op: str,
        inputs: Sequence[str],
        num_outputs: int,
        *,
        label: str = "",
        domain: str = "",
        **attributes: Attribute,
    ) -> list[str]:
        outputs = [self._new_name(label or op.lower()) for _ in range(num_outputs)]
        self.named_node(op, inputs, outputs, domain=domain, **attributes)
        return outputs

    def named_node(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str], *, domain: str = "", **attributes: Attribute
    ) -> None:
        """outputs: "" for one that is left out."""
        node = helper.make_node(op, list(inputs), list(outputs), name=next(filter(None, outputs)), domain=domain)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self._graph.node.append(node)

    def _stored(self, name: str, values: NDArray[np.generic]) -> onnx.TensorProto:
        return numpy_helper.from_array(values, name)

    def _new_name(self, stem: str) -> str:
        self._num_names += 1
        return f"{stem}.{self._num_names}"

    def _with_opsets(self, opsets: dict[str, int]) -> onnx.ModelProto:
        """The graph itself, not a copy. Asked for once, when all is there."""
        self._model.opset_import.extend(helper.make_opsetid(*pair) for pair in opsets.items())
        return self._model
