"""Rounds over a Flower grid: check-in, then a round in the open or under SecAgg+, until the federation is done.

SecAgg+ (`SecAggPlusWorkflow`) works with Flower's older strategies only: it takes its instructions from
`Strategy.configure_fit` and gives every client's result the unmasked mean as its parameters before it calls
`Strategy.aggregate_fit`. `_Once` is such a strategy for one round. A device that is lost after it has shared its keys
costs nothing but itself; one that is lost before makes the round end without a sum, so devices check in first, and
what is lost between the two begins the round anew without them.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.common import (
    FitIns,
    FitRes,
    Parameters,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.compat.common.recorddict_compat import (
    fitins_to_recorddict,
    parameters_to_arrayrecord,
    recorddict_to_fitres,
)
from flwr.server.client_manager import SimpleClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.server_config import ServerConfig
from flwr.server.strategy import Strategy
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.serverapp.grid import Grid

from pocketseek.adapt.federated.aggregate import Answer, secure_range
from pocketseek.adapt.federated.federation import Federation, RoundReport
from pocketseek.adapt.federated.flower_client import CHECK_IN, PLAN, REFUSAL, ROUND
from pocketseek.adapt.train_tensors import Floats
from pocketseek.errors import BusyError

_FULL_GRAPH = 21  # with more clients each shares keys with so many neighbours only, as SecAgg+ has it
_THRESHOLD = 2 / 3  # of a device's shares must be there at the end: a third may be lost
_SHARED_AFTER = 2  # stages: set-up, and shares of keys
NodeName = Callable[[int], str]


@dataclass(frozen=True)
class Patience:
    """check_in_s: until devices have said whether they take part. round_s: until they have answered, in each stage of a
    secure round. pause_s: before asking again when too few were there. give_up_s: without a round that began."""

    check_in_s: float = 60.0
    round_s: float = 1800.0
    pause_s: float = 30.0
    give_up_s: float = math.inf


@dataclass(frozen=True)
class Waiting:
    """refusals: how many devices gave which reason."""

    num_there: int
    num_ready: int
    needed: int
    refusals: Mapping[str, int]


@dataclass
class Rounds:
    federation: Federation
    grid: Grid
    patience: Patience
    name_of: NodeName = field(default=lambda node: f"node-{node}")
    tell_waiting: Callable[[Waiting], None] = lambda waiting: None
    tell_round: Callable[[RoundReport], None] = lambda report: None
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Raises BusyError if too few devices were ready for give_up_s, or while waiting for them if `stop` is set;
        StorageError."""
        while not self.federation.is_done:
            self.tell_round(self._round(self._ready()))

    def _ready(self) -> list[int]:
        """Devices that were asked and take part in the next round; enough of them."""
        plan = self.federation.plan
        begun_s = time.monotonic()
        while True:
            there = {self.name_of(node): node for node in self.grid.get_node_ids()}
            asked = [there[name] for name in self.federation.choose(sorted(there))]
            answers = self._check_in(asked) if len(asked) >= plan.min_clients else {}
            ready = [node for node, refusal in answers.items() if not refusal]
            if len(ready) >= plan.min_clients:
                return ready
            refusals: dict[str, int] = {}
            for refusal in answers.values():
                if refusal:
                    refusals[refusal] = refusals.get(refusal, 0) + 1
            self.tell_waiting(Waiting(len(there), len(ready), plan.min_clients, refusals))
            if time.monotonic() - begun_s > self.patience.give_up_s:
                raise BusyError(
                    f"{len(ready)} of the {plan.min_clients} devices that a round needs were ready; start more, "
                    "or run the same command again later: it goes on where it was"
                )
            if self.stop.wait(self.patience.pause_s):
                raise BusyError("what the devices run in has ended; run the same command again")

    def _check_in(self, nodes: Sequence[int]) -> dict[int, str]:
        """Of those that answered: why not; empty: ready."""
        record = RecordDict({CHECK_IN: ConfigRecord({PLAN: self.federation.plan.to_json()})})
        messages = [Message(record, node, MessageType.QUERY, ttl=self.patience.check_in_s) for node in nodes]
        answers = {}
        for reply in self.grid.send_and_receive(messages, timeout=self.patience.check_in_s):
            if reply.has_content() and CHECK_IN in reply.content.config_records:
                refusal = reply.content.config_records[CHECK_IN].get(REFUSAL)
                answers[reply.metadata.src_node_id] = refusal if isinstance(refusal, str) else "unreadable"
        return answers

    def _round(self, nodes: Sequence[int]) -> RoundReport:
        number = self.federation.begin(len(nodes))
        if self.federation.plan.secure:
            return self._secure_round(nodes, number)
        answers = self._open_answers(nodes, number)
        there = {answer.client for answer in answers}
        return self.federation.end_open(answers, [name for name in map(self.name_of, nodes) if name not in there])

    def _order(self, number: int) -> FitIns:
        parameters = ndarrays_to_parameters([self.federation.vector])
        return FitIns(parameters, {PLAN: self.federation.plan.to_json(), ROUND: number})

    def _open_answers(self, nodes: Sequence[int], number: int) -> list[Answer]:
        content = fitins_to_recorddict(self._order(number), keep_input=True)
        messages = [
            Message(content, node, MessageType.TRAIN, ttl=self.patience.round_s, group_id=str(number)) for node in nodes
        ]
        replies = self.grid.send_and_receive(messages, timeout=self.patience.round_s)
        return [self._read(reply) for reply in replies if reply.has_content()]

    def _read(self, reply: Message) -> Answer:
        """What cannot be read has no shape, and is rejected for it."""
        name = self.name_of(reply.metadata.src_node_id)
        try:
            result = recorddict_to_fitres(reply.content, keep_input=False)
            (change,) = parameters_to_ndarrays(result.parameters)
            loss, tokens = result.metrics.get("loss", math.nan), result.metrics.get("tokens", 0)
            return Answer(name, change, float(result.num_examples), int(tokens), float(loss))
        except Exception:  # noqa: BLE001  (a stranger's bytes make Flower's readers raise anything)
            return Answer(name, np.zeros(0, np.float32), 0.0)

    def _secure_round(self, nodes: Sequence[int], number: int) -> RoundReport:
        remaining, names = list(nodes), [self.name_of(node) for node in nodes]
        while True:
            once = _Once(self.grid, remaining, self._order(number))
            try:
                self._workflow(len(remaining))(_StagesGrid(self.grid, once), self._context(once, number))
                break
            except _LostEarlyError:
                remaining = [node for node in remaining if node in once.answered]
                if len(remaining) < self.federation.plan.min_clients:
                    break
            except Exception as error:  # noqa: BLE001  (as above; nobody can say whose bytes they were)
                why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                return self.federation.break_off(names, why)
        learnt = {self.name_of(node) for node in once.learnt}
        absent = [name for name in names if name not in learnt]
        return self.federation.end_secure(once.mean, len(learnt), absent, math.nan)

    def _workflow(self, num_clients: int) -> SecAggPlusWorkflow:
        shares: int | float = 1.0 if num_clients <= _FULL_GRAPH else _FULL_GRAPH
        return SecAggPlusWorkflow(
            num_shares=shares,
            reconstruction_threshold=_THRESHOLD,
            max_weight=1.0,
            clipping_range=secure_range(self.federation.plan),
            timeout=self.patience.round_s,
        )

    def _context(self, once: _Once, number: int) -> LegacyContext:
        context = Context(run_id=0, node_id=0, node_config={}, state=RecordDict(), run_config={})
        legacy = LegacyContext(context, ServerConfig(num_rounds=1), once, SimpleClientManager())
        legacy.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: number})
        legacy.state.array_records[MAIN_PARAMS_RECORD] = parameters_to_arrayrecord(once.order.parameters, True)
        return legacy


