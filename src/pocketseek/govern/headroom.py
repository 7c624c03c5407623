"""Android's thermal headroom as a temperature, where no sensor near the skin can be read.

1.0 is where severe throttling begins and 0.0 is 30 °C below (AOSP, ThermalManagerService), so 0.9 is taken to be 45 °C,
whatever the set point: one of 40 °C is at 0.73. How warm the skin is at 1.0 every maker decides, and none says.
"""

from __future__ import annotations

import dataclasses

from pocketseek.device.sensor_facts import SensorFacts, Temperature

HEADROOM = "thermal headroom"
HEADROOM_AT_45_C, HEADROOM_RANGE_C = 0.9, 30.0


def with_headroom(facts: SensorFacts) -> SensorFacts:
    """The facts, with the headroom among the temperatures if Android tells it."""
    if facts.thermal_headroom is None:
        return facts
    celsius = 45.0 + HEADROOM_RANGE_C * (facts.thermal_headroom - HEADROOM_AT_45_C)
    headroom = Temperature(HEADROOM, "other", celsius, HEADROOM, facts.thermal_headroom_age_s)
    return dataclasses.replace(facts, temperatures=(*facts.temperatures, headroom))
