"""From a share of full speed's heat to what brings the most tokens for it: clock, threads, and the rest by pauses.

A processor at half its clock needs less than half its power, since its voltage falls too; half of its threads need half
the power and bring more than half the speed, since much of a pass waits for memory. Pauses alone bring neither. So:

1. Where clocks can be capped: the lowest of CLOCKS that has the heat to spend (heat ~ clock squared), down to half;
   below that voltages hardly fall any more.
2. Fewer threads: half, then a quarter (heat ~ 0.1 + 0.9 of their share), where half of them can spend what is left.
3. What remains is the duty: the share of the time in which passes may run.

The exponents are rough on purpose: what a step really saves the controller learns as it learns the phone. On the
simulated phone (docs/govern.md) this brings up to 1.5 times the tokens of pauses alone with clocks, up to 1.2 times
without; *unmeasured on a device*. A step is left towards less only when the next one would do with a tenth to spare.

Only what acts may be counted on: clocks that are refused, or threads that cannot be changed (a session of ONNX Runtime
has those that it was opened with), would be taken for less heat than there is.

Fewer sequences save no heat (tokens of one pass share its cost); they are halved below half of the heat, and halved
again below a quarter, so that those who run get on at a speed that is of use to somebody.
"""

from __future__ import annotations

from dataclasses import dataclass

CLOCKS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
SPARE = 0.9
_FIXED_HEAT = 0.1


@dataclass(frozen=True)
class Actuation:
    """heat: of the way to compute, while it computes; duty * heat is what was asked for."""

    threads: int
    frequency_share: float
    duty: float

    def heat(self, num_threads: int) -> float:
        return heat_of(self.threads, num_threads, self.frequency_share)


def heat_of(threads: int, num_threads: int, frequency_share: float) -> float:
    """Of threads of num_threads, while they compute; 1.0: all of them at full clock."""
    return (_FIXED_HEAT + (1 - _FIXED_HEAT) * threads / num_threads) * frequency_share**2


def actuate(
    share: float, num_threads: int, before: Actuation | None, *, caps_clock: bool, changes_threads: bool = True
) -> Actuation:
    """share: of the heat of full speed, 0 to 1. before: what is in force. The rest says what has an effect."""
    rungs = _rungs(num_threads, caps_clock=caps_clock, changes_threads=changes_threads)
    place = rungs.index((before.threads, before.frequency_share)) if before and _is_rung(before, rungs) else 0
    heats = [heat_of(threads, num_threads, clock) for threads, clock in rungs]
    while place > 0 and share > heats[place]:
        place -= 1
    while place + 1 < len(rungs) and share <= SPARE * heats[place + 1]:
        place += 1
    threads, clock = rungs[place]
    return Actuation(threads, clock, min(1.0, share / heats[place]))


def sequences_within(share: float, max_sequences: int) -> int:
    divisor = 1 if share >= 0.5 else 2 if share >= 0.25 else 4
    return max(1, max_sequences // divisor)


def _rungs(num_threads: int, *, caps_clock: bool, changes_threads: bool) -> list[tuple[int, float]]:
    clocks = CLOCKS if caps_clock else (1.0,)
    fewer = dict.fromkeys(max(1, num_threads // part) for part in (2, 4)) if changes_threads else {}
    rungs = [(num_threads, clock) for clock in clocks]
    return rungs + [(threads, clocks[-1]) for threads in fewer if threads < num_threads]


def _is_rung(before: Actuation, rungs: list[tuple[int, float]]) -> bool:
    return (before.threads, before.frequency_share) in rungs
