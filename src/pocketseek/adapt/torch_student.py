"""A student in torch: layers whose weights all learn, between the teacher's embedding and head, which stay.

What it learns at every position: the teacher's distribution over the next token (Kullback-Leibler divergence over its
likeliest tokens and the rest together, see torch_head.py), and the state that the teacher hands to its head. If wished,
also the states between layers: each layer is to be given what the teacher's layer that it began as is given there, so
that the layer before learns to do what those left out did. States count for less from step to step: they show the way
at first, when half the layers are gone, and are not what a student is judged by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pocketseek.adapt.data_tokens import TokenSequence
from pocketseek.adapt.distill_cache import Taught, TaughtSequence
from pocketseek.adapt.distill_plan import StudentPlan
from pocketseek.adapt.torch_head import Wanted, head_cost
from pocketseek.adapt.torch_layer import Rotation, rms_norm, run_layer
from pocketseek.adapt.torch_weights import LayerTensors, TorchWeights
from pocketseek.adapt.train_batches import padded, padded_ids
from pocketseek.types import ModelConfig

_LAYER_NAME = re.compile(r"layer\.(\d+)\.(.+)")


def student_start(plan: StudentPlan, teacher: TorchWeights) -> dict[str, torch.Tensor]:
    """The student's tensors to begin with, by the package's names; the teacher's own."""
    tensors: dict[str, torch.Tensor] = {}
    for index, origin in enumerate(plan.layers):
        layer = _narrowed(teacher.layer(origin), plan.model.intermediate_size)
        tensors |= {f"layer.{index}.{name}": values.clone() for name, values in layer.items()}
    return tensors | {"head.norm": teacher.vector("head.norm")}


def _narrowed(layer: LayerTensors, width: int) -> LayerTensors:
    if len(layer["gate"]) == width:
        return layer
    weight = layer["gate"].norm(dim=1) * layer["up"].norm(dim=1) * layer["down"].norm(dim=0)
    kept = weight.topk(width).indices.sort().values
    rows = {name: layer[name][kept] for name in ("gate", "up")}
    return {**layer, **rows, "down": layer["down"][:, kept].contiguous()}


