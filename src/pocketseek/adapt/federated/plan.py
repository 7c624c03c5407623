"""What a federation has agreed on, as server and phones both read it. It travels as JSON in every round's messages."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from pocketseek.adapt.train_settings import TARGETS, TrainSettings
from pocketseek.errors import FormatError, UsageError
from pocketseek.package.strict_json import load_object

Weigh = Literal["equal", "tokens"]
MAX_PLAN_BYTES = 64 << 10
MOST_CLIENTS = 512  # of a round: with more, sums of 22 bits could overflow the 32 of secure aggregation
LEAST_SECURE = 3
MOST_TOKENS = 10_000_000  # a client's weight
_VERSION_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FederatedPlan:
    """model: version id of the package, which everybody has. local_steps: of a client in a round. min_clients: fewer
    answers than that change nothing. sample_rate: probability with which a client that is there is asked.

    clip_norm: what each client shortens its change to. noise: standard deviation of the noise in the sum of
    min_clients changes, over clip_norm; each client adds its share. delta: of the epsilon that is reported.
    proximal_mu: FedProx; 0 is FedAvg. secure: the server sees sums only.
    """

    model: str
    rank: int = 8
    alpha: float | None = None
    targets: tuple[str, ...] = tuple(TARGETS)
    local_steps: int = 10
    learning_rate: float = 1e-3
    batch: int = 4
    context: int = 256
    rounds: int = 10
    min_clients: int = LEAST_SECURE
    sample_rate: float = 1.0
    clip_norm: float = 1.0
    noise: float = 0.0
    delta: float = 1e-5
    proximal_mu: float = 0.0
    weigh: Weigh = "equal"
    secure: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises UsageError."""
        self.settings(1)
        _require(bool(_VERSION_ID.fullmatch(self.model)), f"{self.model[:80]!r} is no version of a model; name a model")
        _require(1 <= self.rounds <= 10**6, f"rounds is {self.rounds}; use 1 or more")
        least = LEAST_SECURE if self.secure else 1
        _require(
            least <= self.min_clients <= MOST_CLIENTS,
            f"min-clients is {self.min_clients}; use {least} to {MOST_CLIENTS}",
        )
        _require(
            0 < self.sample_rate <= 1, f"the sample rate is {self.sample_rate}; use a share such as 0.1, at most 1"
        )
        _require(0 < self.clip_norm <= 1e6, f"the clip norm is {self.clip_norm}; use a number above 0 such as 1")
        _require(0 <= self.noise <= 1e4, f"noise is {self.noise}; use 0 (none) or a number such as 1")
        _require(
            0 < self.delta < 1, f"delta is {self.delta}; use less than one over the number of clients, such as 1e-5"
        )
        _require(
            math.isfinite(self.proximal_mu) and self.proximal_mu >= 0,
            f"proximal-mu is {self.proximal_mu}; use 0 (FedAvg) or a positive number such as 0.01",
        )
        _require(self.weigh in get_args(Weigh), f"weigh is {self.weigh!r:.40}; use equal or tokens")
        _require(
            self.weigh == "equal" or not (self.noise or self.secure),
            "with noise or secure aggregation all clients weigh the same, for a weight is seen; use --weigh equal",
        )

    def settings(self, round_number: int, num_threads: int | None = None) -> TrainSettings:
        """Of a client's training in a round (1 for the first). Raises UsageError."""
        return TrainSettings(
            rank=self.rank,
            alpha=self.alpha,
            targets=self.targets,
            steps=self.local_steps,
            learning_rate=self.learning_rate,
            schedule="constant",
            warm_up=0.0,
            batch=self.batch,
            context=self.context,
            seed=self.seed * 1_000_003 + round_number,
            num_threads=num_threads,
        )

    @property
    def client_noise(self) -> float:
        """Standard deviation of what one client adds in every place."""
        return self.noise * self.clip_norm / math.sqrt(self.min_clients)

    @property
    def most_weight(self) -> float:
        return float(MOST_TOKENS) if self.weigh == "tokens" else 1.0

    def noise_multiplier(self, num_clients: int) -> float:
        """Of the sum of so many changes, each with its share of noise."""
        return self.noise * math.sqrt(num_clients / self.min_clients)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def parse_plan(text: str) -> FederatedPlan:
    """What somebody sent. Raises FormatError, UsageError (an impossible value)."""
    where = "the federation's plan"
    found = load_object(text.encode("utf-8", "replace"), where, max_bytes=MAX_PLAN_BYTES)
    usual = asdict(FederatedPlan("0" * 64))
    if found.keys() != usual.keys():
        odd = min(found.keys() ^ usual.keys())
        raise FormatError(f"{where} and this program disagree about {odd[:40]!r}; use the same version of pocketseek")
    values: dict[str, object] = dict(found)
    for name, value in values.items():
        if not _has_kind(value, usual[name], name):
            raise FormatError(f"{where} has an impossible {name}; use the same version of pocketseek")
    values["targets"] = tuple(found["targets"])  # type: ignore[arg-type]  # a list of texts: _has_kind looked
    return FederatedPlan(**values)  # type: ignore[arg-type]  # each has the kind of the usual one, as above


def _has_kind(value: object, usual: object, name: str) -> bool:
    if name == "alpha":
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if name == "targets":
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if isinstance(usual, bool) or isinstance(value, bool):
        return isinstance(usual, bool) and isinstance(value, bool)
    if isinstance(usual, float):
        return isinstance(value, int | float)
    return isinstance(value, type(usual))


def _require(is_fine: bool, problem: str) -> None:
    if not is_fine:
        raise UsageError(problem)
