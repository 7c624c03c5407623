"""What the battery allows: how much of the time may be spent computing, and how long background work is gathered.

| situation | somebody waits | background | background is gathered for |
| --- | --- | --- | --- |
| on mains or charging, or nothing is known | 1 | 1 | 1 s |
| on battery | 1 | 1 | 2 s |
| battery below 20 %, or the battery saver is on | 0.7 | 0.5 | 5 s |
| battery below 10 % | 0.5 | 0.25 | 10 s |
| the screen is off (`POCKETSEEK_POWER=screen-off`) | as above | at most 0.5 | at least 15 s |

Every wake-up of a phone costs about as much as a second of idling, so what can wait is run together. The shares are
chosen, not measured. On mains the level does not matter.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from pocketseek.device.sensor_facts import Battery
from pocketseek.types import Limits

PowerSituation = Literal["mains", "battery", "saver", "low", "very low"]
LOW_LEVEL, VERY_LOW_LEVEL = 0.2, 0.1
SCREEN_OFF_DUTY, SCREEN_OFF_COALESCE_S = 0.5, 15.0


@dataclass(frozen=True)
class PowerPolicy:
    situation: PowerSituation
    duty: float
    background_duty: float
    coalesce_s: float


_POLICIES = {
    "mains": PowerPolicy("mains", 1.0, 1.0, 1.0),
    "battery": PowerPolicy("battery", 1.0, 1.0, 2.0),
    "saver": PowerPolicy("saver", 0.7, 0.5, 5.0),
    "low": PowerPolicy("low", 0.7, 0.5, 5.0),
    "very low": PowerPolicy("very low", 0.5, 0.25, 10.0),
}


def power_policy(battery: Battery | None, *, screen_off: bool = False) -> PowerPolicy:
    policy = _POLICIES[_situation(battery)]
    if not screen_off:
        return policy
    return dataclasses.replace(
        policy,
        background_duty=min(policy.background_duty, SCREEN_OFF_DUTY),
        coalesce_s=max(policy.coalesce_s, SCREEN_OFF_COALESCE_S),
    )


def with_power(limits: Limits, policy: PowerPolicy) -> Limits:
    """What the policy allows of these limits."""
    return dataclasses.replace(
        limits,
        coalesce_s=max(limits.coalesce_s, policy.coalesce_s),
        duty=min(limits.duty, policy.duty),
        background_duty=min(limits.background_duty, policy.background_duty / policy.duty),
    )


def _situation(battery: Battery | None) -> PowerSituation:
    if battery is None or battery.charging:
        return "mains"
    if battery.level is not None and battery.level < VERY_LOW_LEVEL:
        return "very low"
    if battery.level is not None and battery.level < LOW_LEVEL:
        return "low"
    if battery.saver:
        return "saver"
    return "battery" if battery.charging is not None else "mains"
