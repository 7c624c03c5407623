"""ONNX Runtime's part in an export: its own converter makes `.ort` files of graphs."""

from __future__ import annotations

from pathlib import Path

import onnxruntime  # type: ignore[import-untyped]
from onnxruntime.capi.onnxruntime_pybind11_state import (  # type: ignore[import-untyped]
    Fail,
    InvalidGraph,
    NotImplemented,
    RuntimeException,
)

from pocketseek.errors import UnsupportedError

_ERRORS_ONLY = 3


def save_as_ort(graph: Path, target: Path) -> None:
    """A graph (with its data files) as one file in ONNX Runtime's format.

    Quantised operations stay as they are, for the providers that take them; how the CPU may fuse them is written into
    the file beside them and done when it is loaded. Raises UnsupportedError if ONNX Runtime refuses the graph.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.add_session_config_entry("optimization.minimal_build_optimizations", "save")
    try:
        onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, NotImplemented, RuntimeException) as error:
        raise UnsupportedError(
            f"ONNX Runtime {onnxruntime.__version__} cannot convert {graph.name} ({error}); "
            "export with --format onnx, or install another version"
        ) from error
