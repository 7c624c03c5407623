"""What a device says about itself when it is asked to take part: charger, network, heat, and whether it is in use."""

from __future__ import annotations

from pathlib import Path

from pocketseek.adapt.federated.terms import DeviceFacts
from pocketseek.device.network import read_network
from pocketseek.device.reading import read_text
from pocketseek.device.sensors import Sensors
from pocketseek.govern.choose_sensors import choose_sensors

IDLE_LOAD = 0.5  # runnable tasks per core, mean of a minute, below which nobody is waiting for the device


def read_device_facts(num_cores: int, root: Path = Path("/")) -> DeviceFacts:
    """Asks programs, which may take seconds."""
    sensors = Sensors(root).settle()
    battery = sensors.battery
    return DeviceFacts(
        charging=battery.charging if battery is not None else None,
        battery_level=battery.level if battery is not None else None,
        saver=battery.saver if battery is not None else None,
        metered=read_network(root).metered,
        skin_c=choose_sensors(sensors).set_point_c,
        is_idle=_is_idle(read_text(root / "proc/loadavg"), num_cores),
    )


def _is_idle(load: str | None, num_cores: int) -> bool | None:
    """The system does not say on every Android."""
    try:
        return float((load or "").split()[0]) < IDLE_LOAD * num_cores
    except (IndexError, ValueError):
        return None
