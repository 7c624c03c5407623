"""Packages and data for tests of training: tiny models of every family that can be trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_models import tiny_model, write_hf

from pocketseek.adapt.data_file import Example
from pocketseek.adapt.data_tokens import TokenSequence
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.recipe import Quant
from pocketseek.types import Message

FAMILIES = ("llama", "qwen2", "qwen3")


def tiny_checkpoint(folder: Path, family: str = "llama", *, tied: bool = False, num_layers: int = 2) -> Path:
    rope = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling = rope | {"original_max_position_embeddings": 64} if family == "llama" else None
    model = tiny_model(family, tied=tied, rope_scaling=scaling, num_layers=num_layers)
    return write_hf(folder / f"{family}-hf", model)


def tiny_package(
    folder: Path, family: str = "llama", *, quant: Quant = "q4", tied: bool = False, num_layers: int = 2
) -> Path:
    source = tiny_checkpoint(folder, family, tied=tied, num_layers=num_layers)
    return convert_checkpoint(source, folder / family, quant=quant, models_dir=folder)


def conversations(count: int = 24) -> list[Example]:
    """Something that can be learnt."""
    return [
        Example(
            messages=(
                Message("user", f"What is {number} and {number}?"),
                Message("assistant", f"It is {2 * number}, as everybody knows."),
            ),
            line=number + 1,
        )
        for number in range(count)
    ]


def random_sequences(count: int = 12, *, vocab: int = 300, longest: int = 40, seed: int = 0) -> list[TokenSequence]:
    """Of different lengths; about a third of the tokens is learnt."""
    rng = np.random.default_rng(seed)
    sequences = []
    for _ in range(count):
        length = int(rng.integers(6, longest))
        wanted = rng.random(length) < 0.3
        wanted[0], wanted[-1] = False, True
        sequences.append(TokenSequence(rng.integers(0, vocab, length).astype(np.int32), wanted))
    return sequences
