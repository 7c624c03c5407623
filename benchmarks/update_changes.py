"""Changed checkpoints to measure updates with: one layer, a merged LoRA and all weights trained a little on real text.

    python benchmarks/update_changes.py CHECKPOINT TEXT WORK [--steps 4] [--only full]

CHECKPOINT: a Hugging Face directory of a llama, e.g. what dequantised_checkpoint.py writes. TEXT: a file. Writes
WORK/layer (the middle layer alone, AdamW, learning rate 2e-5), WORK/lora (rank 16 on all seven matrices of every layer,
2e-4, merged) and WORK/full (all weights, 1e-5); float16 like the original. What is there is left. Needs torch and
transformers.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoConfig, LlamaForCausalLM

WINDOW, BATCH, RANK, ALPHA, SEED = 128, 1, 16, 32.0, 20261127
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--only", choices=("layer", "lora", "full"))
    arguments = parser.parse_args()
    ids = token_ids(arguments.checkpoint, arguments.text, arguments.steps)
    for name, change in (("layer", change_layer), ("lora", change_lora), ("full", change_all)):
        out = arguments.work / name
        if arguments.only in (None, name) and not (out / "model.safetensors").exists():
            torch.manual_seed(SEED)
            model = load(arguments.checkpoint)
            change(model, ids)
            save(model, arguments.checkpoint, out)
            print(name, flush=True)


def token_ids(checkpoint: Path, text: Path, steps: int) -> torch.Tensor:
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    with text.open(encoding="utf-8") as file:
        ids = tokenizer.encode(file.read(steps * BATCH * WINDOW * 8)).ids
    return torch.tensor(ids[: steps * BATCH * WINDOW]).reshape(-1, BATCH, WINDOW)


def load(checkpoint: Path) -> LlamaForCausalLM:
    model = LlamaForCausalLM(AutoConfig.from_pretrained(checkpoint))
    model.load_state_dict(load_file(checkpoint / "model.safetensors"), strict=False)
    model.tie_weights()
    return model.float()


def change_layer(model: LlamaForCausalLM, ids: torch.Tensor) -> None:
    model.requires_grad_(False)
    layer = model.model.layers[len(model.model.layers) // 2]
    layer.requires_grad_(True)
    train(model, layer.parameters(), ids, 2e-5)


def change_all(model: LlamaForCausalLM, ids: torch.Tensor) -> None:
    train(model, model.parameters(), ids, 1e-5)


def change_lora(model: LlamaForCausalLM, ids: torch.Tensor) -> None:
    model.requires_grad_(False)
    adapters = [
        Adapted(matrix) for layer in model.model.layers for name, matrix in layer.named_modules() if is_adapted(name)
    ]
    train(model, [part for adapter in adapters for part in (adapter.down, adapter.up)], ids, 2e-4)
    for adapter in adapters:
        adapter.merge()


def is_adapted(name: str) -> bool:
    return name.rpartition(".")[2] in MATRICES


class Adapted:
    """A low-rank addition to a linear layer, as in the LoRA paper: up starts at zero."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        self.linear = linear
        self.down = torch.nn.Parameter(torch.randn(RANK, linear.in_features) / math.sqrt(linear.in_features))
        self.up = torch.nn.Parameter(torch.zeros(linear.out_features, RANK))
        self.hook = linear.register_forward_hook(self.add)

    def add(self, linear: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        return output + inputs[0] @ self.down.T @ self.up.T * (ALPHA / RANK)

    def merge(self) -> None:
        self.hook.remove()
        with torch.no_grad():
            self.linear.weight += self.up @ self.down * (ALPHA / RANK)


def train(
    model: LlamaForCausalLM, parameters: Iterable[torch.nn.Parameter], ids: torch.Tensor, learning_rate: float
) -> None:
    optimizer = torch.optim.AdamW(list(parameters), lr=learning_rate, weight_decay=0.0)
    for batch in ids:
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"loss {loss.item():.3f}", flush=True)


def save(model: LlamaForCausalLM, checkpoint: Path, out: Path) -> None:
    """The tensors that the original has, in float16, and its other files."""
    out.mkdir(parents=True, exist_ok=True)
    names = load_file(checkpoint / "model.safetensors").keys()
    state = model.state_dict()
    tensors = {name: state[name].to(torch.float16).contiguous() for name in names}
    for path in checkpoint.iterdir():
        if path.suffix == ".json":
            shutil.copy(path, out / path.name)
    save_file(tensors, out / "model.safetensors")


if __name__ == "__main__":
    main()
