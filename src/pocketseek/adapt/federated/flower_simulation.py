"""Many devices on one machine, in Flower's simulation engine: each file of a folder is one device's data."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from pocketseek.adapt.data_file import Example, read_data
from pocketseek.adapt.federated.federation import Federation, RoundReport
from pocketseek.adapt.federated.flower_client import client_app
from pocketseek.adapt.federated.flower_rounds import Patience, Rounds, Waiting
from pocketseek.adapt.federated.phone import Phone
from pocketseek.adapt.federated.terms import ClientTerms
from pocketseek.errors import BusyError

PARTITION = "partition-id"


def simulate(
    federation: Federation,
    package: Path,
    data: Sequence[Path],
    *,
    patience: Patience,
    num_threads: int = 1,
    at_once: int = 1,
    tell_waiting: Callable[[Waiting], None] = lambda waiting: None,
    tell_round: Callable[[RoundReport], None] = lambda report: None,
) -> None:
    """at_once: devices that compute at the same time. Raises as Rounds.run."""
    files = tuple(data)
    failures: list[BaseException] = []
    stop = threading.Event()
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        rounds = Rounds(federation, grid, patience, tell_waiting=tell_waiting, tell_round=tell_round, stop=stop)
        try:
            rounds.run()
        except BaseException as error:  # Flower swallows it: kept for who waits, and raised again
            failures.append(error)
            raise

    def phone_of(context: Context) -> Phone:
        place = int(context.node_config[PARTITION])
        return Phone(package, _examples(files[place]), terms=_ANY_TERMS, num_threads=num_threads)

    backend: dict[str, Any] = {
        "init_args": {"num_cpus": at_once, "num_gpus": 0, "include_dashboard": False, "log_to_driver": False},
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    }
    with _ended_by(failures, stop):
        run_simulation(server, client_app(phone_of), num_supernodes=len(files), backend_config=backend)


_ANY_TERMS = ClientTerms(most_steps=10**6, most_clip_norm=1e9, least_clients=1)


@lru_cache(maxsize=64)
def _examples(path: Path) -> tuple[Example, ...]:
    return read_data(path).examples


@contextlib.contextmanager
def _ended_by(failures: list[BaseException], stop: threading.Event) -> Iterator[None]:
    """Raises what ended the rounds, not what Flower makes of it; and ends the rounds if Flower ended first."""
    try:
        yield
    except Exception as error:  # whatever the engine raises: it is raised again, as something that can be told
        stop.set()
        if failures:
            raise failures[0] from error
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise BusyError(
            f"Flower's simulation engine failed ({reason}); try again when the machine has less to do"
        ) from error
    if failures:
        raise failures[0]
