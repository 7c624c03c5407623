"""Commands on kept conversations, typed into a chat."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_chat_engine import FakeEngine
from typed_lines import Script

from pocketseek.apps.chat import Chat
from pocketseek.apps.chat_history import ChatHistory
from pocketseek.apps.conversation import Turn
from pocketseek.apps.conversations import ConversationStore
from pocketseek.cli.chat.conversation import Conversation
from pocketseek.cli.messages import Words
from pocketseek.errors import UsageError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConversationStore]:
    store = ConversationStore(tmp_path / "conversations.db")
    yield store
    store.close()


def converse(store: ConversationStore, *lines: str | BaseException, terminal: bool = True) -> FakeEngine:
    engine = FakeEngine()
    history = ChatHistory(store, "tiny", lambda error: pytest.fail(str(error)))
    with pytest.MonkeyPatch.context() as patch:
        for stream in (sys.stdin, sys.stdout):
            patch.setattr(stream, "isatty", lambda: terminal)
        chat = Chat(engine, recorder=history)
        Conversation(chat, Words("en"), "tiny", Script(*lines), history=history).run()
    return engine


def titles(store: ConversationStore) -> list[str]:
    return [info.title for info in store.list()]


def kept(store: ConversationStore, *questions: str, model: str = "tiny") -> None:
    for question in questions:
        name = store.create(model).info.id
        store.append(name, Turn("user", question))
        store.append(name, Turn("assistant", f"about {question}"))


def test_a_chat_is_kept_and_save_says_where(store: ConversationStore, capsys: pytest.CaptureFixture[str]) -> None:
    converse(store, "one", "/save")
    info = store.list()[0]
    assert f"Kept as {info.id}, 'one'" in capsys.readouterr().err


def test_conversations_are_listed_the_newest_first(
    store: ConversationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(store, "old")
    converse(store, "new", "/list")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[-1] for line in lines[-2:]] == ["new", "old"]
    assert lines[-2].startswith("*")  # the one that is open


def test_an_empty_list_and_a_long_one_say_so(store: ConversationStore, capsys: pytest.CaptureFixture[str]) -> None:
    converse(store, "/list")
    assert "No conversation is kept" in capsys.readouterr().err
    kept(store, *map(str, range(30)))
    converse(store, "/load")
    shown = capsys.readouterr().err
    assert " 20  " in shown
    assert " 21  " not in shown
    assert "/search TEXT" in shown


@pytest.mark.parametrize("which", ["2", "old", "OLD"])
def test_loading_goes_on_in_the_old_conversation(
    store: ConversationStore, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    kept(store, "old", "other")
    engine = converse(store, f"/load {which}", "more")
    assert engine.prompts == ["u:old;a:about old;u:more;"]
    assert "> old\nabout old" in capsys.readouterr().err
    assert [info.num_turns for info in store.list()] == [4, 2]


def test_numbers_are_those_of_the_list_that_was_shown(store: ConversationStore) -> None:
    kept(store, "a needle", "b", "c")
    engine = converse(store, "/search needle", "/load 1", "more")
    assert engine.prompts == ["u:a needle;a:about a needle;u:more;"]


def test_loading_names_the_model_that_it_was_with(store: ConversationStore, capsys: pytest.CaptureFixture[str]) -> None:
    kept(store, "old", model="big")
    converse(store, "/load 1")
    assert "/model big" in capsys.readouterr().err


@pytest.mark.parametrize("which", ["absent", "0", "99", "-1", "9" * 50])
def test_loading_what_is_not_there_changes_nothing(
    store: ConversationStore, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    kept(store, "old")
    engine = converse(store, "one", f"/load {which}", "two")
    assert "/list shows them" in capsys.readouterr().err
    assert engine.prompts[-1] == "u:one;a:yes;u:two;"


def test_searching_shows_what_was_said(store: ConversationStore, capsys: pytest.CaptureFixture[str]) -> None:
    kept(store, "where is the treasure")
    converse(store, "/search treasure", "/search absent", "/search")
    shown = capsys.readouterr().err
    assert "where is the treasure" in shown
    assert "Nothing was found." in shown
    assert "/search needs" in shown


def test_renaming(store: ConversationStore) -> None:
    converse(store, "/rename too early", "one", "/rename Trees and more")
    assert titles(store) == ["Trees and more"]


@pytest.mark.parametrize(
    ("answer", "left"), [("y", ["b"]), ("是", ["b"]), ("n", ["b", "a"]), ("", ["b", "a"]), (EOFError(), ["b", "a"])]
)
def test_deleting_asks_first(store: ConversationStore, answer: str | BaseException, left: list[str]) -> None:
    kept(store, "a", "b")
    converse(store, "/delete 2", answer)
    assert titles(store) == left


def test_deleting_the_open_conversation_starts_another(store: ConversationStore) -> None:
    engine = converse(store, "one", "/delete", "y", "two")
    assert engine.prompts[-1] == "u:two;"
    assert titles(store) == ["two"]


def test_a_script_cannot_delete(store: ConversationStore) -> None:
    kept(store, "a")
    with pytest.raises(UsageError, match="terminal"):
        converse(store, "/delete 1", terminal=False)
    assert titles(store) == ["a"]
