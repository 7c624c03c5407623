"""How much memory converting a checkpoint of DeepSeek-V2-Lite takes, in a memory group that kills who takes more.

    python benchmarks/convert_sparse.py DIR [--layers 27] [--random-layers 1] [--quant q4] [--memory 2GB]

Writes a BF16 safetensors checkpoint of the real shape below DIR, a shard for each layer, converts it in a process of
its own, and removes both. Embedding, head and the first layers with experts (--random-layers) have random values, all
others are zeros that take no disk (holes in files): the converter reads them and computes with them like any others.
A checkpoint of 31 GB so takes 2 GB of disk; the package less than its 8 GB, since equal chunks are stored once. Told:
seconds, the most anonymous memory and resident set of the process, the group's peak, file pages included; JSON on the
last line. Where no group can be made the process runs without a limit, which is said.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import random_tokenizer
from process_monitor import MemorySampler
from random_checkpoint import TensorPlan, random_bf16, safetensors_header
from random_package import SPARSE_SHAPES
from random_sparse_gguf import sparse_shapes
from small_memory import parse_memory

from pocketseek.apps.memory_group import MemoryGroup, unavailable
from pocketseek.types import ModelConfig

VOCABULARY, HEAD = "vocabulary", "head"
LEAST_FREE_BYTES = 10_000_000_000


@dataclass(frozen=True)
class Figures:
    """group_peak_bytes: None without a group."""

    checkpoint_bytes: int
    package_bytes: int
    seconds: float
    peak_anonymous_bytes: int
    peak_rss_bytes: int
    group_peak_bytes: int | None


def shards_of(model: ModelConfig) -> dict[str, list[TensorPlan]]:
    """Tensors by shard: what surrounds the layers, then a layer each."""
    hidden = model.hidden_size
    ends = [_plan("model.embed_tokens.weight", model.vocab_size, hidden), _plan("model.norm.weight", hidden)]
    layers = {f"layer-{index}": list(layer_plans(model, index)) for index in range(model.num_layers)}
    return {VOCABULARY: ends, **layers, HEAD: [_plan("lm_head.weight", model.vocab_size, hidden)]}


def layer_plans(model: ModelConfig, index: int) -> Iterator[TensorPlan]:
    mla, moe, hidden = sparse_shapes(model)
    heads, layer = model.num_heads, f"model.layers.{index}"
    yield _plan(f"{layer}.input_layernorm.weight", hidden)
    yield _plan(f"{layer}.self_attn.q_proj.weight", heads * (mla.nope_dim + mla.rope_dim), hidden)
    yield _plan(f"{layer}.self_attn.kv_a_proj_with_mqa.weight", mla.latent_dim, hidden)
    yield _plan(f"{layer}.self_attn.kv_a_layernorm.weight", mla.rank)
    yield _plan(f"{layer}.self_attn.kv_b_proj.weight", heads * (mla.nope_dim + mla.value_dim), mla.rank)
    yield _plan(f"{layer}.self_attn.o_proj.weight", hidden, heads * mla.value_dim)
    yield _plan(f"{layer}.post_attention_layernorm.weight", hidden)
    if index in moe.dense_layers:
        yield from _mlp(f"{layer}.mlp", model.intermediate_size, hidden)
        return
    yield _plan(f"{layer}.mlp.gate.weight", moe.num_experts, hidden)
    for expert in range(moe.num_experts):
        yield from _mlp(f"{layer}.mlp.experts.{expert}", moe.expert_size, hidden)
    yield from _mlp(f"{layer}.mlp.shared_experts", moe.shared_size, hidden)


def _mlp(prefix: str, inner: int, hidden: int) -> Iterator[TensorPlan]:
    yield _plan(f"{prefix}.gate_proj.weight", inner, hidden)
    yield _plan(f"{prefix}.up_proj.weight", inner, hidden)
    yield _plan(f"{prefix}.down_proj.weight", hidden, inner)


def _plan(name: str, *shape: int) -> TensorPlan:
    return TensorPlan("", name, shape)


def hf_config(model: ModelConfig) -> dict[str, object]:
    mla, moe, hidden = sparse_shapes(model)
    scaling = model.rope_scaling
    return {
        "architectures": ["DeepseekV2ForCausalLM"],
        "model_type": "deepseek_v2",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": model.intermediate_size,
        "moe_intermediate_size": moe.expert_size,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_heads,
        "vocab_size": model.vocab_size,
        "max_position_embeddings": model.context_length,
        "rms_norm_eps": model.rms_norm_eps,
        "rope_theta": model.rope_theta,
        "rope_scaling": scaling
        and {
            "type": "yarn",
            "factor": scaling.factor,
            "original_max_position_embeddings": scaling.original_context,
            "beta_fast": 32,
            "beta_slow": 1,
            "mscale": 0.707,
            "mscale_all_dim": 0.707,
        },
        "kv_lora_rank": mla.rank,
        "q_lora_rank": None,
        "qk_nope_head_dim": mla.nope_dim,
        "qk_rope_head_dim": mla.rope_dim,
        "v_head_dim": mla.value_dim,
        "n_routed_experts": moe.num_experts,
        "n_shared_experts": moe.shared_size // moe.expert_size,
        "num_experts_per_tok": moe.experts_per_token,
        "first_k_dense_replace": len(moe.dense_layers),
        "moe_layer_freq": 1,
        "scoring_func": "softmax",
        "topk_method": "greedy",
        "norm_topk_prob": moe.normalised,
        "routed_scaling_factor": moe.weight_factor,
        "n_group": 1,
        "topk_group": 1,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": random_tokenizer.bos_id(model.vocab_size),
        "eos_token_id": random_tokenizer.eos_id(model.vocab_size),
    }


def write_checkpoint(folder: Path, model: ModelConfig, random_shards: Sequence[str], seed: int) -> int:
    """How many bytes it seems to have."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(hf_config(model)), encoding="utf-8")
    (folder / "tokenizer.json").write_bytes(random_tokenizer.tokenizer_json(model.vocab_size))
    rng = np.random.Generator(np.random.SFC64(seed))
    places, num_bytes = {}, 0
    for shard, plans in shards_of(model).items():
        name = f"model-{shard}.safetensors"
        places |= {plan.hf_name: name for plan in plans}
        header = safetensors_header(plans)
        size = 2 * sum(math.prod(plan.shape) for plan in plans)
        with (folder / name).open("wb") as file:
            file.write(header)
            if shard in random_shards:
                for plan in plans:
                    for slab in random_bf16(plan.num_values, rng):
                        file.write(slab.data)
            file.truncate(len(header) + size)
        num_bytes += len(header) + size
    index = {"metadata": {"total_size": num_bytes}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return num_bytes


def convert(checkpoint: Path, package: Path, quant: str, memory_bytes: int, checkpoint_bytes: int) -> Figures:
    """Raises SystemExit if it fails or is killed for taking more memory."""
    command = [sys.executable, "-m", "pocketseek", "convert", str(checkpoint), str(package), "--quant", quant]
    with ExitStack() as stack:
        group = stack.enter_context(MemoryGroup(memory_bytes)) if unavailable() is None else None
        started_s = time.monotonic()
        process = stack.enter_context(subprocess.Popen(group.inside(command) if group else command))
        with MemorySampler(process.pid) as sampler:
            code = process.wait()
        seconds = time.monotonic() - started_s
        if code != 0:
            killed = " for lack of memory" if group and group.num_kills else ""
            raise SystemExit(f"converting ended with code {code}{killed}; its message stands above")
        peak_bytes = group.peak_bytes if group else None
    package_bytes = sum(file.stat().st_size for file in package.rglob("*") if file.is_file())
    return Figures(
        checkpoint_bytes, package_bytes, seconds, sampler.peak_anonymous_bytes, sampler.peak_rss_bytes, peak_bytes
    )


def print_figures(figures: Figures, memory_bytes: int) -> None:
    print(f"checkpoint {figures.checkpoint_bytes / 1e9:.1f} GB, package {figures.package_bytes / 1e9:.2f} GB")
    print(f"{figures.seconds:.0f} s, {figures.checkpoint_bytes / 1e6 / figures.seconds:.0f} MB/s of checkpoint")
    print(f"anonymous memory at most {figures.peak_anonymous_bytes / 1e6:.0f} MB", end=", ")
    print(f"resident {figures.peak_rss_bytes / 1e6:.0f} MB")
    if figures.group_peak_bytes is None:
        print(f"no limit was enforced: {unavailable()}")
    else:
        print(
            f"group of {memory_bytes / 1e6:.0f} MB: peak {figures.group_peak_bytes / 1e6:.0f} MB, file pages included"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where checkpoint and package are for a while")
    parser.add_argument("--shape", choices=sorted(SPARSE_SHAPES), default="deepseek-v2-lite")
    parser.add_argument("--layers", type=int, help="instead of all the layers of the shape")
    parser.add_argument("--random-layers", type=int, default=1, help="layers with experts that are not zeros")
    parser.add_argument("--quant", default="q4")
    parser.add_argument("--memory", type=parse_memory, default=2_000_000_000, help="of the group (default: 2GB)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    model = SPARSE_SHAPES[arguments.shape]
    if arguments.layers is not None:
        if arguments.layers < 2:
            parser.error("--layers must be at least 2, or there is no layer with experts")
        model = replace(model, num_layers=arguments.layers)
    random_shards = [VOCABULARY, HEAD, *(f"layer-{1 + index}" for index in range(arguments.random_layers))]
    checkpoint, package = arguments.folder / "checkpoint", arguments.folder / "package"
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(arguments.folder).free < LEAST_FREE_BYTES:
        raise SystemExit(
            f"{arguments.folder} has less than {LEAST_FREE_BYTES // 10**9} GB free; name another directory"
        )
    try:
        num_bytes = write_checkpoint(checkpoint, model, random_shards, arguments.seed)
        figures = convert(checkpoint, package, arguments.quant, arguments.memory, num_bytes)
    finally:
        shutil.rmtree(checkpoint, ignore_errors=True)
        shutil.rmtree(package, ignore_errors=True)
    print_figures(figures, arguments.memory)
    conditions = {"layers": model.num_layers, "random_layers": arguments.random_layers, "quant": arguments.quant}
    facts = {"memory_bytes": arguments.memory, **conditions, **asdict(figures)}
    print(json.dumps({"benchmark": "convert_sparse", **facts}))


if __name__ == "__main__":
    main()
