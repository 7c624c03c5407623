"""Train a small llama on real texts: an honest source for quantisation. No package carries full-precision weights.

    python benchmarks/debian_texts.py TEXTS
    python benchmarks/train_small_llama.py TEXTS OUT [--tokens 2500000] [--experts]

TEXTS: the folder that debian_texts.py writes; only its train-*.txt are read. OUT becomes a Hugging Face checkpoint
(config.json, tokenizer.json, model.safetensors in float16). 16 million weights: 4 layers, hidden size 512, a byte-level
BPE vocabulary of 8192 learnt from the same texts, tied embeddings. --experts: in place of it a qwen3_moe of 28 million
weights, four layers of 64 experts of which six are chosen: whom it chooses was learnt, which a routing trace of random
weights cannot show. The seed is fixed, but another number of threads or
another processor rounds differently (bfloat16 is used only where the processor has AVX-512: it is slow elsewhere).
Needs torch, transformers and tokenizers; takes an hour on two cores. Saves as it goes, and goes on where it was
interrupted.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen3MoeConfig, Qwen3MoeForCausalLM

VOCAB_SIZE = 8192
CONTEXT = 512
WINDOW = 256  # tokens of a training example
PEAK_RATE = 2e-3
WARM_UP_STEPS = 100
SAVE_EVERY_STEPS = 50
SEED = 20261126
CONFIG = LlamaConfig(
    vocab_size=VOCAB_SIZE,
    hidden_size=512,
    intermediate_size=1536,
    num_hidden_layers=4,
    num_attention_heads=8,
    num_key_value_heads=2,
    max_position_embeddings=CONTEXT,
    tie_word_embeddings=True,
    bos_token_id=0,
    eos_token_id=0,
)
SPARSE_CONFIG = Qwen3MoeConfig(
    vocab_size=VOCAB_SIZE,
    hidden_size=256,
    intermediate_size=512,
    moe_intermediate_size=128,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    num_experts=64,
    num_experts_per_tok=6,
    norm_topk_prob=True,
    output_router_logits=True,
    router_aux_loss_coef=0.001,
    max_position_embeddings=CONTEXT,
    tie_word_embeddings=True,
    bos_token_id=0,
    eos_token_id=0,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokens", type=int, default=2_500_000)
    parser.add_argument("--batch", type=int, default=16, help="examples of a step")
    parser.add_argument("--experts", action="store_true", help="a qwen3_moe in place of the llama")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    paths = sorted(arguments.texts.glob("train-*.txt"))
    tokenizer = learn_tokenizer(paths, arguments.out)
    ids = encoded(paths, tokenizer, arguments.out)
    torch.manual_seed(SEED)
    model = Qwen3MoeForCausalLM(SPARSE_CONFIG) if arguments.experts else LlamaForCausalLM(CONFIG)
    if arguments.experts:
        model.set_experts_implementation("grouped_mm")  # two and a half times as fast as one product for each expert
    train(model, ids, arguments.out, arguments.tokens // (arguments.batch * WINDOW), arguments.batch)


def learn_tokenizer(paths: list[Path], out: Path) -> Tokenizer:
    path = out / "tokenizer.json"
    if path.exists():
        return Tokenizer.from_file(str(path))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(one) for one in paths], trainer)
    tokenizer.save(str(path))
    (out / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": "<|end|>", "tokenizer_class": "LlamaTokenizerFast"})
    )
    return tokenizer


def encoded(paths: list[Path], tokenizer: Tokenizer, out: Path) -> np.ndarray:
    path = out / "train-ids.npy"
    if not path.exists():
        pieces = [piece for one in paths for piece in one.read_text("utf-8").split("\n\n")]
        np.save(path, np.concatenate([np.array([*e.ids, 0], np.uint16) for e in tokenizer.encode_batch(pieces)]))
    return np.load(path, mmap_mode="r")


def train(model: PreTrainedModel, ids: np.ndarray, out: Path, num_steps: int, batch_size: int) -> None:
    print(
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M weights, {len(ids) / 1e6:.1f} M tokens", flush=True
    )
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], PEAK_RATE, (0.9, 0.95)
    )
    state_path = out / "training.pt"
    first = 0
    if state_path.exists():
        state = torch.load(state_path)
        first = state["step"]
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
    start_s, mean = time.monotonic(), math.log(VOCAB_SIZE)
    for step in range(first, num_steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(step, num_steps)
        batch = examples(ids, step, batch_size)
        with torch.autocast("cpu", torch.bfloat16, enabled=torch.backends.cpu.get_cpu_capability() == "AVX512"):
            output = model(batch[:, :-1])
        loss = torch.nn.functional.cross_entropy(
            output.logits.float().reshape(-1, VOCAB_SIZE), batch[:, 1:].reshape(-1)
        )
        balance = getattr(output, "aux_loss", None)  # of experts: that all are used
        (loss if balance is None else loss + SPARSE_CONFIG.router_aux_loss_coef * balance).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        mean += 0.02 * (loss.item() - mean)
        if step % 20 == 0:
            print(f"step {step} of {num_steps}: loss {mean:.3f}, {time.monotonic() - start_s:.0f} s", flush=True)
        if (step + 1) % SAVE_EVERY_STEPS == 0 or step + 1 == num_steps:
            state = {"step": step + 1, "model": model.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save(state, state_path.with_suffix(".new"))
            state_path.with_suffix(".new").replace(state_path)
    model.to(torch.float16).save_pretrained(out)


def rate(step: int, num_steps: int) -> float:
    """Up, and down along a cosine to a tenth."""
    if step < WARM_UP_STEPS:
        return PEAK_RATE * (step + 1) / WARM_UP_STEPS
    share = (step - WARM_UP_STEPS) / max(1, num_steps - WARM_UP_STEPS)
    return PEAK_RATE * (0.1 + 0.45 * (1 + math.cos(math.pi * share)))


def examples(ids: np.ndarray, step: int, batch_size: int) -> torch.Tensor:
    places = np.random.default_rng([SEED, step]).integers(0, len(ids) - WINDOW - 1, batch_size)
    return torch.from_numpy(np.stack([ids[place : place + WINDOW + 1] for place in places]).astype(np.int64))


if __name__ == "__main__":
    main()
