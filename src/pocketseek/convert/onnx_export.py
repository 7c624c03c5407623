"""ONNX Runtime's part in an export: its own converter makes `.ort` files of graphs."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidGraph,
    NotImplemented,
    RuntimeException,
)

from pocketseek.errors import UnsupportedError
from pocketseek.package.storage import check_free_space

_ERRORS_ONLY = 3


def save_as_ort(graph: Path, target: Path, *, keep_pairs: bool) -> None:
    """A graph (with its data files) as one file in ONNX Runtime's format, in which nothing is fused when it is loaded.

    keep_pairs: leave quantised operations between their pairs, as NPU providers want them, instead of making the CPU's
    integer operations of them, which are many times faster there. Raises UnsupportedError if ONNX Runtime refuses,
    StorageError if the disk is too full (of which ONNX Runtime says only that it failed).
    """
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.add_session_config_entry("session.disable_prepacking", "1")  # it would be a copy of the weights
    options.graph_optimization_level = levels.ORT_ENABLE_BASIC if keep_pairs else levels.ORT_ENABLE_EXTENDED
    try:
        onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, NotImplemented, RuntimeException) as error:
        target.unlink(missing_ok=True)
        check_free_space(target.parent, sum(path.stat().st_size for path in graph.parent.glob(f"{graph.name}*")))
        raise UnsupportedError(
            f"ONNX Runtime {onnxruntime.__version__} cannot convert {graph.name} ({error}); "
            "export with --format onnx, or install another version"
        ) from error
