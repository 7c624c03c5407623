"""Does the governor hold 45 °C where nothing but the battery can be read? On phones of tests/simulated_phone.py.

    python benchmarks/battery_heat.py [--only "60 s"]    a table of batteries, one JSON line; all phones, half an hour
    python benchmarks/battery_heat.py --few              the same on nine phones, usual ones and extremes
    python benchmarks/battery_heat.py --random 40 [--seed 7]    the same on phones and batteries drawn at random

Phones as in heat_loop.py: power, cooling and heat capacity at half, once and one and a half times, at 25 and 35 °C,
half an hour of full load from cold; those that full load takes above 45.5 °C. Their battery follows the skin by a lag,
and a program tells it every so many seconds (Termux:API); no other sensor. Some batteries are told up to a minute old
without a word of it ("held"), show whole degrees, or follow in two steps, which no observer here assumes.

Drawn at random: each figure between half and one and a half times, 20 to 38 °C, a lag of 20 to 150 s in one or two
steps, told every 5, 10 or 30 s, held for nothing or up to a minute. The governor that runs is the one on PYTHONPATH, so
two versions can be compared.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from simulated_phone import (
    FULL_PACE,
    Governed,
    PhoneParts,
    SimulatedPhone,
    ToldNowAndThen,
    best_constant,
    no_control,
    run,
)

AMBIENTS_C, SCALES, LIMIT_C, MINUTES = (25.0, 35.0), (0.5, 1.0, 1.5), 45.5, 30


@dataclass(frozen=True)
class Phone:
    """constant: speed of the highest constant pace that stays below the limit."""

    ambient_c: float
    parts: PhoneParts
    constant: float


@dataclass(frozen=True)
class Battery:
    lag_s: float
    told_every_s: float = 10.0
    resolution_c: float = 0.1
    held_s: float = 0.0
    lag_steps: int = 1

    def __str__(self) -> str:
        parts = [f"{self.lag_s:.0f} s late", f"told every {self.told_every_s:.0f} s"]
        parts += ["whole degrees"] if self.resolution_c == 1.0 else []
        parts += [f"held {self.held_s:.0f} s"] if self.held_s else []
        return ", ".join(parts + (["two steps"] if self.lag_steps == 2 else []))


@dataclass(frozen=True)
class Outcome:
    """above_s: how long above the limit. ratio: mean speed against the best constant pace."""

    hottest_c: float
    above_s: float
    ratio: float


FEW = (  # surroundings; power, resistance, capacity
    (25.0, 1.0, 1.0, 1.0),
    (35.0, 1.0, 1.0, 1.0),
    (25.0, 1.5, 1.5, 0.5),
    (35.0, 1.5, 1.5, 0.5),
    (35.0, 1.5, 1.5, 1.5),
    (25.0, 1.5, 0.5, 0.5),
    (35.0, 0.5, 1.0, 0.5),
    (35.0, 1.5, 0.5, 0.5),
    (25.0, 1.0, 1.0, 0.5),
)
BATTERIES = (
    *(Battery(lag_s, told_every_s) for told_every_s in (10.0, 30.0) for lag_s in (30.0, 60.0, 120.0)),
    *(Battery(lag_s, held_s=60.0) for lag_s in (60.0, 120.0)),
    *(Battery(60.0, held_s=held_s) for held_s in (120.0, 300.0)),
    *(Battery(lag_s, lag_steps=2) for lag_s in (60.0, 120.0)),
    *(Battery(lag_s, resolution_c=1.0) for lag_s in (60.0, 120.0)),
)


def phones_of_all_kinds(*, few: bool) -> list[tuple[float, PhoneParts]]:
    return [
        (ambient_c, PhoneParts().scaled(power=power, resistance=resistance, capacity=capacity))
        for ambient_c, power, resistance, capacity in (
            FEW if few else itertools.product(AMBIENTS_C, SCALES, SCALES, SCALES)
        )
    ]


def random_phone(draw: random.Random) -> tuple[float, PhoneParts]:
    power, resistance, capacity = (draw.uniform(0.5, 1.5) for _ in range(3))
    return draw.uniform(20.0, 38.0), PhoneParts().scaled(power=power, resistance=resistance, capacity=capacity)


def random_battery(draw: random.Random) -> Battery:
    told_every_s, held_s = draw.choice((5.0, 10.0, 30.0)), draw.choice((0.0, 20.0, 60.0))
    return Battery(draw.uniform(20.0, 150.0), told_every_s, 0.1, held_s, draw.choice((1, 2)))


def hot_ones(phones: Sequence[tuple[float, PhoneParts]]) -> list[Phone]:
    hot = []
    for ambient_c, parts in phones:
        phone = SimulatedPhone(parts, ambient_c)
        run(phone, no_control, MINUTES)
        if phone.hottest_c > LIMIT_C:
            hot.append(Phone(ambient_c, parts, best_constant(parts, ambient_c, LIMIT_C, FULL_PACE, MINUTES)))
    return hot


def governed(of: Phone, battery: Battery) -> Outcome:
    phone = SimulatedPhone(
        of.parts,
        of.ambient_c,
        resolution_c=battery.resolution_c,
        lag_s=battery.lag_s,
        lag_steps=battery.lag_steps,
    )
    told = ToldNowAndThen(phone, battery.told_every_s, "battery", held_s=battery.held_s, has_chip=False)
    curve = run(phone, Governed(phone, told), MINUTES)
    above_s = 10.0 * sum(skin_c > LIMIT_C for _, skin_c in curve)
    return Outcome(phone.hottest_c, above_s, phone.work_s / phone.time_s / of.constant)


def report(name: str, outcomes: Sequence[Outcome]) -> dict[str, object]:
    hottest_c, longest_s = max(one.hottest_c for one in outcomes), max(one.above_s for one in outcomes)
    num_above, ratios = sum(one.hottest_c > LIMIT_C for one in outcomes), [one.ratio for one in outcomes]
    counts = f"{num_above:3} of {len(outcomes)} {longest_s:8.0f}"
    print(f"{name:45} {hottest_c:7.2f}° {counts} s {min(ratios):12.2f} {statistics.mean(ratios):6.2f}", flush=True)
    return {
        "battery": name,
        "hottest_c": round(hottest_c, 2),
        "num_above_limit": num_above,
        "longest_above_s": longest_s,
        "least_ratio": round(min(ratios), 3),
        "mean_ratio": round(statistics.mean(ratios), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="batteries whose name has this in it")
    parser.add_argument("--few", action="store_true", help="nine phones")
    parser.add_argument("--random", type=int, default=0, help="so many hot phones drawn at random")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    print(f"{'battery':45} {'hottest':>8} {'above 45.5 °C':>9} {'longest':>9} {'ratio: least':>12} {'mean':>6}")
    if args.random:
        draw = random.Random(args.seed)
        hot: list[Phone] = []
        while len(hot) < args.random:
            hot += hot_ones([random_phone(draw)])
        rows = [report(f"at random, seed {args.seed}", [governed(phone, random_battery(draw)) for phone in hot])]
    else:
        hot = hot_ones(phones_of_all_kinds(few=args.few))
        chosen = [battery for battery in BATTERIES if args.only in str(battery)]
        rows = [report(str(battery), [governed(phone, battery) for phone in hot]) for battery in chosen]
    print(json.dumps({"minutes": MINUTES, "num_phones": len(hot), "rows": rows}))


if __name__ == "__main__":
    main()
