"""The upkeep of models while a server or a chat runs: when it may work, and with which network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.errors import UsageError
from pocketseek.settings import Settings, read_network_settings

if TYPE_CHECKING:
    from pocketseek.package.sealing.key_slots import Secret

_FETCH_BYTES_PER_S = 4_000_000


@contextmanager
def keeping_up(
    settings: Settings,
    models: Callable[[], Sequence[Path]],
    *,
    is_idle: Callable[[], bool],
    report: Callable[[str], None],
    unlock: Callable[[Path], Secret | None] = lambda _: None,
) -> Iterator[None]:
    """Look after models while the body runs. is_idle: whether nobody wants anything now; from another thread. unlock:
    the secret of a sealed model, if it is kept."""
    from pocketseek.apps.repository.open_source import Link
    from pocketseek.apps.repository.rate import RateLimit
    from pocketseek.apps.repository.upkeep import Upkeep
    from pocketseek.device.sensors import Sensors
    from pocketseek.govern.idle_work import idle_work_allowed

    if not settings.check_days:
        yield
        return
    sensors: list[Sensors] = []

    def may_work() -> bool:
        if not is_idle():
            return False
        if not sensors:  # in the thread that uses them, and not before there is something to do
            sensors.append(Sensors())
        return idle_work_allowed(sensors[0].read())

    with Upkeep(
        models,
        may_work=may_work,
        report=report,
        link=lambda: Link(read_network_settings(), num_connections=1, rate=RateLimit(_FETCH_BYTES_PER_S)),
        models_dir=settings.models_dir,
        days=settings.check_days,
        allow_fetching=_refuse_metered,
        unlock=unlock,
    ):
        yield


def _refuse_metered(num_bytes: int) -> None:
    """Nobody can be asked. Raises UsageError."""
    from pocketseek.device.network import read_network

    facts = read_network()
    if facts.metered == "yes":
        raise UsageError(
            f"{num_bytes} bytes are not fetched while the network is paid for by the byte (says {facts.source}); "
            "`pocketseek verify MODEL --repair` asks"
        )
