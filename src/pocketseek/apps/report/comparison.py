"""Two reports side by side: what changed, and what makes them hard to compare. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pocketseek.apps.report.figures import FIGURES, Figure
from pocketseek.apps.report.record import DeviceSeen, Record
from pocketseek.apps.report.same_work import Basis, other_work

Difference = Literal["device", "model", "program", "conditions", "cut short"]
SAME_WITHIN = 0.02  # of a figure: less is called the same


@dataclass(frozen=True)
class Change:
    """One figure of both. other_work: in what the work that was measured differs, so that neither is better."""

    figure: Figure
    first: float | None
    second: float | None
    other_work: tuple[Basis, ...] = ()

    @property
    def ratio(self) -> float | None:
        """second / first; None where one is missing, nothing can be divided by it, or the work was another."""
        if self.first is None or self.second is None or self.first <= 0 or self.other_work:
            return None
        return self.second / self.first

    @property
    def is_better(self) -> bool | None:
        """The second one; None: hardly different, or unknown."""
        ratio = self.ratio
        if ratio is None or abs(ratio - 1) < SAME_WITHIN:
            return None
        return (ratio > 1) == self.figure.more_is_better


@dataclass(frozen=True)
class Comparison:
    """differences: in the order in which they matter. changes: of figures that at least one of them has."""

    first: Record
    second: Record
    differences: tuple[Difference, ...]
    changes: tuple[Change, ...]


def compare(first: Record, second: Record) -> Comparison:
    changes = (
        Change(figure, figure.get(first), figure.get(second), other_work(figure.key, first, second))
        for figure in FIGURES
    )
    different: dict[Difference, bool] = {
        "device": _hardware(first.device) != _hardware(second.device),
        "model": first.model.identity != second.model.identity,
        "conditions": first.conditions != second.conditions,
        "program": first.program_version != second.program_version,
        "cut short": first.cut_short or second.cut_short,
    }
    return Comparison(
        first,
        second,
        tuple(name for name, is_so in different.items() if is_so),
        tuple(change for change in changes if change.first is not None or change.second is not None),
    )


def _hardware(device: DeviceSeen) -> tuple[object, ...]:
    """Without what an update of the system changes."""
    return (
        device.architecture,
        device.phone_model,
        device.soc_model,
        device.cpu_model,
        device.num_usable_cores,
        _gigabytes(device.memory_total_bytes),
    )


def _gigabytes(num_bytes: int | None) -> int | None:
    """A kernel keeps a little for itself, not always the same."""
    return None if num_bytes is None else round(num_bytes / 1e9)
