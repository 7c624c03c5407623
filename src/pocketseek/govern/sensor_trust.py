"""Which temperature sensors can be believed now: each by its own history (device/plausible.py), and beside the chip.

A sensor should move when what heats it has changed: since its reading last changed, the work by a quarter of full speed
or the chip by 5 °C, both as means over SMOOTH_S. And a skin sensor that stands still for DEAF_S although the chip is
10 °C warmer or colder than when it last moved is not believed either, whatever steps it shows: 3 W into 180 J/K are
4 °C by then. (A battery may be far from the chip.)
When nothing is computed any more because of the heat, every sensor should move, the chip's too, until it has: a device
that crawls at the temperature of its surroundings rightly stands still afterwards.
One that has jumped or was stuck is not believed before it has moved again: a constant is no temperature, however long
it is told. Nor is a flicker between two values a movement (device/movement.py).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from pocketseek.device.movement import Movement
from pocketseek.device.plausible import Judgement, Plausible
from pocketseek.device.sensor_facts import Kind, SensorFacts, Temperature

SMOOTH_S = 30.0
WORK_CHANGE, CHIP_CHANGE_C = 0.25, 5.0
DEAF_S, DEAF_CHANGE_C = 240.0, 10.0
SAME_S = 0.01  # readings of the same moment
_SLOW_KINDS: tuple[Kind, ...] = ("skin", "battery")


@dataclass
class _Watched:
    """One sensor; work and chip_c as they were when it last moved."""

    kind: Kind
    plausible: Plausible
    movement: Movement
    reading_c: float | None = None
    num_moves: int = 0
    work: float = 0.0
    chip_c: float | None = None
    deaf_since_s: float | None = None
    doubted: tuple[Judgement, int] | None = None  # why, and how often it had moved by then
    owes_move: bool = False  # since the work was stopped
    told_s: float = -math.inf  # when it was read
    judgement: Judgement = "good"  # without the doubt


class SensorTrust:
    """`judge` is told every look, in order."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}
        self._work = 0.0
        self._chip_c: float | None = None
        self._time_s: float | None = None
        self._is_stopped = False

    def judge(
        self, facts: SensorFacts, work: float, time_s: float, *, is_stopped: bool = False
    ) -> dict[str, Judgement]:
        """Of every sensor that was ever seen, by source. work: the mean share of full speed since the last look.
        is_stopped: hardly anything is computed, because of the heat."""
        self._smooth(facts, work, time_s)
        readings = {one.source: one for one in facts.temperatures}
        for one in facts.temperatures:
            if one.source not in self._watched:
                self._watched[one.source] = _Watched(
                    one.kind, Plausible(one.kind), Movement(one.kind), work=self._work, chip_c=self._chip_c
                )
        began, self._is_stopped = is_stopped and not self._is_stopped, is_stopped
        return {
            source: self._look_at(watched, readings.get(source), time_s, began_stop=began)
            for source, watched in self._watched.items()
        }

    def doubt(self, sources: Collection[str]) -> None:
        """They did not move although they had to: "stuck" from the next look on, until they move."""
        for source in sources:
            one = self._watched[source]
            if one.reading_c is not None:
                one.doubted = "stuck", one.num_moves

    def kinds(self, sources: Collection[str]) -> set[Kind]:
        return {self._watched[source].kind for source in sources}

    def _smooth(self, facts: SensorFacts, work: float, time_s: float) -> None:
        seconds = 0.0 if self._time_s is None else max(0.0, time_s - self._time_s)
        self._time_s = time_s
        weight = 1 - math.exp(-seconds / SMOOTH_S)
        self._work += weight * (work - self._work)
        chips_c = [one.celsius for one in facts.temperatures if one.kind == "soc"]
        if chips_c:
            chip_c = max(chips_c)
            self._chip_c = chip_c if self._chip_c is None else self._chip_c + weight * (chip_c - self._chip_c)

    def _look_at(self, one: _Watched, reading: Temperature | None, time_s: float, *, began_stop: bool) -> Judgement:
        """What a program told is judged once, however often it is told again."""
        told_s = time_s if reading is None else time_s - reading.age_s
        is_new = reading is None or reading.age_s == 0.0 or told_s > one.told_s + SAME_S
        celsius = None if reading is None else reading.celsius
        has_moved = is_new and one.movement.see(celsius, time_s)
        one.owes_move = self._is_stopped and (began_stop or (one.owes_move and not has_moved))
        if is_new:
            one.told_s, one.reading_c = told_s, celsius
            if has_moved:
                self._note_move(one)
            one.judgement = self._judge(one, time_s)
        return _with_doubt(one, one.judgement)

    def _note_move(self, one: _Watched) -> None:
        one.num_moves += 1
        one.work, one.chip_c, one.deaf_since_s = self._work, self._chip_c, None

    def _judge(self, one: _Watched, time_s: float) -> Judgement:
        if one.kind not in _SLOW_KINDS:  # what heats a chip is inside of it; it may rest at a value by rights
            return one.plausible.judge(one.reading_c, time_s, should_move=one.owes_move)
        change_c = abs(self._chip_c - one.chip_c) if self._chip_c is not None and one.chip_c is not None else 0.0
        should_move = one.owes_move or abs(self._work - one.work) >= WORK_CHANGE or change_c >= CHIP_CHANGE_C
        judgement = one.plausible.judge(one.reading_c, time_s, should_move=should_move)
        if change_c < DEAF_CHANGE_C or one.kind != "skin":
            one.deaf_since_s = None
        elif one.deaf_since_s is None:
            one.deaf_since_s = time_s
        is_deaf = one.deaf_since_s is not None and time_s - one.deaf_since_s >= DEAF_S
        return "stuck" if judgement == "good" and is_deaf else judgement


def _with_doubt(one: _Watched, judgement: Judgement) -> Judgement:
    """The doubt about it before, if it has not moved since."""
    if judgement in ("jump", "stuck") and one.doubted is None and one.reading_c is not None:
        one.doubted = judgement, one.num_moves
    if judgement != "good" or one.doubted is None:
        return judgement
    why, num_moves = one.doubted
    if one.num_moves == num_moves:
        return why
    one.doubted = None
    return "good"
