"""The server's side of a federation, round by round: who is asked, what their answers change, what it cost in privacy,
and a state that survives kill -9. Nothing here talks to anybody: Flower does (flower_rounds.py).

A round either changes the adapter or leaves it as it was; both are written into the log (hash-chained JSON lines, see
package/trust/audit.py) before the state on disk moves on. Noise that was spent is never forgotten: a round that was
broken off counts as if its sum had been seen.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from pocketseek.adapt.federated.accountant import NoisyRound, epsilon
from pocketseek.adapt.federated.aggregate import (
    Answer,
    Fault,
    Rejected,
    fault_of,
    judge,
    largest_norm,
    weighted_mean,
)
from pocketseek.adapt.federated.plan import FederatedPlan
from pocketseek.adapt.federated.vector import Shapes, norm, to_tensors, to_vector
from pocketseek.adapt.train_checkpoint import Checkpoint
from pocketseek.adapt.train_tensors import AdapterTensors, Floats, check_tensors
from pocketseek.package.manifest import JsonValue
from pocketseek.package.trust.audit import AuditLog

Outcome = Literal["learnt", "too-few", "bad-sum", "broken-off"]
Evaluate = Callable[[AdapterTensors], float]
_MOST_NAMES = 20


@dataclass(frozen=True)
class Privacy:
    """Epsilon of all rounds so far, at the plan's delta; infinite without noise. published: against those who see the
    adapters but not who took part. known: against those who know it, and the server if aggregation is secure.
    server: against a server that saw each client's own answer; None if it saw sums only."""

    published: float
    known: float
    server: float | None


@dataclass(frozen=True)
class RoundReport:
    """number: 1 for the first. loss: the clients' own, before they trained, by tokens; NaN if not told. perplexity: of
    the server's validation text; None without one. norm: of the change."""

    number: int
    outcome: Outcome
    num_asked: int
    num_learnt: int
    absent: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    fault: Fault | None
    norm: float
    loss: float
    perplexity: float | None
    privacy: Privacy


@dataclass
class _Spent:
    """sums: for each sum that was or may have been seen, the noise in it over the clip norm. num_answers: rounds in
    which the server saw single answers."""

    sums: list[float] = field(default_factory=list)
    num_answers: int = 0


