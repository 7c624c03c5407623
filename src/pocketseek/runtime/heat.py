"""Who watches heat and battery for an engine: put together from what this device lets us read and write.

Where nothing can be read and nobody asked for a limit, nobody watches heat; with the limit switched off neither. The
battery's policy holds there too, and without a battery the inner governor is used as it is. On Android programs may
answer later than an engine is opened, so there a watcher is made if one of them is installed; until something is known
it does nothing. A limit that is asked for, or the default one on Android, is said to be without effect if nothing
stands for the skin (`ThermalStatus.holds_limit`, and in the log).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pocketseek.device.sensor_facts import SensorFacts
from pocketseek.device.sensors import Sensors
from pocketseek.device.system import is_android
from pocketseek.errors import UsageError
from pocketseek.govern.governor import Governor
from pocketseek.govern.power_governor import PowerGovernor
from pocketseek.govern.thermal_control import SET_POINT_C
from pocketseek.govern.thermal_governor import ThermalGovernor, ThermalStatus
from pocketseek.runtime.frequency_caps import FrequencyCaps, restore_after_crash

LOWEST_LIMIT_C, HIGHEST_LIMIT_C = 25.0, 80.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeatWatch:
    """thermal: None if nobody watches; governor: what the engine asks either way. `close` puts clocks back."""

    governor: Governor
    thermal: ThermalGovernor | None = None
    clocks: FrequencyCaps | None = None

    def close(self) -> None:
        if self.clocks is not None:
            self.clocks.restore()


def watch_heat(
    inner: Governor,
    home: Path,
    *,
    limit_c: float | None = None,
    cool_cores: tuple[int, ...] = (),
    changes_threads: bool = True,
    screen_off: bool = False,
    root: str | Path = "/",
) -> HeatWatch:
    """limit_c: at the skin or the battery; None: SET_POINT_C, 0: nobody is to watch. cool_cores, changes_threads:
    as of ThermalGovernor. Raises UsageError.
    """
    restore_after_crash(home, root=root)
    expects_skin = limit_c is not None or is_android(Path(root))
    limit_c = SET_POINT_C if limit_c is None else check_limit(limit_c)
    sensors = Sensors(root)
    if limit_c == 0.0 or not (expects_skin or sensors.has_programs or _may_tell(sensors.read())):
        return HeatWatch(_saving(inner, sensors, screen_off=screen_off))
    clocks = FrequencyCaps(home, root=root)
    thermal = ThermalGovernor(
        inner,
        sensors.read,
        set_point_c=limit_c,
        caps_clock=clocks.is_possible,
        clock_acts=lambda: clocks.is_acting,
        changes_threads=changes_threads,
        cool_cores=cool_cores,
        screen_off=screen_off,
        expects_skin=expects_skin,
        announce=_announce,
    )
    return HeatWatch(thermal, thermal, clocks if clocks.is_possible else None)


def _saving(inner: Governor, sensors: Sensors, *, screen_off: bool) -> Governor:
    """What the battery asks for, if there may be one."""
    if not screen_off and not sensors.has_programs and sensors.read_battery() is None:
        return inner
    return PowerGovernor(inner, sensors.read_battery, screen_off=screen_off)


def check_limit(limit_c: float) -> float:
    """0 is off. Raises UsageError for what no device could keep or survive."""
    if limit_c != 0.0 and not LOWEST_LIMIT_C <= limit_c <= HIGHEST_LIMIT_C:
        raise UsageError(
            f"{limit_c:g} °C is no temperature limit; "
            f"give {LOWEST_LIMIT_C:.0f} to {HIGHEST_LIMIT_C:.0f}, or 0 to switch it off"
        )
    return limit_c


def connect(watch: HeatWatch, busy_s: Callable[[], float]) -> None:
    """busy_s: of the engine that was opened with it."""
    if watch.thermal is not None:
        watch.thermal.busy_s = busy_s


def _may_tell(facts: SensorFacts) -> bool:
    return bool(facts.temperatures or facts.battery) or facts.thermal_headroom is not None


def _announce(status: ThermalStatus) -> None:
    remedy = "" if status.holds_limit else "; see `pocketseek doctor`"
    _log.info("heat: %s%s", status.describe(), remedy)
