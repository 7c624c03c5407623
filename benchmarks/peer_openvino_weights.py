"""OpenVINO's side of quantisation_quality.py, which starts this with the peer's interpreter (openvino, nncf, numpy).

    python peer_openvino_weights.py compress IR OUT --mode sym|asym [--all-layers] --windows WINDOWS.npy
    python peer_openvino_weights.py read IR OUT --windows WINDOWS.npy --threads N

compress: NNCF rounds a full-precision model to four bits with groups of 128, with scale estimation and GPTQ on the
windows' text. read: OUT/matrices.npz gets what the compressed constants stand for, in float32 by the checkpoint's
names, and their bytes (codes, scales, zero points) as num_bytes; OUT/logits.npy the logits (windows, length, vocab) as
the CPU plugin gives them, with the settings of peer_openvino.py. WINDOWS: token ids (number, length) int32.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import openvino as ov
from openvino_constants import checkpoint_name, unpacked

GROUP = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("compress", "read"))
    parser.add_argument("ir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--windows", type=Path, required=True)
    parser.add_argument("--mode", choices=("sym", "asym"))
    parser.add_argument("--all-layers", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    model = ov.Core().read_model(arguments.ir / "openvino_model.xml")
    windows = np.load(arguments.windows)
    if arguments.task == "compress":
        compress(model, windows, arguments.mode, arguments.all_layers, arguments.out)
        return
    found, num_bytes = matrices(model)
    np.savez(arguments.out / "matrices.npz", num_bytes=num_bytes, **found)
    write_logits(model, windows, arguments.threads, arguments.out / "logits.npy")


def compress(model: ov.Model, windows: np.ndarray, mode: str, all_layers: bool, out: Path) -> None:
    import nncf  # slow, and not needed for reading

    compressed = nncf.compress_weights(
        model,
        mode=nncf.CompressWeightsMode.INT4_SYM if mode == "sym" else nncf.CompressWeightsMode.INT4_ASYM,
        ratio=1.0,
        group_size=GROUP,
        all_layers=all_layers,
        dataset=nncf.Dataset([inputs(window) for window in windows]),
        subset_size=len(windows),
        scale_estimation=True,
        gptq=True,
    )
    ov.save_model(compressed, out / "openvino_model.xml", compress_to_fp16=False)


def matrices(model: ov.Model) -> tuple[dict[str, np.ndarray], int]:
    constants = {op.get_friendly_name(): op for op in model.get_ops() if op.get_type_name() == "Constant"}
    found: dict[str, np.ndarray] = {}
    num_bytes = 0
    for name, codes in constants.items():
        if (scale := constants.get(f"{name}/scale")) is None:
            continue
        parts = [codes, scale]
        values = numbers(codes)
        if (zero_point := constants.get(f"{name}/zero_point")) is not None:
            parts.append(zero_point)
            values = values - numbers(zero_point)
        values = values * numbers(scale)
        found[checkpoint_name(name)] = values.reshape(len(values), -1)
        num_bytes += sum(part.get_byte_size() for part in parts)
    return found, num_bytes


def numbers(constant: ov.Node) -> np.ndarray:
    """float32, of the constant's shape. Four-bit types are packed, the first in the low half of a byte."""
    kind, shape = constant.get_element_type().get_type_name(), list(constant.get_output_shape(0))
    if kind not in ("i4", "u4"):
        return constant.get_data().astype(np.float32).reshape(shape)
    packed = constant.get_data().view(np.uint8).reshape(-1)
    return unpacked(packed, is_signed=kind == "i4")[: int(np.prod(shape))].astype(np.float32).reshape(shape)


def write_logits(model: ov.Model, windows: np.ndarray, threads: int, path: Path) -> None:
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    vocab_size = model.output("logits").partial_shape[2].get_length()
    logits = np.lib.format.open_memmap(path, "w+", np.float32, (*windows.shape, vocab_size))
    for index, window in enumerate(windows):
        request.reset_state()
        request.infer(inputs(window))
        logits[index] = request.get_tensor("logits").data[0]
    logits.flush()


def inputs(window: np.ndarray) -> dict[str, np.ndarray]:
    ids = window.astype(np.int64)[None]
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "position_ids": np.arange(ids.shape[1], dtype=np.int64)[None],
        "beam_idx": np.zeros(1, np.int32),
    }


if __name__ == "__main__":
    main()
