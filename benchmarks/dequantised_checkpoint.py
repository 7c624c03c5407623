"""Write the weights of a GGUF file, or of a package, as a Hugging Face checkpoint, for those that read nothing else.

    python benchmarks/dequantised_checkpoint.py IN.gguf OUT_DIRECTORY
    python benchmarks/dequantised_checkpoint.py PACKAGE_DIRECTORY OUT_DIRECTORY

F16 safetensors with config.json and tokenizer.json; llama and qwen2 without rope scaling. So every engine starts from
the same weights, and quantises them in its own way. Rounding to F16 is small next to any 4-bit format.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import random_checkpoint

from pocketseek.convert.encode import decode_rows
from pocketseek.convert.families.base import TensorPlan
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.families.names import source_name
from pocketseek.convert.package_files import SETTINGS_NAME, TOKENIZER_NAME, collect_files
from pocketseek.convert.package_weights import PackageWeights
from pocketseek.convert.slabs import read_stored, read_vector, slab_ranges
from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.open import open_source
from pocketseek.package.install import is_package_dir
from pocketseek.package.reader import Package
from pocketseek.text.gguf_tokenizer import text_settings_from_gguf
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.types import ModelConfig, TextSettings

ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}


def write_checkpoint(gguf: Path, directory: Path) -> None:
    """Memory stays below a slab of rows, whatever the size."""
    directory.mkdir(parents=True, exist_ok=True)
    with closing(open_source(gguf)) as source:
        plan = choose_planner(source)(source)
        settings = text_settings_from_gguf(source.metadata)
        files = {
            TOKENIZER_NAME: collect_files(source, plan.model.vocab_size)[TOKENIZER_NAME],
            "config.json": json.dumps(hf_config(plan.model, settings), indent=2).encode(),
            "tokenizer_config.json": json.dumps(tokenizer_config(settings)).encode(),
        }
        for name, data in files.items():
            (directory / name).write_bytes(data)
        with (directory / "model.safetensors").open("wb") as file:
            described = [_described(tensor, plan.model.tied_embeddings) for tensor in plan.tensors]
            file.write(random_checkpoint.safetensors_header(described, "F16"))
            for tensor in plan.tensors:
                for values in _values(source, tensor):
                    file.write(values.astype("<f2").data)


def write_package_checkpoint(package_dir: Path, directory: Path) -> None:
    """Memory: the largest matrix."""
    directory.mkdir(parents=True, exist_ok=True)
    with Package.open(package_dir) as package:
        model, weights = package.manifest.model, PackageWeights(package)
        settings = parse_text_settings(package.file(SETTINGS_NAME))
        files = {
            TOKENIZER_NAME: package.file(TOKENIZER_NAME),
            "config.json": json.dumps(hf_config(model, settings), indent=2).encode(),
            "tokenizer_config.json": json.dumps(tokenizer_config(settings)).encode(),
        }
        for name, data in files.items():
            (directory / name).write_bytes(data)
        tensors = {tensor.name: tensor.shape for tensor in package.manifest.tensors if tensor.name != "rope.inv_freq"}
        with (directory / "model.safetensors").open("wb") as file:
            described = [_hf_tensor(name, name, shape, model.tied_embeddings) for name, shape in tensors.items()]
            file.write(random_checkpoint.safetensors_header(described, "F16"))
            for name, shape in tensors.items():
                values = weights.vector(name) if len(shape) == 1 else weights.matrix(name)
                file.write(values.astype("<f2").data)


def _described(tensor: TensorPlan, is_tied: bool) -> random_checkpoint.TensorPlan:
    return _hf_tensor(tensor.source_name, tensor.name, tensor.shape, is_tied)


def _hf_tensor(origin: str, name: str, shape: tuple[int, ...], is_tied: bool) -> random_checkpoint.TensorPlan:
    """A tied matrix is planned as the head; Hugging Face files call it the embedding."""
    if is_tied and name == "head.weight":
        name = "embed.weight"
    return random_checkpoint.TensorPlan(origin, source_name(name, "safetensors"), shape)


def _values(source: Source, tensor: TensorPlan) -> Iterator[npt.NDArray[np.float32]]:
    if len(tensor.shape) == 1:
        yield read_vector(source, tensor)
        return
    stored_type = source.tensors[tensor.source_name].type
    for start, stop in slab_ranges(tensor.shape):
        yield decode_rows(stored_type, read_stored(source, tensor, start, stop))


def hf_config(model: ModelConfig, settings: TextSettings) -> dict[str, object]:
    if model.family not in ARCHITECTURES or model.rope_scaling.kind != "none":
        raise SystemExit(f"a {model.family} model with rope scaling {model.rope_scaling.kind} is not written here")
    return {
        "architectures": [ARCHITECTURES[model.family]],
        "model_type": model.family,
        "hidden_act": "silu",
        "hidden_size": model.hidden_size,
        "intermediate_size": model.intermediate_size,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_dim,
        "vocab_size": model.vocab_size,
        "max_position_embeddings": model.context_length,
        "rms_norm_eps": model.rms_norm_eps,
        "rope_theta": model.rope_theta,
        "tie_word_embeddings": model.tied_embeddings,
        "torch_dtype": "float16",
        "bos_token_id": settings.bos_id,
        "eos_token_id": settings.eos_ids[0],
    }


def tokenizer_config(settings: TextSettings) -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": settings.bos_token,
        "eos_token": settings.eos_token,
    }


if __name__ == "__main__":
    write = write_package_checkpoint if is_package_dir(Path(sys.argv[1])) else write_checkpoint
    write(Path(sys.argv[1]), Path(sys.argv[2]))
