"""`pocketseek device --sensors`: what the sensors say now, once or again every second (--watch)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from pocketseek.cli import messages
from pocketseek.cli.console import note, print_facts, print_json, watch_facts
from pocketseek.cli.device import sensors_messages as says
from pocketseek.cli.messages import Message, Words
from pocketseek.device.sensors import Battery, SensorFacts, Sensors, Temperature
from pocketseek.device.system import has_termux_api
from pocketseek.errors import UsageError
from pocketseek.govern.choose_sensors import SensorChoice, SetPointKind, choose_sensors
from pocketseek.govern.headroom import with_headroom

_REASONS: dict[SetPointKind, Message] = {
    "skin": says.BY_SKIN,
    "quiet": says.BY_QUIET,
    "battery": says.BY_BATTERY,
    "board": says.BY_BOARD,
    "headroom": says.BY_HEADROOM,
    "none": says.BY_NONE,
}
_MOST = 6
Rows = list[tuple[str, str]]


def show_sensors(
    language: str,
    *,
    json: bool = False,
    watch: bool = False,
    sensors: Sensors | None = None,
    root: Path = Path("/"),
) -> None:
    """root: where Termux is looked for. Raises UsageError if asked for one JSON object again and again."""
    if json and watch:
        raise UsageError("--watch shows a table again and again and --json prints one object; choose one of them")
    sensors = Sensors() if sensors is None else sensors
    facts, words = sensors.settle(), Words(language)
    if json:
        print_json(_as_json(facts))
        return
    if _choice(facts).kind == "none" and has_termux_api(root) is False:
        note(words(says.TERMUX_API))
    if watch:
        watch_facts(lambda: sensor_rows(sensors.read(), words))
    else:
        print_facts(sensor_rows(facts, words))


def sensor_rows(facts: SensorFacts, words: Words) -> Rows:
    """What is not known has no row."""
    choice = _choice(facts)
    rows: list[tuple[Message, str | None]] = [
        (says.SET_POINT, _set_point(choice, words)),
        (says.SKIN, _celsius([t for t in facts.temperatures if t.kind == "skin"])),
        (says.CHIP, _chip(choice, words)),
        (says.BATTERY, _battery(facts, words)),
        (says.OTHER, _celsius([t for t in facts.temperatures if t.kind == "other"])),
        (says.STATUS, _status(facts, words)),
        (says.FREQUENCIES, _frequencies(facts.frequencies_hz, words)),
        (says.PRESSURE, _filled(words, says.PRESSURE_VALUE, share=facts.cpu_pressure)),
        (says.POWER, _filled(words, says.POWER_VALUE, watts=facts.package_power_w)),
        (says.COOLING, _cooling(facts, words)),
        (says.LEFT_OUT, _some(facts.complaints)),
    ]
    return [(words(label), value) for label, value in rows if value is not None]


def _choice(facts: SensorFacts) -> SensorChoice:
    """As the governor has it."""
    return choose_sensors(with_headroom(facts))


def _as_json(facts: SensorFacts) -> dict[str, object]:
    choice = _choice(facts)
    set_point = {
        "kind": choice.kind,
        "celsius": choice.set_point_c,
        "sources": [temperature.source for temperature in choice.set_point],
        "soc_celsius": choice.soc_c,
        "reason": choice.reason,
    }
    return dataclasses.asdict(facts) | {"set_point": set_point}


def _set_point(choice: SensorChoice, words: Words) -> str:
    reason = words(_REASONS[choice.kind])
    if choice.set_point_c is None:
        return reason if choice.soc else words(says.NO_SENSORS)
    names = ", ".join(temperature.name for temperature in choice.set_point)
    return words(says.SET_POINT_VALUE, celsius=choice.set_point_c, names=names, reason=reason)


def _celsius(temperatures: Sequence[Temperature]) -> str | None:
    """The hottest first."""
    ordered = sorted(temperatures, key=lambda temperature: -temperature.celsius)
    return _some([f"{temperature.name} {temperature.celsius:.1f} °C" for temperature in ordered])


def _some(texts: Sequence[str]) -> str | None:
    """A phone has dozens of zones: all of them are in the JSON."""
    return ", ".join([*texts[:_MOST], *(["..."] if len(texts) > _MOST else [])]) or None


def _chip(choice: SensorChoice, words: Words) -> str | None:
    if not choice.soc:
        return None
    hottest = max(choice.soc, key=lambda temperature: temperature.celsius)
    return words(says.CHIP_VALUE, celsius=hottest.celsius, name=hottest.name, num=len(choice.soc))


def _battery(facts: SensorFacts, words: Words) -> str | None:
    temperatures = [f"{t.celsius:.1f} °C" for t in facts.temperatures if t.kind == "battery"]
    parts = [*dict.fromkeys(temperatures), *(_battery_parts(facts.battery, words) if facts.battery else ())]
    return ", ".join(parts) or None


def _battery_parts(battery: Battery, words: Words) -> list[str]:
    parts = [
        _filled(words, says.LEVEL, level=battery.level),
        None if battery.charging is None else words(says.CHARGED if battery.charging else says.ON_BATTERY),
        _power(battery.power_w, words),
        words(says.SAVER) if battery.saver else None,
    ]
    return [part for part in parts if part is not None]


def _power(power_w: float | None, words: Words) -> str | None:
    if power_w is None:
        return None
    return words(says.FED if power_w < 0 else says.DRAWN, watts=abs(power_w))


def _status(facts: SensorFacts, words: Words) -> str | None:
    if facts.thermal_status is None:
        return None
    headroom = words(messages.UNKNOWN) if facts.thermal_headroom is None else f"{facts.thermal_headroom:.0%}"
    return words(says.STATUS_VALUE, status=facts.thermal_status, headroom=headroom)


def _frequencies(frequencies_hz: Sequence[tuple[int, float]], words: Words) -> str | None:
    """Neighbours at the same speed together: "0-3: 1.8 GHz, 4-7: 2.4 GHz"."""
    groups = [[core for core, _ in group] for _, group in groupby(frequencies_hz, key=lambda pair: pair[1])]
    speeds = dict(frequencies_hz)
    names = {cores[0]: f"{cores[0]}-{cores[-1]}" if len(cores) > 1 else f"{cores[0]}" for cores in groups}
    shown = [words(says.FREQUENCY, cores=name, ghz=speeds[first] / 1e9) for first, name in names.items()]
    return ", ".join(shown) or None


def _cooling(facts: SensorFacts, words: Words) -> str | None:
    if not facts.cooling:
        return None
    active = [f"{device.type} {device.step}/{device.max_step}" for device in facts.cooling if device.step > 0]
    return ", ".join(active) or words(says.NOTHING)


def _filled(words: Words, message: Message, **values: float | None) -> str | None:
    """The message, unless a value of it is unknown."""
    return None if None in values.values() else words(message, **values)
