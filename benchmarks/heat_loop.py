"""Does the governor hold 45 °C, and what does it cost? On the simulated phone of tests/simulated_phone.py.

    python benchmarks/heat_loop.py [--chart docs/images/heat.svg]    simulated minutes: a table, one JSON line
    python benchmarks/heat_loop.py --lag 60 --told-every 10 --battery     the same where only Termux:API can tell
    python benchmarks/heat_loop.py --held-out 40 --seed 2026      phones drawn at random, see held_out_phones.py
    python benchmarks/heat_loop.py --engine [--minutes 10]           the real engine in real time (hardware in the loop)

Simulated: 30 minutes of full load at 25 and 35 °C, with each of power, cooling and heat capacity at half, once and one
and a half times of what they are. Policies: the governor with pauses and threads, the same with clocks that can be
capped, on and off (45/43 °C: pause, or the lowest clock), no control, and the best constant pace of that very phone,
which nobody can know beforehand; and the governor where the number of threads cannot be changed (ONNX Runtime).

With --engine the model answers one request after the other. The phone's sensors are simulated and warmed by the
engine's real computing seconds; governor, worker and rests are the product's. Then the same requests are answered with
nobody watching, eight at a time, and the texts compared byte by byte. The phone has half the usual heat capacity there,
so that ten minutes are enough to get warm and to hold it.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from heat_chart import Line, Panel, render_chart
from held_out_phones import print_held_out, try_held_out
from simulated_phone import (
    FULL_PACE,
    Governed,
    OnOff,
    Pace,
    PhoneParts,
    Policy,
    SimulatedPhone,
    ToldNowAndThen,
    best_constant,
    best_constant_of_all,
    best_constant_pace,
    no_control,
    run,
)

from pocketseek.device.sensor_facts import Kind, SensorFacts
from pocketseek.govern.thermal_governor import ThermalGovernor
from pocketseek.runtime.engine import Engine
from pocketseek.types import SamplingParams

AMBIENTS_C, SCALES, LIMIT_C, SET_POINT_C = (25.0, 35.0), (0.5, 1.0, 1.5), 45.5, 45.0
PAUSE, SLOWEST = Pace(duty=0.0), Pace(frequency=0.3)
PROMPTS = ("Tell me about the sea.", "Why is the sky blue?", "Write a story about a fox.", "How do I bake bread?")


@dataclass(frozen=True)
class Outcome:
    """Of one policy on one phone. speed: mean, 1 is full speed."""

    policy: str
    ambient_c: float
    power: float
    resistance: float
    capacity: float
    hottest_c: float
    speed: float


@dataclass(frozen=True)
class Sensor:
    """Of the skin."""

    resolution_c: float
    lag_s: float
    rounds: bool
    told_every_s: float = 0.0
    kind: Kind = "skin"

    def phone(self, parts: PhoneParts, ambient_c: float) -> SimulatedPhone:
        return SimulatedPhone(parts, ambient_c, resolution_c=self.resolution_c, lag_s=self.lag_s, rounds=self.rounds)

    def facts(self, phone: SimulatedPhone) -> Callable[[], SensorFacts]:
        return ToldNowAndThen(phone, self.told_every_s, self.kind)


POLICIES: dict[str, Callable[[SimulatedPhone, Sensor], Policy]] = {
    "governed": lambda phone, sensor: Governed(phone, sensor.facts(phone)),
    "governed, clocks": lambda phone, sensor: Governed(phone, sensor.facts(phone), caps_clock=True),
    "governed, threads fixed": lambda phone, sensor: Governed(
        phone, sensor.facts(phone), changes_threads=False, obeys_threads=False
    ),
    "on/off (pause)": lambda *_: OnOff(PAUSE),
    "on/off (lowest clock)": lambda *_: OnOff(SLOWEST),
    "no control": lambda *_: no_control,
}


def simulate(minutes: float, sensor: Sensor) -> list[Outcome]:
    outcomes = []
    for ambient_c, power, resistance, capacity in itertools.product(AMBIENTS_C, SCALES, SCALES, SCALES):
        parts = PhoneParts().scaled(power=power, resistance=resistance, capacity=capacity)
        for name, policy in POLICIES.items():
            phone = sensor.phone(parts, ambient_c)
            run(phone, policy(phone, sensor), minutes)
            speed = phone.work_s / phone.time_s
            outcomes.append(Outcome(name, ambient_c, power, resistance, capacity, phone.hottest_c, speed))
        speed = best_constant(parts, ambient_c, LIMIT_C, FULL_PACE, minutes)
        outcomes.append(Outcome("constant", ambient_c, power, resistance, capacity, LIMIT_C, speed))
    return outcomes


def summary(outcomes: list[Outcome], minutes: float) -> dict[str, object]:
    """Over the phones that full load takes above the limit."""
    constant = {_phone(one): one.speed for one in outcomes if one.policy == "constant"}
    hot = {_phone(one) for one in outcomes if one.policy == "no control" and one.hottest_c > LIMIT_C}
    rows, usual = dict[str, object](), dict[str, object]()
    print(f"{len(hot)} of {len(constant)} phones get too warm at full load; of those, over {minutes:g} minutes:")
    print(f"{'policy':24} {'hottest':>8} {'above 45.5':>10} {'speed / best constant: least':>28} {'mean':>6}")
    for name in POLICIES:
        mine = [one for one in outcomes if one.policy == name and _phone(one) in hot]
        hottest_c = max(one.hottest_c for one in mine)
        num_above = sum(one.hottest_c > LIMIT_C for one in mine)
        ratios = [one.speed / constant[_phone(one)] for one in mine]
        print(f"{name:24} {hottest_c:7.2f}° {num_above:10} {min(ratios):28.2f} {statistics.mean(ratios):6.2f}")
        rows[name] = {
            "hottest_c": round(hottest_c, 2),
            "num_above_limit": num_above,
            "least_ratio": round(min(ratios), 3),
            "mean_ratio": round(statistics.mean(ratios), 3),
        }
    for ambient_c in AMBIENTS_C:
        best = best_constant_of_all(PhoneParts(), ambient_c, LIMIT_C, minutes)
        mine = {one.policy: round(one.speed, 3) for one in outcomes if _phone(one) == (ambient_c, 1.0, 1.0, 1.0)}
        usual[f"{ambient_c:g}"] = {**mine, "best constant pace, clock and threads": round(best, 3)}
        print(
            f"the usual phone at {ambient_c:g} °C:", ", ".join(f"{k} {v}" for k, v in usual[f"{ambient_c:g}"].items())
        )
    return {"minutes": minutes, "num_phones": len(constant), "num_hot": len(hot), "policies": rows, "usual": usual}


def _phone(one: Outcome) -> tuple[float, float, float, float]:
    return one.ambient_c, one.power, one.resistance, one.capacity


def draw(path: Path, minutes: float) -> None:
    """The usual phone."""
    shown = {
        "no control": "#c0392b",
        "on/off (pause)": "#e08e0b",
        "best constant pace": "#3d8b40",
        "governed": "#1f6fb2",
    }
    panels = []
    for ambient_c in AMBIENTS_C:
        lines = []
        policies = POLICIES | {"best constant pace": _best_constant_policy(ambient_c, minutes)}
        for name, colour in shown.items():
            phone = SimulatedPhone(ambient_c=ambient_c)
            curve = run(phone, policies[name](phone, Sensor(0.1, 5.0, False)), minutes)
            label = f"{name}: {phone.hottest_c:.1f} °C at most, speed {phone.work_s / phone.time_s:.2f}"
            lines.append(Line(label, colour, [(time_s / 60, skin_c) for time_s, skin_c in curve]))
        panels.append(Panel(f"Skin of a simulated phone under full load, surroundings {ambient_c:g} °C", lines))
    title = "Skin temperature of a simulated phone: no control, on and off, the best constant pace, governed"
    path.write_text(render_chart(title, panels, limit_c=SET_POINT_C), encoding="utf-8")


def _best_constant_policy(ambient_c: float, minutes: float) -> Callable[[SimulatedPhone, Sensor], Policy]:
    """Of the usual phone."""
    pace = best_constant_pace(PhoneParts(), ambient_c, LIMIT_C, minutes=minutes)
    return lambda *_: lambda _: pace


class WarmedByEngine:
    """Sensors of a simulated phone that lives in real time and is warmed by the engine's computing seconds."""

    def __init__(self, phone: SimulatedPhone, busy_s: Callable[[], float], pace: Callable[[], Pace]) -> None:
        self._phone = phone
        self._busy_s = busy_s
        self._pace = pace
        self._before = time.monotonic(), busy_s()
        self.curve: list[tuple[float, float]] = []

    def read(self) -> SensorFacts:
        now_s, busy_s = time.monotonic(), self._busy_s()
        (before_s, busy_before_s), self._before = self._before, (now_s, busy_s)
        seconds = max(now_s - before_s, 1e-6)
        self._phone.advance(seconds, min(1.0, (busy_s - busy_before_s) / seconds), self._pace())
        self.curve.append((self._phone.time_s / 60, self._phone.skin_c))
        return self._phone.facts()


