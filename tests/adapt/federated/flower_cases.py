"""Rounds with the real Flower (messages, ClientApp, SecAgg+) between a server and devices in one process.

Runs in the environment that has Flower: `python flower_cases.py FOLDER`; test_flower.py calls it and judges what it
prints. The network and training are left out: devices give changes that are known, so that sums can be checked.
"""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.supercore.task_identity import TaskIdentity

from pocketseek.adapt.federated.federation import Federation, RoundReport
from pocketseek.adapt.federated.flower_client import client_app
from pocketseek.adapt.federated.flower_rounds import Patience, Rounds
from pocketseek.adapt.federated.phone import Change, protected
from pocketseek.adapt.federated.plan import FederatedPlan
from pocketseek.adapt.federated.vector import to_vector
from pocketseek.package.trust.audit import AuditLog

SHAPES = {"a": (4, 8), "b": (8, 4)}
START = {name: np.full(shape, 0.5, np.float32) for name, shape in SHAPES.items()}
PLAN = FederatedPlan("a" * 64, rounds=1, min_clients=3, clip_norm=4.0)


class FakePhone:
    """Its change is its number everywhere, over 100."""

    def __init__(self, number: int, refuses: str | None = None) -> None:
        self.number = number
        self.refuses = refuses

    def refusal(self, plan: FederatedPlan) -> str | None:
        return self.refuses

    def train(self, vector: np.ndarray, plan: FederatedPlan, round_number: int) -> Change:
        return protected(Change(self.values(), 1.0, 10 * self.number, 2.0), plan)

    def values(self) -> np.ndarray:
        return np.full(64, self.number / 100, np.float32)


class Lying(FakePhone):
    """Sends what it likes: nothing is clipped."""

    def __init__(self, number: int, values: np.ndarray) -> None:
        super().__init__(number)
        self._values = values

    def train(self, vector: np.ndarray, plan: FederatedPlan, round_number: int) -> Change:
        return Change(self._values, 1.0, 10, 2.0)


class OneProcessGrid:
    """Node 10 + n is the n-th phone. dead_at: at which training message (1 for the first) a node is lost. A reply may
    be changed on its way by `tamper`."""

    def __init__(self, phones: list[FakePhone], dead_at: dict[int, int] | None = None) -> None:
        self.run = SimpleNamespace(run_id=1)
        self.apps = {10 + place: client_app(lambda context, phone=phone: phone) for place, phone in enumerate(phones)}
        self.contexts = {node: Context(1, node, {}, RecordDict(), {}) for node in self.apps}
        self.dead_at = dead_at or {}
        self.num_trained = dict.fromkeys(self.apps, 0)
        self.sent_bytes = 0
        self.tamper: Callable[[Message], None] = lambda reply: None

    def get_node_ids(self) -> list[int]:
        return sorted(self.apps)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return [reply for message in messages if (reply := self._reply(message)) is not None]

    def _reply(self, message: Message) -> Message | None:
        node = message.metadata.dst_node_id
        message.metadata.__dict__["_message_id"] = "x"
        message = copy.deepcopy(message)  # what the server sends to all is each one's own
        if message.metadata.message_type.startswith("train"):
            self.num_trained[node] += 1
            if self.num_trained[node] >= self.dead_at.get(node, 10**9):
                return Message(Error(ErrorCode.NODE_UNAVAILABLE, "it is gone"), reply_to=message)
        try:
            reply = self.apps[node](message, self.contexts[node])
        except Exception as error:  # noqa: BLE001  (as flower_device.py does)
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, str(error)), reply_to=message)
        self.tamper(reply)
        return reply


def run(
    folder: Path,
    phones: list[FakePhone],
    plan: FederatedPlan = PLAN,
    dead_at: dict[int, int] | None = None,
    **more: Any,
) -> tuple[Federation, list[RoundReport], OneProcessGrid]:
    folder.mkdir(parents=True)
    federation = Federation(plan, SHAPES, START, folder / "adapter", AuditLog(folder / "rounds.log"))
    grid = OneProcessGrid(phones, dead_at)
    if "tamper" in more:
        grid.tamper = more["tamper"]
    reports: list[RoundReport] = []
    rounds = Rounds(federation, grid, Patience(5, 5, 0.01, 0.05), tell_round=reports.append)  # type: ignore[arg-type]
    rounds.run()
    return federation, reports, grid


def facts(federation: Federation, reports: list[RoundReport]) -> dict[str, Any]:
    moved = federation.vector - to_vector(START, SHAPES)
    report = reports[-1]
    return {
        "outcome": report.outcome,
        "moved": [float(moved.min()), float(moved.max())],
        "learnt": report.num_learnt,
        "absent": report.absent,
        "rejected": {one.client: one.fault for one in report.rejected},
        "fault": report.fault,
        "loss": None if math.isnan(report.loss) else report.loss,
    }


