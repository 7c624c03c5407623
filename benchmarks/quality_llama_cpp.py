"""GGUF files for quantisation_quality.py: of a float16 llama, written here and quantised by llama.cpp.

With calibration text, llama.cpp gets what its own llama-imatrix computes: the mean square of each input of each matrix,
over the windows that pocketseek calibrates with. `q4s_candidates` are no work of llama.cpp's: blocks of four bits as
pocketseek rounds them without calibration, in the file format that holds them exactly.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from quality_measure import Candidate, Floats

from pocketseek.convert.calibrate import Calibration, QuantisedMatrix
from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.families.base import ModelPlan
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.families.names import source_name
from pocketseek.convert.gram import Gram
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.quantize import quantize
from pocketseek.convert.slabs import read_matrix, read_vector
from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.open import open_source
from pocketseek.runtime.window_logits import WindowLogits
from pocketseek.types import ModelConfig

FILE_TYPES = {"Q4_0": 2, "Q4_K_M": 15}  # llama_ftype
_QUANTISE = """
import ctypes, sys, numpy, llama_cpp
source, target, file_type, mode, importance = sys.argv[1:6]
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.ftype, parameters.nthread, parameters.pure = int(file_type), 2, mode == "pure"
if importance:
    kept = {name.encode(): values for name, values in numpy.load(importance).items()}
    entries = (llama_cpp.llama_model_imatrix_data * (len(kept) + 1))()
    for entry, (name, values) in zip(entries, kept.items()):
        entry.name, entry.size = name, values.size
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    parameters.imatrix = entries
sys.exit(llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters)))
"""
Encode = Callable[[str, Floats], tuple[npt.NDArray[Any], gguf.GGMLQuantizationType | None]]


def llama_cpp_candidates(
    checkpoint: Path, folder: Path, calibration: npt.NDArray[np.int32], peer: str
) -> Iterator[Candidate]:
    """calibration: windows of token ids."""
    source, importance = folder / "f16.gguf", folder / "importance.npz"
    write_gguf(checkpoint, source, as_float16)
    np.savez(importance, **input_squares(checkpoint, calibration))
    for name, file_type in FILE_TYPES.items():
        for mode in ("mixed", "pure"):
            for kept in ("", str(importance)):
                target = folder / "peer.gguf"
                command = [peer, "-c", _QUANTISE, str(source), str(target), str(file_type), mode, kept]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"llama.cpp does not quantise to {name}:\n{done.stderr[-2000:]}")
                shown = name if mode == "mixed" else f"{name.removesuffix('_M')} pure"
                yield from gguf_candidate(target, folder, "llama.cpp", shown, "importance matrix" if kept else "")


def q4s_candidates(checkpoint: Path, folder: Path) -> Iterator[Candidate]:
    """Rounded to four bits and a float16 scale per 32; without and with an eight-bit head."""
    for shown, vocabulary in (("q4s", "q8s"), ("q4s pure", "q4s")):
        path = folder / "q4s.gguf"
        write_gguf(checkpoint, path, q4s_encoder(vocabulary))
        yield from gguf_candidate(path, folder, "pocketseek", shown, "")


def gguf_candidate(path: Path, folder: Path, maker: str, name: str, calibration: str) -> Iterator[Candidate]:
    """Its weights are the file's; it is run as the package that `--quant keep` makes of it."""
    package = convert_checkpoint(path, folder / "imported", quant="keep")
    with closing(open_source(path)) as source:
        plan = choose_planner(source)(source)
        window = plan.model.context_length
        with closing(WindowLogits(package, window=window)) as logits:
            yield Candidate(maker, name, calibration, matrix_bytes(path), CheckpointWeights(source, plan), logits)


def matrix_bytes(path: Path) -> int:
    """Of the file, not of what it becomes when imported."""
    return sum(int(tensor.n_bytes) for tensor in gguf.GGUFReader(path).tensors if len(tensor.shape) == 2)


def input_squares(checkpoint: Path, windows: npt.NDArray[np.int32]) -> dict[str, Floats]:
    """Mean square of each input of each matrix in the float16 model, by GGUF name."""
    found: dict[str, Floats] = {}

    def keep(name: str, weights: Floats, gram: Gram) -> QuantisedMatrix:
        found[name] = gram.importance
        return QuantisedMatrix(None, weights, 0.0, 0.0)

    with closing(open_source(checkpoint)) as source:
        plan = choose_planner(source)(source)
        walk = Calibration(source, plan, windows)
        table = walk.matrix("embed.weight" if walk.has("embed.weight") else "head.weight")
        walk.embed(lambda ids: table[ids])
        for layer in range(plan.model.num_layers):
            walk.layer(layer, keep)
        walk.head(keep)
        return {gguf_name(name, plan.model): squares for name, squares in found.items()}


