"""Does Qualcomm's compiler take an int8-static export, and what does its emulated NPU compute?

    PYTHON benchmarks/qnn_emulator.py EXPORT [--ids 12,34,...] [--arch 75] [--soc 57]

EXPORT: a folder made with --tokens and --context, format onnx. PYTHON: of an environment with onnxruntime-qnn, whose
Linux package for x86-64 holds the compiler for the Hexagon NPU and an emulator of it, slow and without any claim about
speed (57 and 75 are Snapdragon 8 Gen 3). For every stage but the embedding: compiled with nothing left to the CPU, or
which nodes were refused; then run on the same inputs as by ONNX Runtime's CPU provider, and how far outputs are apart:
median over tokens, and the first token, whose hidden state is the largest. Needs nothing of pocketseek. Prints a table
and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import onnxruntime_qnn
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

Values = dict[str, npt.NDArray[Any]]
ERRORS_ONLY = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("export", type=Path)
    parser.add_argument("--ids", default="", help="of the tokens to read, with commas between; default: random")
    parser.add_argument("--arch", default="75")
    parser.add_argument("--soc", default="57")
    arguments = parser.parse_args()
    description = json.loads((arguments.export / "model.json").read_bytes())
    if description["static"]["tokens"] is None:
        raise SystemExit("the export has no fixed shapes; make it with --tokens and --context")
    onnxruntime.register_execution_provider_library("QNNExecutionProvider", onnxruntime_qnn.get_library_path())
    options = {
        "backend_path": onnxruntime_qnn.get_qnn_htp_path(),
        "htp_arch": arguments.arch,
        "soc_model": arguments.soc,
    }
    values = first_values(description, [int(one) for one in arguments.ids.split(",") if one])
    results: dict[str, object] = {}
    for stage in description["stages"]:
        path = arguments.export / stage["file"]
        inputs = {name: values[name] for name in stage["inputs"]}
        expected = dict(zip(stage["outputs"], cpu_session(path).run(stage["outputs"], inputs), strict=True))
        values |= expected
        if stage["kind"] != "embed":
            results[stage["file"]] = compared(path, options, inputs, expected)
            print(stage["file"], results[stage["file"]], flush=True)
    print(json.dumps(results))


def first_values(description: dict[str, Any], ids: list[int]) -> Values:
    """A pass full of tokens after an empty cache."""
    model, static = description["model"], description["static"]
    tokens, past = static["tokens"], static["context"] - static["tokens"]
    chosen = np.random.default_rng(0).integers(0, model["vocab_size"], tokens)
    chosen[: len(ids)] = ids[:tokens]
    mask = np.zeros((1, static["context"]), np.int64)
    mask[:, past:] = 1
    empty = np.zeros((1, model["num_kv_heads"], past, model["head_dim"]), np.float32)
    names = (f"{layer}.{kind}" for layer in range(model["num_layers"]) for kind in ("key", "value"))
    cache = {f"past_key_values.{name}": empty for name in names}
    return {"input_ids": chosen[None], "attention_mask": mask, "logit_rows": np.array([tokens - 1]), **cache}


def cpu_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compared(path: Path, provider_options: dict[str, str], inputs: Values, expected: Values) -> dict[str, object]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    npu = [device for device in onnxruntime.get_ep_devices() if device.ep_name == "QNNExecutionProvider"]
    options.add_provider_for_devices(npu[:1], provider_options)
    start_s = time.monotonic()
    try:
        session = onnxruntime.InferenceSession(str(path), options)
    except Fail as error:  # which nodes were refused is in the log above
        return {"compiled": False, "error": str(error)[:300]}
    compile_s = time.monotonic() - start_s
    found = dict(zip(expected, session.run(list(expected), inputs), strict=True))
    last = list(expected)[-1]
    errors = [relative_errors(found[name], expected[name]) for name in expected]
    return {
        "compiled": True,
        "compile_s": round(compile_s, 1),
        "worst_median_error": round(max(float(np.median(one)) for one in errors), 4),
        f"{last}_median_error": round(float(np.median(errors[-1])), 4),
        f"{last}_first_token_error": round(float(errors[-1][0]), 4),
        "is_finite": all(bool(np.isfinite(value).all()) for value in found.values()),
    }


def relative_errors(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """By token: of outputs (1, tokens, features) or (1, heads, tokens, head dim)."""
    away = np.linalg.norm((found - expected).swapaxes(0, -2).reshape(expected.shape[-2], -1), axis=1)
    size = np.linalg.norm(expected.swapaxes(0, -2).reshape(expected.shape[-2], -1), axis=1)
    result: npt.NDArray[np.float32] = away / np.maximum(size, 1e-9)
    return result


if __name__ == "__main__":
    main()