class StudentModel:
    """parameters: by the package's names."""

    def __init__(self, plan: StudentPlan, teacher: TorchWeights, tensors: Mapping[str, torch.Tensor]) -> None:
        self.parameters = {name: values.clone().requires_grad_() for name, values in tensors.items()}
        self._model = plan.model
        self._teacher = teacher
        self._layers: list[LayerTensors] = [{} for _ in range(plan.model.num_layers)]
        for name, values in self.parameters.items():
            if found := _LAYER_NAME.fullmatch(name):
                self._layers[int(found[1])][found[2]] = values

    @property
    def device(self) -> torch.device:
        return self._teacher.device

    def states(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """(texts, length, hidden) each: what layers but the first are given, and last what the head gets, normed."""
        hidden = self._teacher.rows(self._teacher.embed_name, ids)
        rotation = Rotation.of(self._model, self._teacher.inv_freq, ids.shape[1])
        given = []
        for layer in self._layers:
            given.append(hidden)
            if torch.is_grad_enabled():
                hidden = checkpoint(
                    _run, self._model, layer, rotation, hidden, use_reentrant=False, preserve_rng_state=False
                )
            else:
                hidden = _run(self._model, layer, rotation, hidden)
        return [*given[1:], rms_norm(hidden, self.parameters["head.norm"], self._model.rms_norm_eps)]


class TeacherStates:
    """What the teacher's layers are given, computed when it is needed: on disk it would be many times the rest."""

    def __init__(self, plan: StudentPlan, teacher: TorchWeights) -> None:
        self._wanted = plan.layers[1:]
        self._teacher = teacher

    def states(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """(texts, length, hidden) for each of the student's layers but the first."""
        teacher, found = self._teacher, []
        with torch.no_grad():
            hidden = teacher.rows(teacher.embed_name, ids)
            rotation = Rotation.of(teacher.model, teacher.inv_freq, ids.shape[1])
            for index in range(max(self._wanted, default=0)):
                hidden = _run(teacher.model, teacher.layer(index), rotation, hidden)
                if index + 1 in self._wanted:
                    found.append(hidden)
        return found


class DistilledStudent:
    """Learns from what the teacher said. read: that of a sequence, from the disk. layer_states: to learn from, too."""

    def __init__(
        self,
        student: StudentModel,
        teacher: TorchWeights,
        read: Callable[[TaughtSequence], Taught],
        *,
        state_weight: float,
        layer_states: TeacherStates | None = None,
    ) -> None:
        self._layer_states = layer_states
        self._student = student
        self._teacher = teacher
        self._read = read
        self._first_state_weight = state_weight
        self._state_weight = state_weight

    @property
    def parameters(self) -> Mapping[str, torch.Tensor]:
        return self._student.parameters

    def begin_step(self, share_done: float) -> None:
        self._state_weight = self._first_state_weight * (1.0 - share_done)

    def cost_of(self, group: Sequence[TaughtSequence]) -> torch.Tensor:
        """Divergence, and of the states the squared difference relative to the teacher's, summed over positions; of
        those between layers the mean over layers. While nothing learns (validation) the divergence alone."""
        device = self._student.device
        ids = torch.from_numpy(padded_ids(group)).to(device)
        *given, states = self._student.states(ids)
        wanted, wished = [], []
        for sequence in group:
            taught = self._read(sequence)
            wanted.append(_wanted(taught, device))
            wished.append(torch.from_numpy(taught.states).to(device))
        own, all_wanted = _rows(states, group), _joined(wanted)
        cost = head_cost(own, self._teacher, all_wanted) - _entropy(all_wanted)
        if not torch.is_grad_enabled() or not self._state_weight:
            return cost
        apart = _apart(own, torch.cat(wished).to(torch.float32))
        if self._layer_states is not None and given:
            goals = self._layer_states.states(ids)
            between = [_apart(_rows(one, group), _rows(goal, group)) for one, goal in zip(given, goals, strict=True)]
            apart = apart + torch.stack(between).mean()
        return cost + self._state_weight * apart


class TextStudent:
    """Learns from the text alone, as it would without a teacher; what distilling is compared with. texts: by the places
    of the teacher's cache."""

    def __init__(self, student: StudentModel, teacher: TorchWeights, texts: Sequence[TokenSequence]) -> None:
        self._student = student
        self._texts = texts
        self._teacher = teacher

    @property
    def parameters(self) -> Mapping[str, torch.Tensor]:
        return self._student.parameters

    def begin_step(self, share_done: float) -> None:
        """Nothing depends on it."""

    def cost_of(self, group: Sequence[TaughtSequence]) -> torch.Tensor:
        batch = padded([self._texts[one.place] for one in group])
        ids = torch.from_numpy(batch.ids).to(self._student.device)
        wanted = torch.from_numpy(batch.wanted).to(self._student.device)[:, 1:]
        states = self._student.states(ids)[-1][:, :-1][wanted]
        return head_cost(states, self._teacher, Wanted.tokens(ids[:, 1:][wanted]))


def _run(model: ModelConfig, layer: LayerTensors, rotation: Rotation, hidden: torch.Tensor) -> torch.Tensor:
    def multiply(name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, layer[name], layer.get(f"{name}_bias"))

    return run_layer(model, layer, multiply, rotation, hidden)


def _rows(states: torch.Tensor, group: Sequence[TaughtSequence]) -> torch.Tensor:
    """Without padding: (positions, hidden)."""
    return torch.cat([states[row, : len(sequence.ids)] for row, sequence in enumerate(group)])


def _apart(own: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """Summed over positions."""
    return ((own - goal).square().mean(1) / goal.square().mean(1).clamp(min=1e-12)).sum()


def _wanted(taught: Taught, device: torch.device) -> Wanted:
    probabilities = torch.from_numpy(taught.log_probabilities).to(device).to(torch.float32).exp()
    ids = torch.from_numpy(taught.ids).to(device).to(torch.int64)
    total = probabilities.sum(1)
    over = total.clamp(min=1.0)  # rounding of what was kept
    return Wanted(ids, probabilities / over[:, None], (1.0 - total).clamp(min=0.0))


def _joined(parts: Sequence[Wanted]) -> Wanted:
    return Wanted(
        torch.cat([part.ids for part in parts]),
        torch.cat([part.probabilities for part in parts]),
        torch.cat([part.tail for part in parts]),
    )


def _entropy(wanted: Wanted) -> torch.Tensor:
    """Of the teacher, over the same parts: what the cost is at the least."""
    return -(
        torch.xlogy(wanted.probabilities, wanted.probabilities).sum() + torch.xlogy(wanted.tail, wanted.tail).sum()
    )
