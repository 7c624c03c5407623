"""The steps of a training, one at a time, with a state that can be kept and taken up again bit for bit.

A step: the batch's sequences, in parts that memory allows, cost their cross-entropy divided by the tokens that the
whole batch wants; gradients are added up over parts (and over the processes of a team), clipped by their norm, and
AdamW makes the step. That is what transformers' Trainer does with PEFT's model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from pocketseek.adapt.torch_weights import to_numpy
from pocketseek.adapt.train_batches import HasIds, indices_of_step, micro_groups
from pocketseek.adapt.train_settings import TrainSettings, learning_rate
from pocketseek.adapt.train_team import Team
from pocketseek.adapt.train_tensors import AdapterTensors, Floats
from pocketseek.errors import ModelOutputError

_BETAS, _EPS = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class StepReport:
    """step: 1 for the first. loss: nats per wanted token, of the batch before the step."""

    step: int
    loss: float
    num_tokens: int
    gradient_norm: float
    learning_rate: float


@dataclass(frozen=True)
class Validation:
    """loss: nats per token."""

    loss: float
    num_tokens: int

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700.0))


class Learnt(HasIds, Protocol):
    """Something to learn from. num_wanted: what its cost is a sum over."""

    @property
    def num_wanted(self) -> int: ...


Item = TypeVar("Item", bound=Learnt)
Item_contra = TypeVar("Item_contra", bound=Learnt, contravariant=True)


class Learner(Protocol[Item_contra]):
    """A model whose parameters learn."""

    @property
    def parameters(self) -> Mapping[str, torch.Tensor]: ...

    def begin_step(self, share_done: float) -> None:
        """share_done: of all steps, before this one."""

    def cost_of(self, group: Sequence[Item_contra]) -> torch.Tensor:
        """Nats, summed over what is wanted of all items together."""


class TrainingRun(Generic[Item]):
    """Not thread-safe. proximal_mu: FedProx's pull back to where the adapter began (Li et al., 2020)."""

    def __init__(
        self,
        model: Learner[Item],
        sequences: Sequence[Item],
        settings: TrainSettings,
        team: Team,
        *,
        micro_tokens: int,
        proximal_mu: float = 0.0,
        between: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """between: called after each part of a batch with the seconds that it took."""
        self.num_steps = settings.num_steps(len(sequences))
        self.losses: list[float] = []
        self.num_tokens = 0
        self._model = model
        self._sequences = sequences
        self._settings = settings
        self._team = team
        self.micro_tokens = micro_tokens
        self._mu = proximal_mu
        self._between = between
        self._parameters = list(model.parameters.values())
        self._start = [parameter.detach().clone() for parameter in self._parameters] if proximal_mu else []
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=0.0, betas=_BETAS, eps=_EPS, weight_decay=settings.weight_decay
        )

    @property
    def steps_done(self) -> int:
        return len(self.losses)

    @property
    def is_done(self) -> bool:
        return self.steps_done >= self.num_steps

    def step(self) -> StepReport:
        """Raises ModelOutputError, before anything has changed, if the loss or a gradient is not a finite number."""
        index, settings = self.steps_done, self._settings
        chosen = [
            self._sequences[place]
            for place in indices_of_step(len(self._sequences), settings.batch, settings.seed, index)
        ]
        num_tokens = sum(sequence.num_wanted for sequence in chosen)
        self._model.begin_step(index / self.num_steps)
        loss = self._gradients(chosen, num_tokens)
        norm = self._clip()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise ModelOutputError(
                f"the loss of step {index + 1} is {loss:g} and its gradient {norm:g}, no numbers to learn from; "
                "use a lower --lr"
            )
        rate = learning_rate(settings, index, self.num_steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.losses.append(loss)
        self.num_tokens += num_tokens
        return StepReport(index + 1, loss, num_tokens, norm, rate)

    def validate(self, sequences: Sequence[Item]) -> Validation:
        """Over all of them, in the same parts every time."""
        cost = torch.zeros(1, dtype=torch.float64)
        with torch.no_grad():
            for group in micro_groups(self._team.share(sequences), self.micro_tokens):
                began_s = time.monotonic()
                cost += self._model.cost_of(group).cpu()
                self._between(time.monotonic() - began_s)
        self._team.add_up([cost])
        num_tokens = sum(sequence.num_wanted for sequence in sequences)
        return Validation(float(cost) / num_tokens, num_tokens)

    def tensors(self) -> AdapterTensors:
        return {name: to_numpy(parameter) for name, parameter in self._model.parameters.items()}

    def state(self) -> dict[str, Floats]:
        """All that the next step depends on besides the settings and the data."""
        state = {}
        for name, parameter in self._model.parameters.items():
            state[f"value/{name}"] = to_numpy(parameter)
            moments = self._optimiser.state.get(parameter, {})
            for kind in ("exp_avg", "exp_avg_sq"):
                if kind in moments:
                    state[f"{kind}/{name}"] = to_numpy(moments[kind])
        return state | {"losses": np.array(self.losses, np.float64).view(np.float32)}

    def take_up(self, state: Mapping[str, Floats], num_tokens: int, micro_tokens: int) -> None:
        """What `state` gave. With fewer micro_tokens than now they are kept to: sums are then made in the same order,
        and the result is the same to the bit. Raises KeyError or ValueError for what it did not."""
        losses: NDArray[np.float64] = np.ascontiguousarray(state["losses"]).view(np.float64)
        self.losses, self.num_tokens = losses.tolist(), num_tokens
        self.micro_tokens = min(self.micro_tokens, micro_tokens)
        with torch.no_grad():
            for name, parameter in self._model.parameters.items():
                parameter.copy_(_checked(state[f"value/{name}"], parameter))
                if self.losses:
                    moments = {kind: _checked(state[f"{kind}/{name}"], parameter) for kind in ("exp_avg", "exp_avg_sq")}
                    self._optimiser.state[parameter] = {"step": torch.tensor(float(len(self.losses))), **moments}

    def _gradients(self, chosen: Sequence[Item], num_tokens: int) -> float:
        """Adds them up; the loss."""
        loss = torch.zeros(1, dtype=torch.float64)
        for group in micro_groups(self._team.share(chosen), self.micro_tokens):
            began_s = time.monotonic()
            cost = self._model.cost_of(group) / num_tokens
            cost.backward()  # type: ignore[no-untyped-call]  # torch's is without types
            loss += cost.detach().cpu()
            self._between(time.monotonic() - began_s)
        gradients = []
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        self._team.add_up(gradients)
        self._team.add_up([loss])
        if self._mu:  # the same in every process, so after adding up
            for parameter, start in zip(self._parameters, self._start, strict=True):
                assert parameter.grad is not None
                parameter.grad += self._mu * (parameter.detach() - start)
        return float(loss)

    def _clip(self) -> float:
        most = self._settings.clip_norm
        return float(torch.nn.utils.clip_grad_norm_(self._parameters, most if most else math.inf))


def _checked(values: Floats, parameter: torch.Tensor) -> torch.Tensor:
    if values.shape != tuple(parameter.shape):
        raise ValueError("another shape")
    return torch.tensor(values, dtype=torch.float32, device=parameter.device)
