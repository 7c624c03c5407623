"""What training takes, by arithmetic, and what is done with the memory there is.

In this order: as many tokens at once as are worth it, then the head and layers that stay decoded. Fewer tokens at once
change sums in their last bits, so they are reduced only where it has to be; with enough memory the result is the same
whatever else the machine does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pocketseek.adapt.torch_build import library_bytes
from pocketseek.adapt.torch_head import SLAB_ROWS
from pocketseek.errors import MemoryLimitError
from pocketseek.package.layer_tensors import layer_tensors
from pocketseek.types import ModelConfig

USUAL_TOKENS = 1024
"""At once: enough for matrix products to run at full speed."""

_OPTIMISER_COPIES = 4  # value, gradient and two moments


@dataclass(frozen=True)
class TrainMemory:
    """micro_tokens: at once, padding included. total_bytes: with all of this, the process included."""

    micro_tokens: int
    num_pinned_layers: int
    pins_head: bool
    total_bytes: int


def plan_memory(
    model: ModelConfig, num_parameters: int, longest: int, budget_bytes: int, most_tokens: int = USUAL_TOKENS
) -> TrainMemory:
    """longest: tokens of the longest sequence, which cannot be divided. Raises MemoryLimitError."""
    wished = max(longest, most_tokens)
    for micro_tokens in _halves(wished, longest):
        least_bytes = least_training_bytes(model, num_parameters, micro_tokens)
        if least_bytes <= budget_bytes:
            break
    else:
        raise MemoryLimitError(
            f"training takes {least_bytes / 1e6:.0f} MB with sequences of {longest} tokens and "
            f"{budget_bytes / 1e6:.0f} MB may be used; give a smaller --context or rank, or more --memory"
        )
    left_bytes = budget_bytes - least_bytes
    head_bytes, layer_bytes = 4 * model.vocab_size * model.hidden_size, _layer_bytes(model)
    pins_head = head_bytes <= left_bytes
    left_bytes -= head_bytes if pins_head else 0
    num_pinned = min(model.num_layers, left_bytes // layer_bytes)
    taken_bytes = least_bytes + (head_bytes if pins_head else 0) + num_pinned * layer_bytes
    return TrainMemory(micro_tokens, num_pinned, pins_head, taken_bytes)


def least_training_bytes(model: ModelConfig, num_parameters: int, micro_tokens: int) -> int:
    """With nothing pinned."""
    heads = (2 * model.num_heads + 2 * model.num_kv_heads) * model.head_dim
    widest = 8 * model.hidden_size + 3 * heads + 6 * model.intermediate_size  # of one layer, with gradients
    kept = (model.num_layers + 3) * model.hidden_size  # each layer's input; states and gradients of the head
    logits = 3 * min(SLAB_ROWS, model.vocab_size)
    activations = 4 * micro_tokens * (widest + kept + logits)
    slab_bytes = 4 * min(SLAB_ROWS, model.vocab_size) * model.hidden_size
    weights = max(2 * _layer_bytes(model), 2 * slab_bytes)  # what is decoded next to what is not yet let go
    return library_bytes() + activations + weights + 4 * _OPTIMISER_COPIES * num_parameters


def _layer_bytes(model: ModelConfig) -> int:
    return 4 * sum(_size(shape) for shape in layer_tensors(model, 0).values())


def _size(shape: Sequence[int]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def _halves(wished: int, least: int) -> list[int]:
    found = [wished]
    while found[-1] > least:
        found.append(max(least, found[-1] // 2))
    return found
