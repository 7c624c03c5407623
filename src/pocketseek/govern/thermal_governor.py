"""Another governor's limits, with as much taken off them as heat and battery ask for. See docs/govern.md.

    sensors ──> SensorTrust ──> choose_sensors ──> ThermalControl ──share──> actuate ──> Limits(duty, threads, ...)
    busy seconds of the worker ──────────────────────^                       PowerPolicy ──^

Once a second at most the sensors are read; between two looks the answer stays the same object while the inner one does.
Who is interactive is slowed down last: while the pace is held back background waits as long as somebody is served who
is waited for, fewer sequences are admitted, and only then is it the pace that counts.

Without a temperature Android's thermal headroom stands for the skin (headroom.py).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from time import monotonic

from pocketseek.device.sensor_facts import SensorFacts
from pocketseek.govern.actuators import Actuation, actuate, heat_of, sequences_within
from pocketseek.govern.choose_sensors import SensorChoice, SetPointKind, choose_sensors
from pocketseek.govern.governor import Governor
from pocketseek.govern.headroom import HEADROOM, with_headroom
from pocketseek.govern.power_policy import PowerSituation, power_policy, with_power
from pocketseek.govern.sensor_probe import SensorProbe
from pocketseek.govern.sensor_trust import SAME_S, SensorTrust
from pocketseek.govern.thermal_control import (
    CHIP_LIMIT_C,
    SET_POINT_C,
    ThermalControl,
    ThermalDecision,
    ThermalReason,
    ThermalState,
)
from pocketseek.types import Limits

LOOK_S = 1.0
HOT_COALESCE_S = 4.0


@dataclass(frozen=True)
class ThermalStatus:
    """What was decided at the last look, for statistics and messages.

    share: of the heat of full speed; duty, threads and frequency_share are what it became. skin_c: as estimated from
    the sensor of that kind ("headroom": Android's word instead of one). distrusted: sources of sensors that are not
    believed, with the reason. num_falls: how often the pace fell from full speed. holds_limit: False if nothing that
    stands for the skin has been found although everybody has answered who may tell it; only where one is expected.
    """

    state: ThermalState
    reason: ThermalReason
    share: float
    duty: float
    threads: int
    frequency_share: float
    skin_c: float | None
    chip_c: float | None
    set_point_c: float
    chip_limit_c: float
    sensor: SetPointKind | None
    power: PowerSituation
    distrusted: tuple[tuple[str, str], ...] = ()
    num_falls: int = 0
    holds_limit: bool = True

    def describe(self) -> str:
        """One sentence for people."""
        skin = "no temperature" if self.skin_c is None else f"{self.skin_c:.1f} °C"
        chip = "" if self.chip_c is None else f", chip {self.chip_c:.0f} °C"
        doubts = "".join(f"; {source} is not believed ({why})" for source, why in self.distrusted)
        test = "; looking whether the sensor still moves" if self.reason == "sensor test" else ""
        limit = f"limit {self.set_point_c:g} °C" + ("" if self.holds_limit else ", which is without effect")
        return f"{self.state}: {100 * self.share:.0f} % of full heat, {skin} ({limit}){chip}{doubts}{test}"


class ThermalGovernor:
    """One thread asks; `status` may be read from any. Set `busy_s` to what counts the worker's computing seconds."""

    def __init__(
        self,
        inner: Governor,
        sensors: Callable[[], SensorFacts],
        *,
        set_point_c: float = SET_POINT_C,
        chip_limit_c: float = CHIP_LIMIT_C,
        caps_clock: bool = False,
        clock_acts: Callable[[], bool] = lambda: True,
        changes_threads: bool = True,
        cool_cores: tuple[int, ...] = (),
        screen_off: bool = False,
        expects_skin: bool = False,
        announce: Callable[[ThermalStatus], None] = lambda status: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """caps_clock: whether frequency_share can have an effect; clock_acts: whether it is not refused now.
        changes_threads: whether fewer num_threads have an effect; what has none is not counted on. cool_cores: where to
        compute with fewer threads than usual, if there are enough of them. expects_skin: whether it is worth a word
        that nothing stands for the skin. announce: called when the state changes, or whether the limit is held."""
        self.busy_s: Callable[[], float] = lambda: 0.0
        self._inner = inner
        self._sensors = sensors
        self._control = ThermalControl(set_point_c, chip_limit_c)
        self._trust = SensorTrust()
        self._probe = SensorProbe()
        self._caps_clock = caps_clock
        self._clock_acts = clock_acts
        self._changes_threads = changes_threads
        self._cool_cores = cool_cores
        self._screen_off = screen_off
        self._expects_skin = expects_skin
        self._announce = announce
        self._clock = clock
        self._looked_s: float | None = None
        self._facts: SensorFacts | None = None
        self._busy_before_s = 0.0
        self._skin_news, self._chip_news = _News(), _News()
        self._sensor: SetPointKind | None = None
        self._actuation: Actuation | None = None
        self._status: ThermalStatus | None = None
        self._power = power_policy(None)
        self._answer: tuple[Limits, Limits] | None = None  # the inner limits, and what was made of them

    @property
    def status(self) -> ThermalStatus | None:
        """None before the first call of limits()."""
        return self._status

    def limits(self) -> Limits:
        inner, now_s = self._inner.limits(), self._clock()
        if (self._looked_s is None or now_s - self._looked_s >= LOOK_S) and self._look(inner, now_s):
            self._answer = None
        if self._answer is None or self._answer[0] is not inner:
            self._answer = inner, self._limited(inner)
        return self._answer[1]

    def _look(self, inner: Limits, now_s: float) -> bool:
        """False if there is nothing new: sensors that take long are asked more rarely, and an old reading told again
        would be taken for a temperature that stands still."""
        facts = self._sensors()
        if facts is self._facts:
            return False
        caps_clock = self._caps_clock and self._clock_acts()
        self._facts, work = facts, self._work(inner.num_threads, now_s, caps_clock=caps_clock)
        seen = with_headroom(facts)
        judgements = self._trust.judge(seen, work, now_s, is_stopped=self._is_stopped)
        distrusted = {source: why for source, why in judgements.items() if why != "good"}
        choice = self._choose(seen, distrusted)
        decision = self._control.update(
            choice.set_point_c,
            choice.soc_c,
            now_s,
            work,
            skin_is_new=self._skin_news.are_new(choice.set_point_age_s, now_s),
            chip_is_new=self._chip_news.are_new(choice.soc_age_s, now_s),
        )
        decision = self._tried_out(choice, decision, work, now_s)
        self._actuation = actuate(
            decision.share,
            inner.num_threads,
            self._actuation,
            caps_clock=caps_clock,
            changes_threads=self._changes_threads,
        )
        self._power = power_policy(facts.battery, screen_off=self._screen_off)
        self._tell(decision, tuple(sorted(distrusted.items())), holds_limit=self._holds_limit(facts))
        return True

    def _work(self, num_threads: int, now_s: float, *, caps_clock: bool) -> float:
        """The mean share of full heat since the last look, by the way in which was computed."""
        busy_s, before_s = self.busy_s(), self._looked_s
        done_s, self._busy_before_s, self._looked_s = busy_s - self._busy_before_s, busy_s, now_s
        if before_s is None or now_s <= before_s:
            return 0.0
        way = self._actuation
        clock = way.frequency_share if way is not None and caps_clock else 1.0  # what was refused has cooled nothing
        heat = 1.0 if way is None else heat_of(way.threads, num_threads, clock)
        return min(1.0, done_s / (now_s - before_s)) * heat

    @property
    def _is_stopped(self) -> bool:
        return self._status is not None and self._status.state in ("emergency", "unreachable")

    def _choose(self, seen: SensorFacts, distrusted: Collection[str]) -> SensorChoice:
        """Android's headroom comes from the skin's sensor: where that one is not believed, neither is the headroom."""
        if "skin" in self._trust.kinds(distrusted):
            distrusted = {*distrusted, HEADROOM}
        choice = choose_sensors(seen, distrusted)
        if choice.kind != "none" and choice.kind != self._sensor:
            self._control.follow_another(is_late=choice.kind == "battery")
            self._sensor = choice.kind
        return choice

    def _tried_out(self, choice: SensorChoice, decision: ThermalDecision, work: float, now_s: float) -> ThermalDecision:
        """Less work for a moment where nothing else shows whether the sensor still moves."""
        is_late = choice.kind == "battery"
        age_s = choice.set_point_age_s
        if self._probe.update(choice.set_point_c, work, now_s, is_late=is_late, age_s=age_s):
            self._trust.doubt([one.source for one in choice.set_point if one.celsius == choice.set_point_c])
        share = self._probe.most_share
        return decision if share >= decision.share else dataclasses.replace(decision, share=share, reason="sensor test")

    def _limited(self, inner: Limits) -> Limits:
        status, actuation, power = self._status, self._actuation, self._power
        if status is None or actuation is None:
            return inner
        held = status.state != "free"
        num_threads = min(inner.num_threads, actuation.threads)
        cooler = num_threads < inner.num_threads and len(self._cool_cores) >= num_threads and not inner.cores
        limited = dataclasses.replace(
            inner,
            num_threads=num_threads,
            cores=self._cool_cores if cooler else inner.cores,
            max_sequences=sequences_within(status.share, inner.max_sequences) if held else inner.max_sequences,
            coalesce_s=max(inner.coalesce_s, HOT_COALESCE_S if held else 0.0),
            duty=actuation.duty,
            background_waits=held,
            frequency_share=actuation.frequency_share,
            may_hurry=not held,
        )
        return with_power(limited, power)

    def _holds_limit(self, facts: SensorFacts) -> bool:
        return not self._expects_skin or self._sensor is not None or not facts.is_complete

    def _tell(self, decision: ThermalDecision, distrusted: tuple[tuple[str, str], ...], *, holds_limit: bool) -> None:
        before, actuation = self._status, self._actuation
        assert actuation is not None  # set just before
        was_free = before is None or before.state == "free"
        fell = was_free and decision.state != "free"
        self._status = status = ThermalStatus(
            decision.state,
            decision.reason,
            decision.share,
            min(actuation.duty, self._power.duty),
            actuation.threads,
            actuation.frequency_share,
            decision.skin_c,
            decision.chip_c,
            self._control.set_point_c,
            self._control.chip_limit_c,
            self._sensor,
            self._power.situation,
            distrusted,
            (before.num_falls if before else 0) + fell,
            holds_limit,
        )
        told = (before.state, before.holds_limit) if before else ("free", True)
        if told != (status.state, status.holds_limit):
            self._announce(status)


class _News:
    """Whether a reading is another one than at the look before, or the same told again (Temperature.age_s)."""

    def __init__(self) -> None:
        self._read_s = -math.inf

    def are_new(self, age_s: float, now_s: float) -> bool:
        is_new = age_s == 0.0 or now_s - age_s > self._read_s + SAME_S
        self._read_s = now_s - age_s
        return is_new
