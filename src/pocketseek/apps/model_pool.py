"""Several models by name: opened when first asked for, kept while memory allows, closed when others need the room.

A model in use is never closed; what is to be opened anew (`renew`, or since a failure has stopped its engine) is when
nobody uses it. Before one is opened, those that nobody uses go, the one used longest ago first, until what is loaded
and what comes fit `memory_bytes`, as far as their weights tell (None: what the machine has free when it is asked). If
opening fails for want of memory, the next idle one goes and it is tried once more.

Threads: every method may be called from any thread. `acquire` blocks while a model is opened; one is opened at a time,
and who asks for the same one meanwhile gets it when it is there. `try_acquire` never blocks on that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from pocketseek.errors import EngineClosedError, MemoryLimitError, NotFoundError

if TYPE_CHECKING:
    from pocketseek.runtime.engine import Engine


@dataclass(frozen=True)
class ServedModel:
    """A model that may be asked for. weight_bytes: what it takes besides its KV memory; created_s: Unix time.

    adapter: the name of an adapter that it is asked with; then `name` is "base:adapter" and adapter_path where that is.
    """

    name: str
    path: Path
    weight_bytes: int = 0
    created_s: int = 0
    adapter: str = ""
    adapter_path: Path | None = None

    @property
    def own_path(self) -> Path:
        """Of what tells it from its base: the adapter's, if it has one."""
        return self.adapter_path or self.path

    @property
    def base_name(self) -> str:
        return self.name.removesuffix(f":{self.adapter}") if self.adapter else self.name


@dataclass
class _Loaded:
    """Guarded by the pool's lock."""

    engine: Engine
    num_users: int = 0
    used_s: float = 0.0
    is_stale: bool = False


OpenModel = Callable[[ServedModel, int | None], "Engine"]


