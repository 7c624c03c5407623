"""The model of a chat, which can be changed in the middle of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.guard.key_options import NO_KEY, KeyOptions
from pocketseek.cli.messages import Words
from pocketseek.cli.run.engine_choice import NO_OPTIONS, EngineOptions, is_onnx, tell_change
from pocketseek.cli.run.min_speed import SpeedFloor, choose_for_speed
from pocketseek.cli.run.model_choice import adapter_paths, choose_model, open_engine, opened_sampling, sampling_params
from pocketseek.errors import MemoryLimitError
from pocketseek.settings import Settings
from pocketseek.types import SamplingParams

if TYPE_CHECKING:
    from pocketseek.apps.repository.versions import VersionNotes
    from pocketseek.runtime.engine import Engine
    from pocketseek.runtime.speed_plan import SpeedNeed


@dataclass(frozen=True)
class ModelOptions:
    """What the command line says about whatever model answers. sampling: what was chosen, None elsewhere."""

    settings: Settings
    sampling: Mapping[str, float | None]
    system: str
    kv: str | None
    memory_bytes: int | None
    min_speed: float | None
    prefix_cache: bool
    speculation: bool
    yes: bool
    temperature_limit_c: float | None = None
    engine: EngineOptions = NO_OPTIONS
    key: KeyOptions = NO_KEY
    adapter: str | None = None  # of the first model, too
    trust: str | None = None  # of the first model, see trust_choice.py


@dataclass(frozen=True)
class OpenModel:
    """name: of the model that answers, which --min-speed may have chosen. used: where it and its adapter are."""

    name: str
    path: Path
    engine: Engine
    sampling: SamplingParams
    floor: SpeedFloor | None
    used: tuple[Path, ...] = ()


class ModelSlot:
    """Holds one open model. The old one goes on until the new one is there, and stays if that fails.

    Where memory is too small for both, the old one is closed first, and opened again if the new one fails.
    """

    def __init__(self, options: ModelOptions, model: str | None) -> None:
        self._options = replace(options, adapter=None, trust=None)
        self._adapter = options.adapter  # of the model that is open
        self._asked = model
        from pocketseek.apps.repository.versions import VersionNotes

        self._notes = VersionNotes()
        self.current = _open(options, model, self._notes)

    def switch(self, model: str) -> None:
        """Raises whatever opening raises; `current` has an open model then, too, the same or the old one anew."""
        try:
            opened = _open(self._options, model, self._notes)
        except MemoryLimitError:
            self._exchange(model)
        else:
            self.current.engine.close()
            self.current = opened
        self._asked, self._adapter = model, None

    def _exchange(self, model: str) -> None:
        from pocketseek.runtime.memory_use import give_back_freed_memory

        self.current.engine.close()
        give_back_freed_memory()  # what the old one took, or neither would fit
        opened = None
        try:
            opened = _open(self._options, model, self._notes)
        finally:
            self.current = opened or _open(replace(self._options, adapter=self._adapter), self._asked, self._notes)

    def names(self) -> list[str]:
        """What could be switched to."""
        from pocketseek.package.store import ModelStore

        return sorted(installed.name for installed in ModelStore(self._options.settings.models_dir).list())

    def note_answer(self) -> None:
        """The current model has answered."""
        for path in self.current.used:
            self._notes.answered(path)
        words = Words(self._options.settings.language)
        tell_change(self.current.engine.provider_choice, words, self._options.engine)

    def is_idle(self) -> bool:
        """Whether nothing is being answered; from any thread."""
        load = self.current.engine.statistics().load
        return not load.num_running and not load.num_waiting

    def close(self) -> None:
        self.current.engine.close()


def _open(options: ModelOptions, model: str | None, notes: VersionNotes) -> OpenModel:
    name, path = choose_model(options.settings, model, yes=options.yes, may_be_onnx=True, trust=options.trust)
    chosen = choose_for_speed(
        options.settings,
        name,
        path,
        min_speed=options.min_speed,
        kv=options.kv,
        memory_bytes=options.memory_bytes,
        need=lambda _: _need(options.system),
        key=options.key,
        is_onnx=is_onnx(options.settings, path, options.engine),
    )
    sampling_params(chosen.path, **options.sampling)  # a mistake is told before anything is opened
    used = (chosen.path, *adapter_paths(options.settings, options.adapter))
    for one in used:
        notes.opening(one)
    engine = open_engine(
        options.settings,
        chosen.path,
        kv=chosen.kv,
        kv_bytes=chosen.kv_bytes,
        memory_bytes=options.memory_bytes,
        prefix_cache=options.prefix_cache,
        speculation=options.speculation,
        temperature_limit_c=options.temperature_limit_c,
        engine=options.engine,
        key=options.key,
        adapter=options.adapter,
    )
    sampling = opened_sampling(engine, **options.sampling)
    return OpenModel(chosen.name, chosen.path, engine, sampling, chosen.floor, used)


def _need(system: str) -> SpeedNeed:
    """How long a conversation becomes is not known. A byte is a token at the most."""
    from pocketseek.govern.ladder import LEAST_CONTEXT_TOKENS
    from pocketseek.runtime.speed_plan import SpeedNeed

    return SpeedNeed(least_tokens=LEAST_CONTEXT_TOKENS + len(system.encode()))