class Federation:
    """Not thread-safe. Close to nothing is kept of a client: its name in the log, if it was absent or rejected."""

    def __init__(
        self,
        plan: FederatedPlan,
        shapes: Shapes,
        start: Mapping[str, Floats],
        output: Path,
        log: AuditLog,
        *,
        fresh: bool = False,
        evaluate: Evaluate | None = None,
    ) -> None:
        """output: where the adapter will lie; the state lies beside it, under the caller's lock. Raises UsageError if
        another federation's state is there, FormatError (start), StorageError."""
        check_tensors(start, shapes)
        self.plan = plan
        self._shapes = shapes
        self._vector = to_vector(start, shapes)
        self._log = log
        self._evaluate = evaluate
        self._done = 0
        self._learnt = 0
        self._spent = _Spent()
        begin = hashlib.sha256(self._vector.tobytes()).hexdigest()
        key: dict[str, JsonValue] = {**json.loads(replace(plan, rounds=1).to_json()), "start": begin}
        self._state = Checkpoint(output, key, "federation")
        if fresh:
            self._state.remove()
        self._take_up()

    @property
    def vector(self) -> Floats:
        """The adapter as it is."""
        return self._vector

    @property
    def tensors(self) -> AdapterTensors:
        return to_tensors(self._vector, self._shapes)

    @property
    def rounds_done(self) -> int:
        return self._done

    @property
    def rounds_learnt(self) -> int:
        """Of those that are done: the others changed nothing."""
        return self._learnt

    @property
    def is_done(self) -> bool:
        return self._done >= self.plan.rounds

    @property
    def privacy(self) -> Privacy:
        plan, multipliers = self.plan, self._spent.sums
        known = epsilon([NoisyRound(one) for one in multipliers], plan.delta)
        published = epsilon([NoisyRound(one, plan.sample_rate) for one in multipliers], plan.delta)
        alone = [NoisyRound(plan.noise_multiplier(1))] * self._spent.num_answers
        server = None if plan.secure else epsilon(alone, plan.delta)
        return Privacy(published, known, server)

    def choose(self, clients: Sequence[str]) -> list[str]:
        """Of those that are ready: each by a coin of its own that nobody can foretell (the accountant counts on it)."""
        coins = random.SystemRandom()
        return [one for one in clients if self.plan.sample_rate >= 1 or coins.random() < self.plan.sample_rate]

    def begin(self, num_asked: int) -> int:
        """The number of the round that begins. Raises StorageError."""
        number = self._done + 1
        self._log.write("round-began", round=number, asked=num_asked)
        self._save(is_open=True)
        return number

    def end_open(self, answers: Sequence[Answer], absent: Sequence[str]) -> RoundReport:
        """The answers of a round are there, each for all to see. absent: who was asked and did not answer."""
        judged = judge(answers, self.plan, len(self._vector))
        num_asked = len(answers) + len(absent)
        accepted = judged.accepted
        self._spent.num_answers += bool(answers)
        if len(accepted) < self.plan.min_clients:
            return self._end("too-few", num_asked, len(accepted), absent, judged.rejected)
        self._spent.sums.append(self.plan.noise_multiplier(len(accepted)))
        mean, loss = weighted_mean(accepted), _mean_loss(accepted)
        return self._end("learnt", num_asked, len(accepted), absent, judged.rejected, mean=mean, loss=loss)

    def end_secure(self, mean: Floats | None, num_learnt: int, absent: Sequence[str], loss: float) -> RoundReport:
        """mean: of num_learnt changes, unmasked; None: too few were left for that."""
        num_asked = num_learnt + len(absent)
        if mean is not None:
            self._spent.sums.append(self.plan.noise_multiplier(num_learnt))
        if mean is None or num_learnt < self.plan.min_clients:
            return self._end("too-few", num_asked, num_learnt, absent)
        most = largest_norm(self.plan, len(self._vector), num_learnt)
        if fault := fault_of(mean, most, len(self._vector)):
            return self._end("bad-sum", num_asked, num_learnt, absent, fault=fault)
        return self._end("learnt", num_asked, num_learnt, absent, mean=mean, loss=loss)

    def break_off(self, absent: Sequence[str], why: str) -> RoundReport:
        """The round came to no end. absent: all who were asked; nobody knows whose fault it was."""
        self._spend_unknown()
        self._log.write("round-broken", round=self._done + 1, why=why)
        return self._end("broken-off", len(absent), 0, absent)

    def _end(
        self,
        outcome: Outcome,
        num_asked: int,
        num_learnt: int,
        absent: Sequence[str],
        rejected: Sequence[Rejected] = (),
        *,
        fault: Fault | None = None,
        mean: Floats | None = None,
        loss: float = float("nan"),
    ) -> RoundReport:
        if mean is not None:
            self._vector = (self._vector + mean).astype(np.float32)
            self._learnt += 1
        self._done += 1
        report = RoundReport(
            number=self._done,
            outcome=outcome,
            num_asked=num_asked,
            num_learnt=num_learnt,
            absent=tuple(sorted(absent)),
            rejected=tuple(rejected),
            fault=fault,
            norm=0.0 if mean is None else norm(mean),
            loss=loss,
            perplexity=None if self._evaluate is None else self._evaluate(self.tensors),
            privacy=self.privacy,
        )
        self._write(report)
        self._save(is_open=False)
        return report

    def _write(self, report: RoundReport) -> None:
        privacy = report.privacy
        self._log.write(
            "round-ended",
            round=report.number,
            outcome=report.outcome,
            fault=report.fault,
            asked=report.num_asked,
            learnt=report.num_learnt,
            absent=_names(report.absent),
            rejected=_names([f"{one.client}:{one.fault}" for one in report.rejected]),
            norm=f"{report.norm:.6g}",
            loss=f"{report.loss:.6g}",
            perplexity=None if report.perplexity is None else f"{report.perplexity:.6g}",
            epsilon=f"{privacy.published:.4g}",
            epsilon_known=f"{privacy.known:.4g}",
            epsilon_server=None if privacy.server is None else f"{privacy.server:.4g}",
            delta=f"{self.plan.delta:g}",
            adapter=hashlib.sha256(self._vector.tobytes()).hexdigest(),
        )

    def _save(self, *, is_open: bool) -> None:
        facts: dict[str, JsonValue] = {
            "done": self._done,
            "learnt": self._learnt,
            "sums": list(self._spent.sums),
            "num_answers": self._spent.num_answers,
            "is_open": is_open,
        }
        self._state.save(facts, {"vector": self._vector})

    def _take_up(self) -> None:
        kept = self._state.load()
        if kept is None:
            return
        done, sums, num_answers = (kept.facts[name] for name in ("done", "sums", "num_answers"))
        learnt = kept.facts.get("learnt", done)
        assert isinstance(done, int)
        assert isinstance(learnt, int)
        assert isinstance(sums, list)
        assert isinstance(num_answers, int)
        self._vector, self._done, self._learnt = kept.arrays["vector"], done, learnt
        self._spent = _Spent([float(one) for one in sums], num_answers)
        if kept.facts["is_open"]:
            self._spend_unknown()
            self._log.write("round-lost", round=done + 1)

    def _spend_unknown(self) -> None:
        """A round ended in the middle, and nobody knows what was seen of it: the least that can be counts as seen."""
        if self.plan.secure:
            self._spent.sums.append(self.plan.noise)
        else:
            self._spent.num_answers += 1


def _mean_loss(answers: Sequence[Answer]) -> float:
    tokens = sum(answer.num_tokens for answer in answers)
    return sum(answer.loss * answer.num_tokens for answer in answers) / tokens if tokens else float("nan")


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return " ".join(names[:_MOST_NAMES]) + more
