"""ONNX Runtime's messages, as its version 1.32 gives them, become one line with what to do."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pocketseek.errors import FormatError, PocketseekError, UnsupportedError
from pocketseek.runtime.onnx.open_problems import open_problem

OPSET = (
    "[ONNXRuntimeError] : 1 : FAIL : Load model from m.onnx failed:/onnxruntime_src/onnxruntime/core/graph/"
    "model_load_utils.h:46 void onnxruntime::model_load_utils::ValidateOpsetForDomain(const std::unordered_map<std::"
    "__cxx11::basic_string<char>, int>&, const onnxruntime::logging::Logger&, bool, const std::string&, int) ONNX "
    "Runtime only *guarantees* support for models stamped with official released onnx opset versions. Opset 99 is "
    "under development and support for this is limited. The operator schemas and or other functionality may "
    "change before next ONNX release and in this case ONNX Runtime will not guarantee backward compatibility. "
    "Current official support for domain ai.onnx is till opset 28.\n"
)


@pytest.mark.parametrize(
    ("message", "kind", "line"),
    [
        (
            OPSET,
            UnsupportedError,
            "m.onnx is written in opset 99, and this ONNX Runtime (1.32.0) knows up to 28; install a newer ONNX "
            "Runtime, or export with a smaller --opset",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Load model from m.onnx failed:Fatal error: "
            "com.microsoft:MatMulNBitsNext(-1) is not a registered function/op",
            UnsupportedError,
            "m.onnx needs the operator com.microsoft:MatMulNBitsNext, which this ONNX Runtime (1.32.0) lacks; install "
            "a newer ONNX Runtime, or export the model again",
        ),
        (
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Mod(13) node 'x'",
            UnsupportedError,
            "m.onnx needs the operator Mod, which this ONNX Runtime (1.32.0) lacks; install a newer ONNX Runtime, or "
            "export the model again",
        ),
        (
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : something\nelse",
            UnsupportedError,
            "m.onnx needs an operator that this ONNX Runtime (1.32.0) lacks ([ONNXRuntimeError] : 9 : NOT_IMPLEMENTED "
            ": something else); install a newer ONNX Runtime",
        ),
        ("a\n" * 5000, FormatError, f"m.onnx cannot be opened by ONNX Runtime: {'a ' * 150}; export it again"),
    ],
)
def test_each_has_its_line(message: str, kind: type[PocketseekError], line: str) -> None:
    error = open_problem(Path("m.onnx"), message, "1.32.0")
    assert type(error) is kind
    assert str(error) == line


@pytest.mark.parametrize(
    ("operator", "domain", "opset", "words"),
    [("Relu", "", 99, "is written in opset 99"), ("Nothing", "com.microsoft", 21, "operator com.microsoft:Nothing,")],
)
def test_the_installed_library_still_says_it_that_way(
    operator: str, domain: str, opset: int, words: str, tmp_path: Path
) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    node = helper.make_node(operator, ["x"], ["y"], domain=domain)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=imports, ir_version=10)
    onnx.save(model, str(tmp_path / "m.onnx"))
    with pytest.raises(Exception, match="ONNXRuntimeError") as said:
        onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    assert words in str(open_problem(tmp_path / "m.onnx", str(said.value), onnxruntime.__version__))
