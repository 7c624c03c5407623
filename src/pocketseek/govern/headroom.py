"""Android's thermal headroom as a temperature, where no sensor near the skin can be read.

1.0 is where severe throttling begins and 0.0 is 30 °C below (AOSP, ThermalManagerService), so 0.9 is taken to be at the
set point. It may leap, being a forecast.
"""

from __future__ import annotations

import dataclasses

from pocketseek.device.sensor_facts import SensorFacts, Temperature

HEADROOM = "thermal headroom"
HEADROOM_AT_SET_POINT, HEADROOM_RANGE_C = 0.9, 30.0


def with_headroom(facts: SensorFacts, set_point_c: float) -> SensorFacts:
    """The facts, with the headroom among the temperatures if Android tells it."""
    if facts.thermal_headroom is None:
        return facts
    away_c = HEADROOM_RANGE_C * (HEADROOM_AT_SET_POINT - facts.thermal_headroom)
    headroom = Temperature(HEADROOM, "other", set_point_c - away_c, HEADROOM, facts.thermal_headroom_age_s)
    return dataclasses.replace(facts, temperatures=(*facts.temperatures, headroom))
