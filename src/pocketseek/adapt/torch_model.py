"""A package's model with an adapter that can be trained, in torch.

The weights stay as they are stored. A layer is decoded to float32 when it is needed and forgotten after; what a layer
is given is kept, and in the backward pass it is decoded and computed once more (activation checkpointing by layer). So
of the weights one layer is in memory in float32 at a time, and of activations those of one layer, besides each layer's
input; train_memory.py has the sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pocketseek.adapt.data_tokens import TokenSequence
from pocketseek.adapt.torch_head import Wanted, head_cost
from pocketseek.adapt.torch_layer import Multiply, Rotation, rms_norm, run_layer
from pocketseek.adapt.torch_weights import LayerTensors, TorchWeights
from pocketseek.adapt.train_batches import padded
from pocketseek.adapt.train_settings import TARGETS
from pocketseek.adapt.train_tensors import Floats, tensor_name


class LoraModel:
    """parameters: by PEFT's names, in order."""

    def __init__(self, weights: TorchWeights, tensors: Mapping[str, Floats], scale: float) -> None:
        """tensors: what the adapter begins with."""
        self.weights = weights
        self.parameters = {
            name: torch.tensor(values, dtype=torch.float32, device=weights.device, requires_grad=True)
            for name, values in tensors.items()
        }
        self._scale = scale
        self._norm = weights.vector("head.norm")

    def begin_step(self, share_done: float) -> None:
        """Nothing depends on it."""

    def cost_of(self, group: Sequence[TokenSequence]) -> torch.Tensor:
        """Of sequences, padded to the longest."""
        batch = padded(group)
        device = self.weights.device
        return self.cost(torch.from_numpy(batch.ids).to(device), torch.from_numpy(batch.wanted).to(device))

    def cost(self, ids: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Cross-entropy in nats, summed over the wanted tokens. ids: (texts, length), padded at the end with anything.
        wanted: (texts, length) bool: tokens that are to be predicted from what is before them; never the first."""
        hidden = self.hidden(ids)[:, :-1][wanted[:, 1:]]
        states = rms_norm(hidden, self._norm, self.weights.model.rms_norm_eps)
        return head_cost(states, self.weights, Wanted.tokens(ids[:, 1:][wanted[:, 1:]]))

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """After the last layer: (texts, length, hidden)."""
        hidden = self.weights.rows(self.weights.embed_name, ids)
        rotation = Rotation.of(self.weights.model, self.weights.inv_freq, ids.shape[1])
        for index in range(self.weights.model.num_layers):
            if torch.is_grad_enabled():
                hidden = checkpoint(self._layer, index, rotation, hidden, use_reentrant=False, preserve_rng_state=False)
            else:
                hidden = self._layer(index, rotation, hidden)
        return hidden

    def _layer(self, index: int, rotation: Rotation, hidden: torch.Tensor) -> torch.Tensor:
        layer = self.weights.layer(index)
        return run_layer(self.weights.model, layer, self._multiply(index, layer), rotation, hidden)

    def _multiply(self, index: int, layer: LayerTensors) -> Multiply:
        pairs = {
            matrix: (self.parameters[tensor_name(index, target, "A")], self.parameters[tensor_name(index, target, "B")])
            for target, matrix in TARGETS.items()
            if tensor_name(index, target, "A") in self.parameters
        }

        def multiply(name: str, x: torch.Tensor) -> torch.Tensor:
            y = functional.linear(x, layer[name], layer.get(f"{name}_bias"))
            if name in pairs:
                down, up = pairs[name]
                y = y + functional.linear(functional.linear(x, down), up) * self._scale
            return y

        return multiply
