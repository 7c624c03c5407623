"""The chat loop, with lines from a script instead of a keyboard."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_chat_engine import FakeEngine
from typed_lines import Script

from pocketseek.apps.chat import Chat
from pocketseek.cli.chat.conversation import Conversation
from pocketseek.cli.messages import Words
from pocketseek.errors import ContextLengthError, UsageError

CTRL_C = KeyboardInterrupt()


class InterruptingEngine(FakeEngine):
    """Ctrl-C is pressed in the middle of every answer to the question "slow"."""

    def _events(self, answer: str, max_tokens: int) -> Iterator:
        for number, event in enumerate(super()._events(answer, max_tokens)):
            if number == 2 and self.prompts[-1].endswith("slow;"):
                raise KeyboardInterrupt
            yield event


def converse(engine: FakeEngine, script: Script, *, terminal: bool = False, **options: object) -> Chat:
    chat = Chat(engine, **options)
    with pytest.MonkeyPatch.context() as patch:
        for stream in (sys.stdin, sys.stdout):
            patch.setattr(stream, "isatty", lambda: terminal)
        Conversation(chat, Words("en"), "tiny", script).run()
    return chat


def test_answers_are_printed_and_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    chat = converse(FakeEngine(), Script("one", "two"))
    assert capsys.readouterr().out == "yes\nyes\n"
    assert [message.content for message in chat.messages] == ["one", "yes", "two", "yes"]


def test_ctrl_c_stops_the_answer_and_not_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    engine = InterruptingEngine()
    script = Script("slow", "quick")
    chat = converse(engine, script, terminal=True)
    assert "[stopped]" in capsys.readouterr().err
    assert engine.num_open_streams == 0
    assert [message.content for message in chat.messages] == ["slow", "ye", "quick", "yes"]


def test_a_second_ctrl_c_leaves() -> None:
    script = Script(CTRL_C, CTRL_C, "never read")
    converse(FakeEngine(), script, terminal=True)
    assert script.num_left == 1


def test_ctrl_c_after_a_stopped_answer_leaves() -> None:
    script = Script("slow", CTRL_C, "never read")
    converse(InterruptingEngine(), script, terminal=True)
    assert script.num_left == 1


def test_one_ctrl_c_gives_a_hint_and_is_forgotten_after_the_next_line(capsys: pytest.CaptureFixture[str]) -> None:
    script = Script(CTRL_C, "one", CTRL_C, "two")
    chat = converse(FakeEngine(), script, terminal=True)
    assert len(chat.messages) == 4
    assert capsys.readouterr().err.count("Ctrl-C again") == 2


@pytest.mark.parametrize("word", ["/exit", "/quit", "/bye"])
def test_leaving_by_command(word: str) -> None:
    script = Script(word, "never read")
    converse(FakeEngine(), script)
    assert script.num_left == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_a_plain_exit_leaves_a_terminal_and_is_a_question_elsewhere(terminal: bool) -> None:
    engine = FakeEngine()
    converse(engine, Script("exit", "never read"), terminal=terminal)
    assert len(engine.prompts) == (0 if terminal else 2)


@pytest.mark.parametrize(
    "lines",
    [
        ('"""one', "/two", "", 'three"""'),
        ('"""', "one", "/two", "", "three", '"""'),
        ("!multi", "one", "/two", "", "three", "!end"),
    ],
)
def test_several_lines_are_one_question(lines: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine()
    converse(engine, Script(*lines, "four"), terminal=True)
    assert engine.prompts == ["u:one\n/two\n\nthree;", "u:one\n/two\n\nthree;a:yes;u:four;"]
    assert "The question ends with" in capsys.readouterr().err


def test_quotes_may_begin_and_end_one_line_and_mean_nothing_in_a_pipe() -> None:
    engine = FakeEngine()
    converse(engine, Script('"""/reset"""', '""""""', CTRL_C), terminal=True)
    converse(engine, Script('"""'))
    assert engine.prompts == ["u:/reset;", 'u:""";']


def test_ctrl_c_or_the_end_of_input_drops_what_was_begun() -> None:
    engine = FakeEngine()
    converse(engine, Script('"""one', CTRL_C, "two", '"""three'), terminal=True)
    assert engine.prompts == ["u:two;"]


def test_words_of_others_are_taken_or_answered(capsys: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine()
    converse(engine, Script("/?", "/set system be brief", "one", "/clear", "two"), terminal=True)
    assert engine.prompts == ["s:be brief;u:one;", "s:be brief;u:two;"]
    assert "/undo" in capsys.readouterr().err
    converse(engine, Script("/set parameter top_k 3", "/show info", "/regen"), terminal=True)
    told = capsys.readouterr().err
    assert "there is no /set: what is set here is /system TEXT" in told
    assert "pocketseek inspect MODEL" in told
    assert "/undo takes the answer back" in told


def test_blank_lines_are_not_questions() -> None:
    engine = FakeEngine()
    converse(engine, Script("", "   "))
    assert engine.prompts == []


def test_reset_and_system_start_afresh() -> None:
    engine = FakeEngine()
    converse(engine, Script("one", "/reset", "two", "/system be brief", "three", "/system", "four"))
    assert engine.prompts == ["u:one;", "u:two;", "s:be brief;u:three;", "u:four;"]


def test_the_last_question_can_be_taken_back(capsys: pytest.CaptureFixture[str]) -> None:
    chat = converse(FakeEngine(), Script("/undo", "one", "two", "/undo", "three"))
    assert [message.content for message in chat.messages][::2] == ["one", "three"]
    err = capsys.readouterr().err
    assert "nothing to take back" in err
    assert "are taken back" in err


def test_save_writes_the_conversation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "chat.txt"
    converse(FakeEngine(), Script("one", f"/save {path}"))
    assert path.read_text() == "[user]\none\n\n[assistant]\nyes\n\n"
    assert str(path) in capsys.readouterr().err


def test_help_and_unknown_commands_are_answered(capsys: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine()
    converse(engine, Script("/help", "/nonsense"))
    shown = capsys.readouterr().err
    assert "/system TEXT" in shown
    assert "no command /nonsense" in shown
    assert engine.prompts == []


@pytest.mark.parametrize("line", ["x" * 2000, "/save", "/save /absent/folder/file", "/list"])
def test_an_error_does_not_end_a_conversation_on_a_terminal(line: str) -> None:
    chat = converse(FakeEngine(), Script(line, "still here"), terminal=True)
    assert [message.content for message in chat.messages] == ["still here", "yes"]


@pytest.mark.parametrize(("line", "kind"), [("x" * 2000, ContextLengthError), ("/save", UsageError)])
def test_an_error_ends_a_piped_conversation(line: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        converse(FakeEngine(), Script(line))


def test_cut_and_forgotten_are_announced(capsys: pytest.CaptureFixture[str]) -> None:
    converse(FakeEngine(context_length=60), Script("a" * 30, "b" * 30), max_tokens=2)
    shown = capsys.readouterr().err
    assert "[cut at the token limit]" in shown
    assert "[the 2 oldest messages" in shown


def test_piped_lines_are_questions(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\ntwo"))
    chat = Chat(FakeEngine())
    Conversation(chat, Words("en"), "tiny").run()
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("yes\nyes\n", "")


def test_commands_do_not_care_about_capital_letters(capsys: pytest.CaptureFixture[str]) -> None:
    script = Script("/HELP", "/Exit now", "never read")
    converse(FakeEngine(), script)
    assert "/quit" in capsys.readouterr().err
    assert script.num_left == 1