class _Once(Strategy):
    """What one secure round sends and what came of it. mean: None until it is there. learnt: whose changes are in it.
    answered: who is there still."""

    def __init__(self, grid: Grid, nodes: Sequence[int], order: FitIns) -> None:
        self.order = order
        self.mean: Floats | None = None
        self.learnt: list[int] = []
        self.answered: set[int] = set(nodes)
        self._proxies = [GridClientProxy(node_id=node, grid=grid, run_id=grid.run.run_id) for node in nodes]

    def initialize_parameters(self, client_manager: Any) -> None:
        return None

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: Any
    ) -> list[tuple[ClientProxy, FitIns]]:
        return [(proxy, self.order) for proxy in self._proxies]

    def aggregate_fit(
        self, server_round: int, results: list[tuple[ClientProxy, FitRes]], failures: list[Any]
    ) -> tuple[None, dict[str, Any]]:
        if results:
            (mean,) = parameters_to_ndarrays(results[0][1].parameters)
            self.mean = mean.astype(np.float32)
            self.learnt = [proxy.node_id for proxy, _ in results if isinstance(proxy, GridClientProxy)]
        return None, {}

    def configure_evaluate(self, server_round: int, parameters: Parameters, client_manager: Any) -> list[Any]:
        return []

    def aggregate_evaluate(
        self, server_round: int, results: list[Any], failures: list[Any]
    ) -> tuple[None, dict[str, Any]]:
        return None, {}

    def evaluate(self, server_round: int, parameters: Parameters) -> None:
        return None


class _StagesGrid:
    """The grid as a secure round sees it: it ends at once when somebody is lost too early."""

    def __init__(self, grid: Grid, once: _Once) -> None:
        self._grid = grid
        self._once = once
        self._num_stages = 0

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        replies = list(self._grid.send_and_receive(messages, timeout=timeout))
        answered = {reply.metadata.src_node_id for reply in replies if not reply.has_error()}
        self._num_stages += 1
        if self._num_stages <= _SHARED_AFTER and answered < self._once.answered:
            self._once.answered = answered
            raise _LostEarlyError
        return replies


class _LostEarlyError(Exception):
    """Somebody went before keys were shared: the sum could not be unmasked at the end."""
