"""What the commands ask the other environment to do: a job as JSON, and the work on it, told in events.

This module needs no Flower; what it does imports it (flower_*.py).
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pocketseek.adapt.data_file import read_data
from pocketseek.adapt.federated.opened import OpenedFederation
from pocketseek.errors import UnsupportedError, UsageError
from pocketseek.libraries import load_library
from pocketseek.package.storage import storage_errors

Tell = Callable[[str, dict[str, Any]], None]
FLOWER = "1.42"
_SUFFIXES = (".jsonl", ".txt")


@dataclass(frozen=True)
class RoundsJob:
    """package: of the model. folder: of the federation: log, state and the adapter. plan: JSON. validation: a text that
    the server measures on after each round; None: none."""

    package: str
    folder: str
    plan: str
    validation: str | None = None
    fresh: bool = False
    num_threads: int = 1
    check_in_s: float = 60.0
    round_s: float = 1800.0
    pause_s: float = 30.0
    give_up_s: float = 86400.0


@dataclass(frozen=True)
class ServerJob:
    """keys: the server's folder; None: without TLS and keys, for this machine only."""

    rounds: RoundsJob
    host: str
    port: int
    keys: str | None


@dataclass(frozen=True)
class SimulateJob:
    """data: a folder; each file in it is a device. at_once: devices that compute at the same time."""

    rounds: RoundsJob
    data: str
    at_once: int = 1


@dataclass(frozen=True)
class ClientJob:
    """policy, terms: fields of DevicePolicy and ClientTerms."""

    package: str
    data: str
    address: str
    keys: str | None
    policy: dict[str, Any]
    terms: dict[str, Any]
    num_threads: int


Job = ServerJob | SimulateJob | ClientJob


def to_json(job: Job) -> str:
    return json.dumps({"kind": type(job).__name__, **asdict(job)})


def from_json(text: str) -> Job:
    values = json.loads(text)
    kind = values.pop("kind")
    if "rounds" in values:
        values["rounds"] = RoundsJob(**values["rounds"])
    kinds: dict[str, type[Job]] = {one.__name__: one for one in (ServerJob, SimulateJob, ClientJob)}
    return kinds[kind](**values)


def data_files(folder: Path) -> list[Path]:
    """Of a simulation's devices. Raises UsageError, StorageError."""
    with storage_errors(folder):
        files = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    if not files:
        raise UsageError(f"{folder} has no .jsonl or .txt files; put one there for each device")
    return files


def run_job(job: Job, tell: Tell) -> None:
    """Raises UnsupportedError (no Flower here, or another version), and what it is about."""
    _require_flower()
    if isinstance(job, ServerJob):
        _serve(job, tell)
    elif isinstance(job, SimulateJob):
        _simulate(job, tell)
    else:
        _take_part(job, tell)


def _require_flower() -> None:
    """Parts of it are used that may be others in another version."""
    remedy = "run `pocketseek adapt federate setup`, or set POCKETSEEK_FEDERATED_PYTHON"
    load_library("flwr", remedy, needed_for="federated learning")
    version = importlib.metadata.version("flwr")
    if not version.startswith(f"{FLOWER}."):
        raise UnsupportedError(f"this is Flower {version}, and {FLOWER} is needed; {remedy}")


def _serve(job: ServerJob, tell: Tell) -> None:
    from pocketseek.adapt.federated.flower_rounds import Rounds
    from pocketseek.adapt.federated.flower_server import Fleet, served
    from pocketseek.adapt.federated.keys import server_keys

    keys = None if job.keys is None else server_keys(Path(job.keys))
    with OpenedFederation(job.rounds, tell) as opened:
        if not opened.federation.is_done:
            fleet = Fleet(None if keys is None else keys.devices)
            with served(fleet, job.host, job.port, keys) as port:
                tell("listening", {"host": job.host, "port": port})
                Rounds(
                    opened.federation,
                    fleet.grid,
                    opened.patience,
                    fleet.name_of,
                    opened.tell_waiting,
                    opened.tell_round,
                ).run()
        opened.finish()


def _simulate(job: SimulateJob, tell: Tell) -> None:
    from pocketseek.adapt.federated.flower_simulation import simulate

    files = data_files(Path(job.data))
    for path in files:
        read_data(path)
    with OpenedFederation(job.rounds, tell) as opened:
        if not opened.federation.is_done:
            simulate(
                opened.federation,
                Path(job.rounds.package),
                files,
                patience=opened.patience,
                num_threads=job.rounds.num_threads,
                at_once=job.at_once,
                tell_waiting=opened.tell_waiting,
                tell_round=opened.tell_round,
            )
        opened.finish()


def _take_part(job: ClientJob, tell: Tell) -> None:
    from pocketseek.adapt.federated.device_facts import read_device_facts
    from pocketseek.adapt.federated.flower_client import client_app
    from pocketseek.adapt.federated.flower_device import Server, take_part
    from pocketseek.adapt.federated.keys import client_keys
    from pocketseek.adapt.federated.phone import Phone
    from pocketseek.adapt.federated.terms import ClientTerms, DevicePolicy

    keys = None if job.keys is None else client_keys(Path(job.keys))
    phone = Phone(
        Path(job.package),
        read_data(Path(job.data)).examples,
        policy=DevicePolicy(**job.policy),
        terms=ClientTerms(**job.terms),
        facts=lambda: read_device_facts(job.num_threads),
        num_threads=job.num_threads,
    )
    roots = None if keys is None else keys.root_certificates
    take_part(Server(job.address, keys, roots, insecure=keys is None), client_app(lambda context: phone), tell=tell)
