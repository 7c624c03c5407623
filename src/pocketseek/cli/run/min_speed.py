"""`--min-speed`: what is opened instead of the model that was asked for, and the one time that the user is told.

Told is either what was chosen and why, before the first answer, or afterwards that the answer came slower than wished
although better was expected. Never both for the same reason, and a running answer is never switched. With --json it is
in the object and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli import messages
from pocketseek.cli.console import format_bytes, note, progress_bar
from pocketseek.cli.guard.key_options import NO_KEY, KeyOptions, secret_for
from pocketseek.cli.messages import Words
from pocketseek.cli.run import speed_messages
from pocketseek.errors import UsageError
from pocketseek.settings import Settings

if TYPE_CHECKING:
    from pocketseek.govern.ladder import Rung, SpeedChoice
    from pocketseek.package.verify import Progress
    from pocketseek.runtime.speed_plan import SpeedNeed

_LEAST_TOKENS = 8  # after the first: fewer say nothing


@dataclass(frozen=True)
class Chosen:
    """What to open. floor: None without --min-speed, and then everything is as it was asked for."""

    name: str
    path: Path
    kv: str | None
    kv_bytes: int | None = None
    floor: SpeedFloor | None = None


def parse_speed(text: str) -> float:
    """Raises UsageError unless it is a number above 0."""
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < math.inf:
        raise UsageError(f"{text[:40]!r} is not a speed; write tokens per second like 3 or 0.5")
    return speed


def choose_for_speed(
    settings: Settings,
    name: str,
    path: Path,
    *,
    min_speed: float | None,
    kv: str | None,
    memory_bytes: int | None,
    need: Callable[[Progress], SpeedNeed],
    key: KeyOptions = NO_KEY,
    quiet: bool = False,
    is_onnx: bool = False,
) -> Chosen:
    """Choose, and tell the user unless `quiet`. need: asked only with a floor; a package may be hashed for it."""
    if min_speed is None:
        return Chosen(name, path, kv)
    if is_onnx:
        raise UsageError("--min-speed is for the native core; leave it out, or use --engine native")
    from pocketseek.package.trust.gatekeeper import Gatekeeper
    from pocketseek.runtime.speed_plan import plan_speed

    words = Words(settings.language)
    with progress_bar() as show:

        def progress(done: int, total: int) -> None:
            show(words(messages.VERIFYING), done, total)

        plan = plan_speed(
            path,
            name,
            settings,
            min_speed=min_speed,
            need=need(progress),
            kv=kv,
            memory_bytes=memory_bytes,
            secret=secret_for(path, settings, key),
            gate=Gatekeeper.of(settings),
            progress=progress,
        )
    floor = SpeedFloor(plan.choice, words, quiet=quiet)
    floor.tell_choice()
    return Chosen(plan.choice.chosen.model, plan.path, plan.kv, plan.kv_bytes, floor)


def fallback_facts(chosen: Chosen) -> dict[str, object]:
    """For --json, only with --min-speed."""
    return {} if chosen.floor is None else {"fallback": chosen.floor.fallback()}


class SpeedFloor:
    """Of one command. `begin` and `see` follow an answer, `end` tells."""

    def __init__(self, choice: SpeedChoice, words: Words, *, quiet: bool = False) -> None:
        self._choice = choice
        self._words = words
        self._is_told = quiet or (choice.is_news and not choice.meets_floor)
        self._quiet = quiet
        self._first: tuple[int, float] | None = None
        self._last: tuple[int, float] | None = None

    def tell_choice(self) -> None:
        if self._choice.is_news and not self._quiet:
            note(describe(self._choice, self._words))

    def begin(self) -> None:
        self._first = self._last = None

    def see(self, num_tokens: int, now_s: float) -> None:
        """The answer had so many tokens at that time."""
        if num_tokens > 0:
            self._first = self._first or (num_tokens, now_s)
            self._last = (num_tokens, now_s)

    def end(self) -> None:
        self.tell_measured(self.tokens_per_s)

    @property
    def tokens_per_s(self) -> float | None:
        """Of the answer that was followed, after its first token; None if it was too short."""
        if self._first is None or self._last is None:
            return None
        (first_tokens, first_s), (last_tokens, last_s) = self._first, self._last
        if last_tokens - first_tokens < _LEAST_TOKENS or last_s <= first_s:
            return None
        return (last_tokens - first_tokens) / (last_s - first_s)

    def tell_measured(self, tokens_per_s: float | None) -> None:
        if self._is_told or tokens_per_s is None or tokens_per_s >= self._choice.min_speed:
            return
        self._is_told = True
        speed, floor = _speed(tokens_per_s), f"{self._choice.min_speed:g}"
        note(self._words(speed_messages.MEASURED, speed=speed, floor=floor))

    def fallback(self) -> dict[str, object] | None:
        """For --json; None: all is as it was asked for."""
        choice = self._choice
        if choice.meets_floor and not choice.steps:
            return None
        return {
            "min_speed": choice.min_speed,
            "meets_min_speed": choice.meets_floor,
            "memory_bytes": choice.budget_bytes,
            "steps": list(choice.steps),
            "asked": _rung_facts(choice.asked),
            "taken": _rung_facts(choice.chosen),
        }


def describe(choice: SpeedChoice, words: Words) -> str:
    """One or two sentences: what was to be expected and why, and what is done about it."""
    steps = words(speed_messages.AND).join(_steps(choice, words))
    if choice.meets_floor:
        outcome = speed_messages.INSTEAD
    else:
        outcome = speed_messages.FASTEST if steps else speed_messages.AS_IT_IS
    done = words(outcome, steps=steps, speed=_speed(choice.chosen.tokens_per_s))
    return words(speed_messages.TOLD, problem=_problem(choice, words), done=done)


def _problem(choice: SpeedChoice, words: Words) -> str:
    asked, memory = choice.asked, format_bytes(choice.budget_bytes)
    if not asked.works:
        return words(speed_messages.NO_ROOM, model=asked.model, memory=memory)
    reason = speed_messages.STORAGE if asked.storage_bound else speed_messages.COMPUTING
    streamed_bytes = min(asked.streamed_bytes, asked.weights_bytes)  # read are whole blocks, a little more
    sizes = {"streamed": format_bytes(streamed_bytes), "weights": format_bytes(asked.weights_bytes)}
    return words(
        speed_messages.BELOW,
        model=asked.model,
        memory=memory,
        speed=_speed(asked.tokens_per_s),
        floor=f"{choice.min_speed:g}",
        reason=words(reason, **sizes),
    )


def _steps(choice: SpeedChoice, words: Words) -> list[str]:
    chosen = choice.chosen
    said = {
        "model": words(speed_messages.STEP_MODEL, model=chosen.model),
        "kv": words(speed_messages.STEP_KV),
        "context": words(speed_messages.STEP_CONTEXT, tokens=chosen.context_tokens),
    }
    return [text for step, text in said.items() if step in choice.steps]


def _rung_facts(rung: Rung) -> dict[str, object]:
    return {
        "model": rung.model,
        "kv": rung.kv,
        "context_tokens": rung.context_tokens,
        "expected_tokens_per_s": rung.tokens_per_s,
        "weights_bytes": rung.weights_bytes,
        "streamed_bytes": rung.streamed_bytes,
    }


def _speed(tokens_per_s: float) -> str:
    return f"{tokens_per_s:.1f}" if tokens_per_s >= 10 else f"{tokens_per_s:.3g}"