class ModelPool:
    """open_model(model, memory_bytes) opens an engine that takes no more than memory_bytes (None: not limited)."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        open_model: OpenModel,
        *,
        memory_bytes: int | None = None,
        free_bytes: Callable[[], int | None] = lambda: None,
        released: Callable[[ServedModel, Engine], None] = lambda model, engine: None,
        adapters_of: Callable[[ServedModel], Sequence[ServedModel]] = lambda model: (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """adapters_of: a model with each adapter that there is for it now. released: told of every use that has
        ended, while the engine is still open."""
        self.models = tuple(models)
        self._by_name = {model.name: model for model in models}
        self._open_model = open_model
        self._memory_bytes = memory_bytes
        self._free_bytes = free_bytes
        self._released = released
        self._adapters_of = adapters_of
        self._clock = clock
        self._loaded: dict[str, _Loaded] = {}
        self._lock = Lock()  # guards _loaded, _closed and what is in it
        self._opening = Lock()  # one at a time; taken before _lock
        self._closed = False

    @property
    def default_name(self) -> str:
        """The first one: what is meant where no model is named."""
        return self.models[0].name

    def model(self, name: str) -> ServedModel:
        """Or a model with an adapter, "base:adapter". Raises NotFoundError."""
        if name in self._by_name:
            return self._by_name[name]
        base = self._by_name.get(name.partition(":")[0])
        found = next((one for one in self._adapters_of(base) if one.name == name), None) if base is not None else None
        if found is None:
            known = ", ".join(model.name for model in (self.with_adapters() if base is not None else self.models))
            raise NotFoundError(f"the model {name[:120]!r} is not served here; use one of: {known}")
        return found

    def with_adapters(self) -> list[ServedModel]:
        """All that may be asked for. Asks the disk."""
        return [one for model in self.models for one in (model, *self._adapters_of(model))]

    def loaded_engines(self) -> dict[str, Engine]:
        """Those that are open now, for figures; they may be closed at any time."""
        with self._lock:
            return {name: loaded.engine for name, loaded in self._loaded.items()}

    def try_acquire(self, name: str) -> Engine | None:
        """The engine if it is open; give it back with `release`. Raises NotFoundError, EngineClosedError."""
        model = self.model(name)
        with self._lock:
            if self._closed:
                raise EngineClosedError("the server is shutting down; try again later")
            loaded = self._loaded.get(model.base_name)
            if loaded is None or loaded.engine.is_closed:
                return None
            loaded.num_users += 1
            loaded.used_s = self._clock()
            return loaded.engine.with_adapter(model.adapter) if model.adapter else loaded.engine

    def acquire(self, name: str) -> Engine:
        """The engine, opened if need be; give it back with `release`. Raises NotFoundError and what opening raises."""
        model = self.model(name)
        with self._opening:
            if (engine := self.try_acquire(name)) is not None:
                return engine
            base = self._by_name[model.base_name]
            self._make_room(base)
            engine = self._keep(base.name, self._open(base))
            return engine.with_adapter(model.adapter) if model.adapter else engine

    def release(self, name: str) -> None:
        name = name if name in self._by_name else name.partition(":")[0]  # the adapter may be gone
        with self._lock:
            used = self._loaded.get(name)
        if used is not None:
            self._released(self._by_name[name], used.engine)
        stale = None
        with self._lock:
            if (loaded := self._loaded.get(name)) is not None:
                loaded.num_users -= 1
                loaded.used_s = self._clock()
                stale = self._take_stale(name, loaded)
        if stale is not None:
            stale.close()

    def renew(self, name: str) -> None:
        """What lies on the disk is another version now: it is opened when it is next asked for and nobody uses the old
        one any more."""
        stale = None
        with self._lock:
            if (loaded := self._loaded.get(name)) is not None:
                loaded.is_stale = True
                stale = self._take_stale(name, loaded)
        if stale is not None:
            stale.close()

    def _take_stale(self, name: str, loaded: _Loaded) -> Engine | None:
        """To be closed without the lock."""
        if not loaded.is_stale or loaded.num_users:
            return None
        del self._loaded[name]
        return loaded.engine

    @contextmanager
    def using(self, name: str) -> Iterator[Engine]:
        engine = self.acquire(name)
        try:
            yield engine
        finally:
            self.release(name)

    def close(self) -> None:
        """Close all, used or not. Later calls get EngineClosedError."""
        with self._lock:
            self._closed = True
            engines = [loaded.engine for loaded in self._loaded.values()]
            self._loaded.clear()
        for engine in engines:
            engine.close()

    def _keep(self, name: str, engine: Engine) -> Engine:
        with self._lock:
            closed = self._closed
            if not closed:
                before = self._loaded.get(name)  # one that failed: who still has it will give back the name
                num_users = 1 + (before.num_users if before is not None else 0)
                self._loaded[name] = _Loaded(engine, num_users, self._clock())
        if closed:
            engine.close()
            raise EngineClosedError("the server is shutting down; try again later")
        return engine

    def _open(self, model: ServedModel) -> Engine:
        while True:
            try:
                return self._open_model(model, self._room_bytes())
            except MemoryLimitError:
                if not self._close_one_idle():
                    raise

    def _room_bytes(self) -> int | None:
        """What the next model may take, of a limit that was given."""
        return None if self._memory_bytes is None else max(0, self._memory_bytes - self._taken_bytes())

    def _make_room(self, model: ServedModel) -> None:
        while not self._fits(model) and self._close_one_idle():
            pass

    def _fits(self, model: ServedModel) -> bool:
        room_bytes = self._room_bytes() if self._memory_bytes is not None else self._free_bytes()
        return room_bytes is None or model.weight_bytes <= room_bytes

    def _taken_bytes(self) -> int:
        with self._lock:
            names = [name for name, loaded in self._loaded.items() if not loaded.engine.is_closed]
            return sum(self._by_name[name].weight_bytes for name in names)

    def _close_one_idle(self) -> bool:
        with self._lock:
            idle = [(loaded.used_s, name) for name, loaded in self._loaded.items() if loaded.num_users == 0]
            if not idle:
                return False
            engine = self._loaded.pop(min(idle)[1]).engine
        engine.close()
        return True
