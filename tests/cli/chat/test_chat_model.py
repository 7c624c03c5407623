"""The model of a chat can be changed; what fails leaves the old one at work."""

import io
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pocketseek.apps.conversations import ConversationStore
from pocketseek.cli.chat import chat_model
from pocketseek.cli.chat.chat_model import ModelOptions, ModelSlot
from pocketseek.errors import EngineClosedError, MemoryLimitError, NotFoundError, UsageError
from pocketseek.runtime.engine import Engine
from pocketseek.settings import Settings, read_settings


@pytest.fixture
def slot(installed: Path) -> Iterator[ModelSlot]:
    shutil.copytree(installed, installed.with_name("second"))
    options = ModelOptions(
        settings=read_settings(),
        sampling={"temperature": 0.0},
        system="",
        kv=None,
        memory_bytes=None,
        min_speed=None,
        prefix_cache=False,
        speculation=False,
        yes=False,
    )
    slot = ModelSlot(options, "tiny")
    yield slot
    slot.close()


def test_switching_opens_the_new_model_and_closes_the_old_one(slot: ModelSlot) -> None:
    old = slot.current
    slot.switch("second")
    new = slot.current
    assert new.name == "second"
    assert new.sampling.temperature == 0.0
    assert new.engine.generate("a", max_tokens=1).num_tokens == 1
    with pytest.raises(EngineClosedError):
        old.engine.generate("a", max_tokens=1)


def test_a_model_that_cannot_be_opened_leaves_the_old_one(slot: ModelSlot) -> None:
    old = slot.current
    with pytest.raises(NotFoundError):
        slot.switch("absent")
    assert slot.current is old
    assert old.engine.generate("a", max_tokens=1).num_tokens == 1


@pytest.fixture
def small_memory(slot: ModelSlot, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for one model at a time, and never for one called "huge"."""
    first = slot.current.engine
    loaded = chat_model.open_engine

    def open_engine(settings: Settings, path: Path, **options: object) -> Engine:
        if path.name == "huge" or not is_closed(first):
            raise MemoryLimitError("no room; choose a smaller model")
        return loaded(settings, path, **options)

    monkeypatch.setattr(chat_model, "open_engine", open_engine)


def is_closed(engine: Engine) -> bool:
    try:
        engine.generate("a", max_tokens=1)
    except EngineClosedError:
        return True
    return False


@pytest.mark.usefixtures("small_memory")
def test_without_memory_for_both_the_old_model_is_closed_first(slot: ModelSlot) -> None:
    slot.switch("second")
    assert slot.current.name == "second"
    assert not is_closed(slot.current.engine)


@pytest.mark.usefixtures("small_memory")
def test_a_model_without_memory_for_it_alone_brings_the_old_one_back(slot: ModelSlot, installed: Path) -> None:
    shutil.copytree(installed, installed.with_name("huge"))
    with pytest.raises(MemoryLimitError):
        slot.switch("huge")
    assert slot.current.name == "tiny"
    assert not is_closed(slot.current.engine)


def test_the_models_to_switch_to_are_the_installed_ones(slot: ModelSlot) -> None:
    assert slot.names() == ["second", "tiny"]


def piped(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_a_piped_chat_is_kept_only_when_asked(
    run: Callable, installed: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(monkeypatch, "hello\n")
    assert run("chat", "--max-tokens", 4).code == 0
    assert not (home / "conversations.db").exists()
    piped(monkeypatch, "hello\n/model second\nagain\n")
    shutil.copytree(installed, installed.with_name("second"))
    assert run("chat", "tiny", "--max-tokens", 4, "--history", "--seed", 3).code == 0
    store = ConversationStore(home / "conversations.db")
    kept = store.get(store.list()[0].id)
    assert [turn.model for turn in kept.turns] == ["", "tiny", "", "second"]
    store.close()

    piped(monkeypatch, "once more\n")
    ended = run("chat", "--continue", "--max-tokens", 4, "--seed", 3)  # two models, and it knows which
    assert "Going on with 'hello'" in ended.err
    store = ConversationStore(home / "conversations.db")
    assert store.list()[0].num_turns == 6
    store.close()


def test_there_is_nothing_to_go_on_with(run: Callable, installed: Path) -> None:
    assert run("chat", "--continue").code == NotFoundError.exit_code
    assert run("chat", "--conversation", "absent").code == NotFoundError.exit_code
    assert run("chat", "--continue", "--no-history").code == UsageError.exit_code
    assert run("chat", "--continue", "--system", "x").code == UsageError.exit_code


def test_a_damaged_file_is_told_and_the_chat_goes_on(
    run: Callable, installed: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "conversations.db").write_bytes(b"damaged" * 1000)
    piped(monkeypatch, "hello\n")
    ended = run("chat", "--history", "--max-tokens", 4)
    assert ended.code == 0
    assert "not kept any more" in ended.err
    assert (home / "conversations.db").read_bytes() == b"damaged" * 1000
