"""What a newcomer is offered, in the order it is shown: models that are here, one worth fetching, the demo model, and
the rest. Decides over verdicts that are passed in; nothing is read or printed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pocketseek.govern.model_verdict import ModelVerdict

Act = Literal["talk", "fetch", "demo", "page", "file", "commands", "leave"]

_DEMO = "demo"
_MOST_TALKS = 3
_NOT_FOR_TALKING = ("deepseek-coder",)  # they complete programs
_QUANT = "q4"
_SHARE_OF_PUBLISHED = 0.5  # of the speed that the published peak of a chip's memory allows


@dataclass(frozen=True)
class Offer:
    """verdict: of its model, if it has one."""

    act: Act
    model: str = ""
    verdict: ModelVerdict | None = None
    is_recommended: bool = False


def make_offers(verdicts: Sequence[ModelVerdict], free_bytes: int | None, *, installed: Sequence[str]) -> list[Offer]:
    """free_bytes: of storage; None: unknown."""
    known = {one.needs.name: one for one in verdicts if one.needs.is_installed}
    talks = [Offer("talk", name, known.get(name)) for name in installed[:_MOST_TALKS]]
    offers = [*talks]
    wanted = best_to_fetch(verdicts, free_bytes)
    fetch = [] if wanted is None else [Offer("fetch", wanted.needs.name, wanted, is_recommended=not talks)]
    demo = [] if _DEMO in installed else [Offer("demo", _DEMO, _of_demo(verdicts))]
    if talks:
        offers.append(Offer("page"))
    return [*offers, *fetch, *demo, Offer("file"), Offer("commands"), Offer("leave")]


def best_to_fetch(verdicts: Sequence[ModelVerdict], free_bytes: int | None) -> ModelVerdict | None:
    """The largest that writes as fast as people read, else the fastest; where no speed is known, the smallest. None if
    none runs here, or can be converted in the storage that is free, or if something as large is installed. Of an upper
    limit of the speed, half is believed."""
    from pocketseek.govern.model_verdict import PLEASANT_TOKENS_PER_S

    here = max((one.needs.parameters for one in verdicts if one.needs.is_installed), default=0)
    fitting = [
        one
        for one in verdicts
        if one.runs
        and one.needs.quant == _QUANT
        and not one.needs.is_installed
        and not one.slow_storage
        and one.needs.name != _DEMO
        and not one.needs.name.startswith(_NOT_FOR_TALKING)
        and one.needs.parameters > here
        and _has_room(one, free_bytes)
    ]
    pleasant = [one for one in fitting if _believed_rate(one) >= PLEASANT_TOKENS_PER_S]
    if pleasant:
        return max(pleasant, key=lambda one: one.needs.parameters)
    return min(fitting, key=lambda one: (-_believed_rate(one), one.needs.parameters), default=None)


def _believed_rate(verdict: ModelVerdict) -> float:
    rate = verdict.decode_tokens_per_s or 0.0
    return rate * _SHARE_OF_PUBLISHED if verdict.is_estimate else rate


def _has_room(verdict: ModelVerdict, free_bytes: int | None) -> bool:
    return free_bytes is None or (verdict.conversion_bytes or verdict.storage_bytes) <= free_bytes


def _of_demo(verdicts: Sequence[ModelVerdict]) -> ModelVerdict | None:
    return next((one for one in verdicts if one.needs.name == _DEMO and one.needs.quant == _QUANT), None)