def with_engine(model: str, minutes: float, ambient_c: float, max_tokens: int) -> dict[str, object]:
    from pocketseek.runtime.load import load

    phone = SimulatedPhone(PhoneParts().scaled(capacity=0.5), ambient_c)
    governed: list[str] = []
    with closing(load(model, temperature_limit_c=0, prefix_store_bytes=0)) as engine:
        thermal, warmed = _watched(engine, phone)
        end_s = time.monotonic() + 60 * minutes
        begun_s = time.monotonic()
        while time.monotonic() < end_s:
            governed.append(_answer(engine, len(governed), max_tokens))
        statistics_now, seconds = engine.statistics(), time.monotonic() - begun_s
        status = thermal.status
    with closing(load(model, temperature_limit_c=0, prefix_store_bytes=0)) as engine:
        begun_s = time.monotonic()
        free = _answers_together(engine, len(governed), max_tokens)
        free_s = time.monotonic() - begun_s
    late_c = [skin_c for at, skin_c in warmed.curve if at > warmed.curve[-1][0] / 2]
    assert status is not None
    return {
        "minutes": round(seconds / 60, 2),
        "ambient_c": ambient_c,
        "num_answers": len(governed),
        "num_tokens": statistics_now.load.num_tokens,
        "hottest_c": round(phone.hottest_c, 2),
        "second_half_c": [round(min(late_c), 2), round(max(late_c), 2)],
        "state": status.state,
        "share": round(status.share, 3),
        "rested_s": round(statistics_now.rested_s, 1),
        "computed_s": round(statistics_now.executor_s + statistics_now.outside_s, 1),
        "ungoverned_s": round(free_s, 1),
        "texts_identical": governed == free,
        "num_different": sum(a != b for a, b in zip(governed, free, strict=True)),
        "num_bytes": sum(len(text.encode()) for text in governed),
        "sha256": hashlib.sha256("\0".join(governed).encode()).hexdigest(),
    }


