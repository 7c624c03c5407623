"""Phones that had no part in choosing the governor's figures: drawn at random, each told by five skin sensors.

Surroundings of 20 to 38 °C; power, cooling and heat capacity each at random between half and one and a half times of
the usual phone's; only phones that full load takes above the limit. The same seed gives the same phones.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from simulated_phone import FULL_PACE, Governed, PhoneParts, SimulatedPhone, best_constant, no_control, run

AMBIENTS_C, SCALES = (20.0, 38.0), (0.5, 1.5)
SENSORS = (  # resolution in °C, lag in s, whether it rounds
    (0.1, 5.0, False),
    (0.1, 15.0, False),
    (1.0, 5.0, False),
    (1.0, 10.0, False),
    (1.0, 10.0, True),
)


@dataclass(frozen=True)
class HeldOut:
    """Of one phone told by one sensor. ratio: mean speed against the best constant pace of that phone."""

    phone: int
    resolution_c: float
    lag_s: float
    rounds: bool
    hottest_c: float
    ratio: float


def draw_phones(count: int, seed: int, limit_c: float, minutes: float) -> list[tuple[PhoneParts, float]]:
    """(parts, ambient_c) of so many phones that get too warm at full load."""
    chance = random.Random(seed)
    phones: list[tuple[PhoneParts, float]] = []
    while len(phones) < count:
        ambient_c = chance.uniform(*AMBIENTS_C)
        power, resistance, capacity = (chance.uniform(*SCALES) for _ in range(3))
        parts = PhoneParts().scaled(power=power, resistance=resistance, capacity=capacity)
        phone = SimulatedPhone(parts, ambient_c)
        run(phone, no_control, minutes)
        if phone.hottest_c > limit_c:
            phones.append((parts, ambient_c))
    return phones


def try_held_out(count: int, seed: int, limit_c: float, minutes: float) -> list[HeldOut]:
    """The governor with pauses and threads."""
    tried: list[HeldOut] = []
    for number, (parts, ambient_c) in enumerate(draw_phones(count, seed, limit_c, minutes)):
        constant = best_constant(parts, ambient_c, limit_c, FULL_PACE, minutes)
        for resolution_c, lag_s, rounds in SENSORS:
            phone = SimulatedPhone(parts, ambient_c, resolution_c=resolution_c, lag_s=lag_s, rounds=rounds)
            run(phone, Governed(phone, phone.facts), minutes)
            ratio = phone.work_s / phone.time_s / constant
            tried.append(HeldOut(number, resolution_c, lag_s, rounds, phone.hottest_c, ratio))
    return tried


def print_held_out(tried: list[HeldOut], limit_c: float) -> dict[str, object]:
    """A row for each sensor; the same for the JSON line."""
    rows: list[dict[str, object]] = []
    print(f"{'skin sensor':34} {'hottest':>8} {'above':>6} {'speed / best constant: least':>28} {'mean':>6}")
    for resolution_c, lag_s, rounds in SENSORS:
        mine = [one for one in tried if (one.resolution_c, one.lag_s, one.rounds) == (resolution_c, lag_s, rounds)]
        hottest_c, ratios = max(one.hottest_c for one in mine), [one.ratio for one in mine]
        above = sum(one.hottest_c > limit_c for one in mine)
        name = f"{resolution_c:g} °C, {lag_s:g} s late{', rounded' if rounds else ''}"
        mean = sum(ratios) / len(ratios)
        print(f"{name:34} {hottest_c:7.2f}° {above:6} {min(ratios):28.2f} {mean:6.2f}")
        rows.append(
            {
                "sensor": name,
                "hottest_c": round(hottest_c, 2),
                "num_above_limit": above,
                "least_ratio": round(min(ratios), 3),
                "mean_ratio": round(mean, 3),
            }
        )
    return {"num_phones": len({one.phone for one in tried}), "limit_c": limit_c, "sensors": rows}
