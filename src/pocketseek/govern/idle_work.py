"""Whether work that nobody waits for, and that can wait for weeks, may be done now. Pure.

On mains or while charging, or with a battery that is more than half full and no saver on; and while nothing is warm:
no skin or battery at WARM_C or above, and Android at its lowest thermal status. What cannot be read counts as fine
where there is no battery at all (a PC), and as not fine where there is one that tells nothing.
"""

from __future__ import annotations

from pocketseek.device.sensor_facts import Battery, SensorFacts

LEAST_LEVEL = 0.5
WARM_C = 38.0


def idle_work_allowed(facts: SensorFacts) -> bool:
    return _has_power(facts.battery) and _is_cool(facts)


def _has_power(battery: Battery | None) -> bool:
    if battery is None or battery.charging:
        return True
    return not battery.saver and battery.level is not None and battery.level > LEAST_LEVEL


def _is_cool(facts: SensorFacts) -> bool:
    felt = [one.celsius for one in facts.temperatures if one.kind in ("skin", "battery")]
    return not facts.thermal_status and all(celsius < WARM_C for celsius in felt)
