"""How much do four bits lose? Ours, with and without calibration, and llama.cpp's, from the same float16 weights.

    python benchmarks/quantisation_quality.py CHECKPOINT TEXTS --peer-python PATH [--window 256] [--kilobytes 60]

CHECKPOINT: a Hugging Face folder of a llama with byte-level BPE, as train_small_llama.py writes it. TEXTS: the folder
of debian_texts.py; calibration-*.txt are for quantising, heldout-*.txt for the figures. PATH: a Python with
llama-cpp-python, whose quantiser makes Q4_0 and Q4_K_M. Its files are imported as they are (`--quant keep`: Q4_0
exactly, Q4_K up to rounding its scales to float16, Q6_K to eight bits), so all are run by the same kernels and compared
with the package of the float16 weights: `pocketseek eval --against`. Needs the library gguf. Prints a table and one
JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from pocketseek.apps.compare_models import compare_models
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.families.names import source_name
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.slabs import read_matrix, read_vector
from pocketseek.convert.sources.open import open_source
from pocketseek.kernels.divergence import Comparison
from pocketseek.package.manifest import read_manifest
from pocketseek.runtime.window_logits import WindowLogits
from pocketseek.types import ModelConfig

KINDS = ("en", "zh", "code")
PEER_TYPES = {"Q4_0": 2, "Q4_K_M": 15}  # llama_ftype
_QUANTISE = """
import ctypes, sys, llama_cpp
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.ftype, parameters.nthread = int(sys.argv[3]), 2
parameters.pure = sys.argv[4] == "pure"
sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(parameters)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--kilobytes", type=int, default=60, help="of each held-out text")
    arguments = parser.parse_args()
    calibration = [(arguments.texts / f"calibration-{kind}.txt").read_text("utf-8") for kind in KINDS]
    heldout = {kind: read_part(arguments.texts / f"heldout-{kind}.txt", arguments.kilobytes) for kind in KINDS}
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        reference = convert_checkpoint(arguments.checkpoint, folder / "f16", quant="keep")
        rows = {}
        for name, package in packages(arguments.checkpoint, folder, calibration, arguments.peer_python):
            figures = {kind: compare(package, reference, text, arguments.window) for kind, text in heldout.items()}
            rows[name] = {"bits": bits_per_weight(package), **{kind: vars(one) for kind, one in figures.items()}}
            print_row(name, rows[name]["bits"], figures)
    print(json.dumps({"benchmark": "quantisation_quality", "rows": rows}))


def packages(checkpoint: Path, folder: Path, calibration: list[str], peer: str) -> Iterator[tuple[str, Path]]:
    yield "q8", convert_checkpoint(checkpoint, folder / "q8", quant="q8")
    for quant in ("q4", "q4-pure"):
        yield f"{quant}, rounded", convert_checkpoint(checkpoint, folder / quant, quant=quant)
        calibrated = convert_checkpoint(checkpoint, folder / f"{quant}-c", quant=quant, calibration=calibration)
        yield f"{quant}, calibrated", calibrated
    source = folder / "f16.gguf"
    write_gguf(checkpoint, source)
    for name, file_type in PEER_TYPES.items():
        for mode in ("mixed", "pure"):
            target = folder / f"{name}-{mode}.gguf"
            command = [peer, "-c", _QUANTISE, str(source), str(target), str(file_type), mode]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                raise SystemExit(f"llama.cpp does not quantise to {name}")
            yield f"llama.cpp {name} ({mode})", convert_checkpoint(target, folder / f"{name}-{mode}", quant="keep")


def compare(package: Path, reference: Path, text: str, window: int) -> Comparison:
    with (
        closing(WindowLogits(package, window=window)) as model,
        closing(WindowLogits(reference, window=window)) as other,
    ):
        return compare_models(model, other, model.tokenizer.encode(text), window=window)


def print_row(name: str, bits: float, figures: dict[str, Comparison]) -> None:
    parts = [
        f"{kind}: KL {one.mean_kl:.5f} p99 {one.p99_kl:.4f} same {100 * one.top1_agreement:.1f} % "
        f"ppl {one.perplexity:.3f}"
        for kind, one in figures.items()
    ]
    print(f"{name:<28} {bits:5.2f} bits  " + " | ".join(parts), flush=True)


def bits_per_weight(package: Path) -> float:
    """Of all matrices, embedding and head included."""
    matrices = [tensor for tensor in read_manifest(package).tensors if len(tensor.shape) == 2]
    num_bytes = sum(extent.num_bytes for tensor in matrices for extent in tensor.extents)
    return 8 * num_bytes / sum(tensor.shape[0] * tensor.shape[1] for tensor in matrices)


def read_part(path: Path, kilobytes: int) -> str:
    """From behind the table of contents."""
    text = path.read_bytes()[20_000 : 20_000 + kilobytes * 1000]
    return text.decode("utf-8", "ignore")


def write_gguf(checkpoint: Path, path: Path) -> None:
    """A llama of float16 matrices, rotary rows in llama.cpp's order."""
    with closing(open_source(checkpoint)) as source:
        plan = choose_planner(source)(source)
        model = plan.model
        writer = gguf.GGUFWriter(path, "llama")
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
        add_tokenizer(writer, json.loads((checkpoint / "tokenizer.json").read_bytes()), model.vocab_size)
        for tensor in plan.tensors:
            name = "embed.weight" if model.tied_embeddings and tensor.name == "head.weight" else tensor.name
            if len(tensor.shape) == 1:
                values = read_vector(source, tensor)
            else:
                values = rotary_order(read_matrix(source, tensor), name, model).astype(np.float16)
            writer.add_tensor(source_name(name, "gguf"), values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


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


def rotary_order(values: npt.NDArray[np.float32], name: str, model: ModelConfig) -> npt.NDArray[np.float32]:
    if name.rpartition(".")[2] not in ("q", "k"):
        return values
    halves = values.reshape(-1, 2, model.head_dim // 2, values.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)


if __name__ == "__main__":
    main()