def main(folder: Path) -> dict[str, Any]:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    good = [FakePhone(number) for number in (1, 2, 3, 4)]
    opened = FederatedPlan(**{**PLAN.__dict__, "secure": False})
    found: dict[str, Any] = {}

    def case(name: str, *arguments: Any, **options: Any) -> None:
        federation, reports, _ = run(folder / name, *arguments, **options)
        found[name] = facts(federation, reports)

    case("open", good, opened)
    case("secure", good)
    case("open-killed", good, opened, {13: 1})
    case("secure-killed-in-training", good, PLAN, {13: 3})
    case("secure-killed-after-training", good, PLAN, {13: 4})
    case("secure-killed-before-keys", good, PLAN, {13: 2})
    case("secure-killed-at-once", good, PLAN, {13: 1})
    case("secure-two-of-four-killed", good, PLAN, {12: 3, 13: 3})
    bad = [
        Lying(5, np.full(64, 1e6, np.float32)),
        Lying(6, np.full(64, np.nan, np.float32)),
        Lying(7, np.zeros(9, np.float32)),
    ]
    case("open-malicious", [*good, *bad], opened)
    case("unwilling", [*good, FakePhone(5, "not-charging")], PLAN)

    def garbage(reply: Message) -> None:
        """Node 13 sends a masked vector that is none: what is unmasked then is noise."""
        record = reply.content.config_records.get("secaggplus_configs") or {}
        for key, value in list(record.items()):
            if reply.metadata.src_node_id == 13 and "masked" in str(key).lower():
                record[key] = [_shifted(one, index) for index, one in enumerate(value)]

    def misshapen(reply: Message) -> None:
        record = reply.content.config_records.get("secaggplus_configs") or {}
        for key, value in list(record.items()):
            if reply.metadata.src_node_id == 13 and "masked" in str(key).lower():
                record[key] = [value[0], *(_short(one) for one in value[1:])]

    case("secure-garbage", good, tamper=garbage)
    case("secure-misshapen", good, tamper=misshapen)
    found["downgrade"] = _downgrade(good)
    found["keys"] = _keys(folder / "keys")
    return found


def _shifted(data: bytes, index: int) -> bytes:
    from flwr.common import bytes_to_ndarray, ndarray_to_bytes

    values = bytes_to_ndarray(data)
    noise = np.random.default_rng(0).integers(0, 2**31, values.shape, dtype=np.int64) if index else 0
    return ndarray_to_bytes(values + noise)


def _short(data: bytes) -> bytes:
    from flwr.common import bytes_to_ndarray, ndarray_to_bytes

    return ndarray_to_bytes(bytes_to_ndarray(data)[:-1])


def _downgrade(phones: list[FakePhone]) -> list[str]:
    """What a device says to a server whose plan is secure and which asks in the open."""
    from flwr.common import FitIns, ndarrays_to_parameters
    from flwr.compat.common.recorddict_compat import fitins_to_recorddict

    order = FitIns(ndarrays_to_parameters([np.zeros(64, np.float32)]), {"plan": PLAN.to_json(), "round": 1})
    grid = OneProcessGrid(phones)
    messages = [Message(fitins_to_recorddict(order, True), 10, "train")]
    return [reply.error.reason for reply in grid.send_and_receive(messages) if reply.has_error()]


def _keys(folder: Path) -> dict[str, Any]:
    """Which devices a server knows as files of keys come and go."""
    from pocketseek.adapt.federated.flower_server import Fleet
    from pocketseek.adapt.federated.keys import make_client_keys

    devices = folder / "devices"
    devices.mkdir(parents=True)
    files = {name: make_client_keys(folder / name, name).read_bytes() for name in ("one", "two")}
    fleet = Fleet(devices)

    def known() -> list[str]:
        fleet.grid.get_node_ids()
        return sorted(one.name for one in fleet.state.nodes.values() if one.status != "unregistered")

    told: dict[str, Any] = {"none": known()}
    for name, data in files.items():
        (devices / f"{name}.pub").write_bytes(data)
    told["both"] = known()
    (devices / "one.pub").unlink()
    told["gone"] = known()
    (devices / "half.pub").write_bytes(files["one"][:20])
    told["half"] = known()
    (devices / "half.pub").unlink()
    (devices / "one.pub").write_bytes(files["one"])
    told["back"] = known()
    return told


if __name__ == "__main__":
    print("FOUND " + json.dumps(main(Path(sys.argv[1]))))
