"""Models are opened when asked for, stay while there is room, and are never closed under somebody."""

import threading
from pathlib import Path

import pytest

from pocketseek.apps.model_pool import ModelPool, ServedModel
from pocketseek.errors import EngineClosedError, MemoryLimitError, NotFoundError


class FakeOpened:
    def __init__(self, name: str) -> None:
        self.name = name
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Opener:
    """Records what was opened with how much memory; refuses what does not fit `really_free`."""

    def __init__(self, really_free: int | None = None) -> None:
        self.opened: list[tuple[str, int | None]] = []
        self.engines: list[FakeOpened] = []
        self.really_free = really_free

    def __call__(self, model: ServedModel, memory_bytes: int | None) -> FakeOpened:
        taken = sum(MODELS[engine.name] for engine in self.engines if not engine.is_closed)
        if self.really_free is not None and taken + model.weight_bytes > self.really_free:
            raise MemoryLimitError("no memory; close something")
        self.opened.append((model.name, memory_bytes))
        self.engines.append(FakeOpened(model.name))
        return self.engines[-1]

    @property
    def open_names(self) -> list[str]:
        return sorted(engine.name for engine in self.engines if not engine.is_closed)


MODELS = {"a": 40, "b": 50, "c": 60}


def pool_of(opener: Opener, memory_bytes: int | None = None, **keywords: object) -> ModelPool:
    ticks = iter(range(1000))
    models = [ServedModel(name, Path(name), size) for name, size in MODELS.items()]
    return ModelPool(models, opener, memory_bytes=memory_bytes, clock=lambda: float(next(ticks)), **keywords)


def use(pool: ModelPool, name: str) -> None:
    with pool.using(name):
        pass


def test_a_model_is_opened_once_and_stays() -> None:
    opener = Opener()
    pool = pool_of(opener)
    assert pool.try_acquire("a") is None
    use(pool, "a")
    use(pool, "a")
    assert pool.try_acquire("a") is opener.engines[0]
    assert opener.opened == [("a", None)]
    assert pool.default_name == "a"


def test_every_use_that_ended_is_told_while_the_engine_is_open() -> None:
    told: list[tuple[str, bool]] = []
    opener = Opener()
    pool = pool_of(opener, released=lambda model, engine: told.append((model.name, engine.is_closed)))
    use(pool, "a")
    use(pool, "b")
    pool.close()
    assert told == [("a", False), ("b", False)]


def test_an_engine_that_failed_is_opened_anew_while_others_still_have_it() -> None:
    opener = Opener()
    pool = pool_of(opener, 50)
    first = pool.acquire("a")
    first.close()  # as a failure does
    assert pool.try_acquire("a") is None
    assert pool.acquire("a") is opener.engines[1]
    assert opener.opened == [("a", 50), ("a", 50)]
    pool.release("a")  # who had the first one
    pool.release("a")
    use(pool, "b")  # needs the room of all of them: nobody is counted twice, or missing
    assert opener.open_names == ["b"]


def test_the_idle_one_used_longest_ago_makes_room() -> None:
    opener = Opener()
    pool = pool_of(opener, 100)
    use(pool, "a")
    use(pool, "b")
    use(pool, "a")
    use(pool, "c")
    assert opener.open_names == ["a", "c"]
    assert opener.opened == [("a", 100), ("b", 60), ("c", 60)]


def test_a_model_in_use_is_never_closed() -> None:
    opener = Opener()
    pool = pool_of(opener, 100)
    with pool.using("a"), pool.using("c"), pool.using("b"):
        assert opener.open_names == ["a", "b", "c"]


def test_without_a_limit_what_is_free_decides() -> None:
    opener = Opener()
    free = [1000, 45, 45]
    pool = pool_of(opener, free_bytes=lambda: free.pop(0))
    use(pool, "a")
    use(pool, "b")
    assert opener.open_names == ["b"]


def test_refused_memory_closes_idle_ones_and_tries_again() -> None:
    opener = Opener(really_free=100)
    pool = pool_of(opener)
    use(pool, "a")
    use(pool, "b")
    use(pool, "c")
    assert opener.open_names == ["c"]


def test_refused_memory_with_nothing_idle_is_an_error_and_the_rest_goes_on() -> None:
    opener = Opener(really_free=100)
    pool = pool_of(opener)
    with pool.using("b"):
        with pytest.raises(MemoryLimitError):
            pool.acquire("c")
        assert opener.open_names == ["b"]
    use(pool, "c")


def test_who_asks_while_a_model_is_opened_gets_the_same_one() -> None:
    started, go_on = threading.Event(), threading.Event()

    class Slow(Opener):
        def __call__(self, model: ServedModel, memory_bytes: int | None) -> FakeOpened:
            started.set()
            assert go_on.wait(30)
            return super().__call__(model, memory_bytes)

    opener = Slow()
    pool = pool_of(opener)
    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(pool.acquire("a"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert started.wait(30)
    assert pool.try_acquire("a") is None
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert got == [opener.engines[0]] * 3


def test_unknown_models_are_named() -> None:
    pool = pool_of(Opener())
    with pytest.raises(NotFoundError, match="use one of: a, b, c"):
        pool.acquire("d")
    with pytest.raises(NotFoundError):
        pool.try_acquire("../a")


def test_closing_closes_all_and_opens_nothing_more() -> None:
    opener = Opener()
    pool = pool_of(opener)
    use(pool, "a")
    engine = pool.acquire("b")
    pool.close()
    assert opener.open_names == []
    with pytest.raises(EngineClosedError):
        pool.acquire("a")
    pool.release("b")
    assert engine.is_closed
    assert pool.loaded_engines() == {}


def test_a_model_that_arrives_after_closing_is_closed() -> None:
    pool: list[ModelPool] = []

    class Late(Opener):
        def __call__(self, model: ServedModel, memory_bytes: int | None) -> FakeOpened:
            pool[0].close()
            return super().__call__(model, memory_bytes)

    opener = Late()
    pool.append(pool_of(opener))
    with pytest.raises(EngineClosedError):
        pool[0].acquire("a")
    assert opener.open_names == []


def test_another_version_is_opened_when_nobody_uses_the_old_one_any_more() -> None:
    opener = Opener()
    pool = pool_of(opener)
    first = pool.acquire("a")
    pool.renew("a")
    assert pool.acquire("a") is first  # who is at it goes on, and so does who joins
    for _ in range(2):
        assert not first.is_closed
        pool.release("a")
    assert first.is_closed
    assert pool.acquire("a") is not first


def test_another_version_of_an_idle_model_is_opened_next() -> None:
    opener = Opener()
    pool = pool_of(opener)
    use(pool, "a")
    pool.renew("a")
    assert opener.open_names == []
    pool.renew("a")  # not open: nothing to do
    use(pool, "a")
    assert opener.open_names == ["a"]
