"""A conversation keeps what was said, fits it into the context, and survives being stopped."""

import errno
import json
import os
from pathlib import Path

import pytest
from fake_chat_engine import FakeEngine

from pocketseek.apps.chat import Chat
from pocketseek.errors import ContextLengthError, StorageError, UsageError
from pocketseek.types import Message


def said(chat: Chat, text: str) -> str:
    return "".join(event.text for event in chat.ask(text))


def test_answers_become_part_of_the_next_prompt() -> None:
    engine = FakeEngine()
    chat = Chat(engine, system="be brief")
    assert said(chat, "one") == said(chat, "two") == "yes"
    assert engine.prompts == ["s:be brief;u:one;", "s:be brief;u:one;a:yes;u:two;"]
    assert chat.messages == [
        Message("system", "be brief"),
        Message("user", "one"),
        Message("assistant", "yes"),
        Message("user", "two"),
        Message("assistant", "yes"),
    ]


def test_oldest_turns_are_left_out_when_the_context_is_full_but_never_the_system_message() -> None:
    engine = FakeEngine(context_length=60)
    chat = Chat(engine, system="sys", max_tokens=10)
    for number in range(8):
        said(chat, f"question {number}")
    assert all(len(prompt) <= 50 and prompt.startswith("s:sys;u:question") for prompt in engine.prompts)
    assert engine.prompts[-1].endswith("u:question 7;")
    assert chat.num_forgotten > 0
    assert len(chat.messages) == 17  # nothing is lost


def test_a_question_too_long_alone_is_refused_and_forgotten() -> None:
    chat = Chat(FakeEngine(context_length=40))
    said(chat, "short")
    before = chat.messages
    with pytest.raises(ContextLengthError):
        said(chat, "x" * 50)
    assert chat.messages == before
    assert said(chat, "short again") == "yes"


def test_a_stopped_answer_keeps_what_was_read_and_frees_the_stream() -> None:
    engine = FakeEngine(answer=lambda prompt: "a long answer")
    chat = Chat(engine)
    events = chat.ask("go")
    assert "".join(next(events).text for _ in range(6)) == "a long"
    events.close()
    assert engine.num_open_streams == 0
    assert chat.messages[-1] == Message("assistant", "a long")


def test_a_question_stopped_before_its_answer_began_is_forgotten() -> None:
    chat = Chat(FakeEngine(answer=lambda prompt: ""))
    assert said(chat, "go") == ""
    assert chat.messages == []


def test_reset_forgets_the_turns_and_can_change_the_system_message() -> None:
    chat = Chat(FakeEngine(), system="old")
    said(chat, "one")
    chat.reset()
    assert chat.messages == [Message("system", "old")]
    chat.reset("new")
    assert chat.messages == [Message("system", "new")]
    chat.reset("")
    assert chat.messages == []


def test_saved_json_holds_every_message(tmp_path: Path) -> None:
    chat = Chat(FakeEngine(answer=lambda prompt: "巴黎"), system="sys")
    said(chat, "首都?")
    chat.save(tmp_path / "chat.json")
    saved = json.loads((tmp_path / "chat.json").read_text("utf-8"))
    assert [Message(**message) for message in saved["messages"]] == chat.messages


def test_saved_text_is_readable(tmp_path: Path) -> None:
    chat = Chat(FakeEngine())
    said(chat, "ok?")
    chat.save(tmp_path / "chat.txt")
    assert (tmp_path / "chat.txt").read_text() == "[user]\nok?\n\n[assistant]\nyes\n\n"


def test_saving_never_overwrites_a_file(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text("mine")
    with pytest.raises(UsageError, match="another name"):
        Chat(FakeEngine()).save(path)
    assert path.read_text() == "mine"


def test_saving_where_it_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Chat(FakeEngine()).save(tmp_path / "absent" / "chat.txt")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="full"):
        Chat(FakeEngine()).save(tmp_path / "chat.txt")
    assert list(tmp_path.iterdir()) == []