def _watched(engine: Engine, phone: SimulatedPhone) -> tuple[ThermalGovernor, WarmedByEngine]:
    """Put a thermal governor with the phone's sensors between the engine's worker and its governor."""
    worker = engine._worker
    inner = worker._governor
    num_threads = inner.limits().num_threads

    def pace() -> Pace:
        status = thermal.status
        share = 1.0 if status is None else status.threads / num_threads
        return Pace(threads=max(1, round(4 * share)))

    warmed = WarmedByEngine(phone, engine.busy_source(), pace)
    thermal = ThermalGovernor(inner, warmed.read)
    thermal.busy_s = engine.busy_source()
    worker._governor = engine._governor = thermal
    return thermal, warmed


def _answer(engine: Engine, number: int, max_tokens: int) -> str:
    sampling = SamplingParams(temperature=0.8, seed=number)
    return engine.generate(PROMPTS[number % len(PROMPTS)], max_tokens=max_tokens, sampling=sampling).text


def _answers_together(engine: Engine, count: int, max_tokens: int) -> list[str]:
    texts: list[str] = []
    for first in range(0, count, 8):
        numbers = range(first, min(first + 8, count))
        streams = [
            engine.stream_text(
                PROMPTS[number % len(PROMPTS)],
                max_tokens=max_tokens,
                sampling=SamplingParams(temperature=0.8, seed=number),
            )
            for number in numbers
        ]
        texts += ["".join(event.text for event in stream) for stream in streams]
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", action="store_true", help="the real engine in real time")
    parser.add_argument("--minutes", type=float, default=None, help="30 simulated, or 10 with --engine")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--ambient", type=float, default=25.0, help="with --engine")
    parser.add_argument("--max-tokens", type=int, default=256, help="with --engine: of an answer")
    parser.add_argument("--chart", type=Path, default=None, help="write the chart here")
    parser.add_argument("--resolution", type=float, default=0.1, help="simulated: of the skin sensor, °C")
    parser.add_argument("--lag", type=float, default=5.0, help="simulated: of the skin sensor, seconds")
    parser.add_argument("--rounds", action="store_true", help="simulated: it rounds instead of cutting off")
    parser.add_argument("--battery", action="store_true", help="simulated: the governor takes it for the battery's")
    parser.add_argument(
        "--told-every", type=float, default=0.0, help="simulated: a program tells it so seldom, in seconds; 0: a file"
    )
    parser.add_argument("--held-out", type=int, default=None, metavar="N", help="so many phones drawn at random")
    parser.add_argument("--seed", type=int, default=2026, help="with --held-out")
    parser.add_argument("--details", action="store_true", help="every phone in the JSON line")
    args = parser.parse_args()
    if args.engine:
        figures = with_engine(args.model, args.minutes or 10.0, args.ambient, args.max_tokens)
        for name, value in figures.items():
            print(f"{name:20} {value}")
        print(json.dumps(figures))
        return
    minutes = args.minutes or 30.0
    if args.held_out is not None:
        tried = try_held_out(args.held_out, args.seed, LIMIT_C, minutes)
        print(json.dumps({"seed": args.seed, "minutes": minutes, **print_held_out(tried, LIMIT_C)}))
        return
    if args.chart is not None:
        draw(args.chart, minutes)
    sensor = Sensor(args.resolution, args.lag, args.rounds, args.told_every, "battery" if args.battery else "skin")
    outcomes = simulate(minutes, sensor)
    figures = summary(outcomes, minutes)
    print(json.dumps({**figures, **({"phones": [asdict(one) for one in outcomes]} if args.details else {})}))


if __name__ == "__main__":
    main()