def as_float16(_name: str, values: Floats) -> tuple[npt.NDArray[Any], gguf.GGMLQuantizationType | None]:
    return values.astype(np.float16), None


def q4s_encoder(vocabulary: str) -> Encode:
    """vocabulary: format of embedding and head."""

    def encode(name: str, values: Floats) -> tuple[npt.NDArray[Any], gguf.GGMLQuantizationType | None]:
        if "layer." in name or vocabulary == "q4s":
            return q4_0_blocks(values), gguf.GGMLQuantizationType.Q4_0
        return q8_0_blocks(values), gguf.GGMLQuantizationType.Q8_0

    return encode


def q4_0_blocks(values: Floats) -> npt.NDArray[np.uint8]:
    """(rows, bytes): per block a float16 scale, then value i in the low and i + 16 in the high half of byte i."""
    planes = quantize("q4s", values)
    codes = planes.quants.astype(np.uint8)
    halves = codes[..., :16] | codes[..., 16:] << 4
    return _blocks(planes.scales, halves)


def q8_0_blocks(values: Floats) -> npt.NDArray[np.uint8]:
    planes = quantize("q8s", values)
    return _blocks(planes.scales, planes.quants.view(np.uint8))


def _blocks(scales: npt.NDArray[np.float16], codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    as_bytes = np.ascontiguousarray(scales[..., None].astype("<f2")).view(np.uint8)
    return np.concatenate([as_bytes, codes], axis=-1).reshape(len(scales), -1)


def write_gguf(checkpoint: Path, path: Path, encode: Encode) -> None:
    """encode: (canonical name, rows) to what is stored; the rotary rows are in llama.cpp's order already."""
    with closing(open_source(checkpoint)) as source:
        plan = choose_planner(source)(source)
        writer = gguf.GGUFWriter(path, "llama")
        add_settings(writer, plan.model)
        add_tokenizer(writer, json.loads((checkpoint / "tokenizer.json").read_bytes()), plan.model.vocab_size)
        add_tensors(writer, source, plan, encode)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def add_settings(writer: gguf.GGUFWriter, model: ModelConfig) -> None:
    if model.family != "llama" or model.rope_scaling.kind != "none":
        raise SystemExit(f"a {model.family} model with rope scaling {model.rope_scaling.kind} is not written here")
    writer.add_name("small")
    writer.add_context_length(model.context_length)
    writer.add_embedding_length(model.hidden_size)
    writer.add_block_count(model.num_layers)
    writer.add_feed_forward_length(model.intermediate_size)
    writer.add_head_count(model.num_heads)
    writer.add_head_count_kv(model.num_kv_heads)
    writer.add_layer_norm_rms_eps(model.rms_norm_eps)
    writer.add_rope_freq_base(model.rope_theta)
    writer.add_rope_dimension_count(model.head_dim)
    writer.add_vocab_size(model.vocab_size)


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: dict[str, Any], vocab_size: int) -> None:
    by_id = {token_id: token for token, token_id in tokenizer["model"]["vocab"].items()}
    special = {token["id"] for token in tokenizer["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([by_id.get(i, f"<unused{i}>") for i in range(vocab_size)])
    writer.add_token_types([3 if i in special else 1 if i in by_id else 5 for i in range(vocab_size)])
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in tokenizer["model"]["merges"]]
    writer.add_token_merges(merges)
    writer.add_eos_token_id(min(special))


def add_tensors(writer: gguf.GGUFWriter, source: Source, plan: ModelPlan, encode: Encode) -> None:
    for tensor in plan.tensors:
        name = gguf_name(tensor.name, plan.model)
        if len(tensor.shape) == 1:
            writer.add_tensor(name, read_vector(source, tensor))
            continue
        stored, kind = encode(tensor.name, rotary_order(read_matrix(source, tensor), tensor.name, plan.model))
        writer.add_tensor(name, stored, raw_dtype=kind)


def gguf_name(canonical: str, model: ModelConfig) -> str:
    """llama.cpp calls a tied head the embedding."""
    is_tied_head = model.tied_embeddings and canonical == "head.weight"
    return source_name("embed.weight" if is_tied_head else canonical, "gguf")


def rotary_order(values: Floats, name: str, model: ModelConfig) -> Floats:
    if name.rpartition(".")[2] not in ("q", "k"):
        return values
    halves = values.reshape(-1, 2, model.head_dim // 2, values.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)
