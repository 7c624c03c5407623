"""The chat loop: lines in, answers out, commands that start with a slash.

On a terminal, lines are edited with prompt_toolkit, Ctrl-C stops an answer and a second one leaves, and an error that
concerns one question is shown without ending the conversation. With standard input from a pipe every line is a
question, nothing is asked, and an error ends the program as it does everywhere else.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pocketseek.apps.chat import Chat
from pocketseek.apps.chat_history import ChatHistory
from pocketseek.apps.conversation import Conversation as KeptConversation
from pocketseek.apps.conversation import ConversationInfo
from pocketseek.cli import messages
from pocketseek.cli.chat import chat_messages
from pocketseek.cli.chat.history_commands import NAMES, HistoryCommands
from pocketseek.cli.chat.line_blocks import end_of_block, read_block, whole_block
from pocketseek.cli.console import AnswerPrinter, note, note_list, print_text
from pocketseek.cli.messages import Words
from pocketseek.cli.run.heat_note import HeatNote
from pocketseek.cli.run.min_speed import SpeedFloor
from pocketseek.cli.text_input import read_stdin_line, unseen_typing
from pocketseek.errors import (
    BusyError,
    ContextLengthError,
    DownloadError,
    FormatError,
    IntegrityError,
    MemoryLimitError,
    ModelOutputError,
    NotFoundError,
    StorageError,
    TemplateError,
    UnsupportedError,
    UsageError,
)

if TYPE_CHECKING:
    from pocketseek.cli.chat.chat_model import ModelSlot, OpenModel
    from pocketseek.govern.thermal_governor import ThermalStatus

_OF_QUESTIONS = (ContextLengthError, MemoryLimitError, ModelOutputError, StorageError, TemplateError, UsageError)
_OF_COMMANDS = (BusyError, DownloadError, FormatError, IntegrityError, NotFoundError, UnsupportedError)


_LEAVING = ("/exit", "/quit", "/bye")
_SAME = {"/?": "/help", "/clear": "/reset", "/new": "/reset"}  # words that people bring along: docs/coming-from.md
_NO_COMMAND = {
    "/set": "what is set here is /system TEXT; other options are given when the chat starts, see `pocketseek chat -h`",
    "/show": "`pocketseek inspect MODEL` shows a model; /model lists those that are installed",
    "/regen": "/undo takes the answer back, and the arrow key up brings its question back",
    "/read": '`pocketseek doc ask FILE QUESTION` reads a document; a text can be pasted between two """',
}


class LineReader(Protocol):
    """Returns a line without its end. Raises EOFError when there are no more, KeyboardInterrupt at Ctrl-C."""

    def __call__(self) -> str: ...


class Conversation:
    """Ties a Chat to a terminal or a pipe.

    read_line: by default what suits standard input. history: None keeps nothing. slot: None cannot change the model.
    """

    def __init__(
        self,
        chat: Chat,
        words: Words,
        model_name: str,
        read_line: LineReader | None = None,
        floor: SpeedFloor | None = None,
        *,
        history: ChatHistory | None = None,
        slot: ModelSlot | None = None,
    ) -> None:
        self._chat = chat
        self._words = words
        self._model_name = model_name
        self._floor = floor
        self._interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._read_line = read_line or (_terminal_reader() if self._interactive else _pipe_reader())
        self._commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _: note_list(self._words(chat_messages.HELP)),
            "/reset": lambda _: self._reset(None),
            "/undo": lambda _: self._undo(),
            "/system": self._reset,
            "/save": self._save,
        }
        self._heat = HeatNote(words)
        self._slot = slot
        if slot is not None:
            self._commands["/model"] = self._switch_model
        self._history = history
        self._kept = HistoryCommands(chat, history, self._say, self._confirm) if history is not None else None
        self._commands |= self._kept.commands if self._kept is not None else dict.fromkeys(NAMES, _not_kept)

    def run(self, resumed: KeptConversation | None = None) -> None:
        """Until the user leaves. resumed: what to go on with."""
        if self._interactive:
            print_text(self._words(chat_messages.WELCOME, name=self._model_name))
        if resumed is not None and self._kept is not None:
            self._kept.resume(resumed, self._model_name)
        self._heat.see(self._thermal_status())
        interrupted = False  # was the last thing that happened a Ctrl-C?
        while True:
            try:
                line, is_question = self._read()
            except EOFError:
                return
            except KeyboardInterrupt:
                if interrupted or not self._interactive:
                    return
                self._say(chat_messages.LEAVE_HINT)
                interrupted = True
                continue
            if not is_question and self._leaves(line):
                return
            interrupted = bool(line) and not self._handle(line, is_command=line.startswith("/") and not is_question)

    def _read(self) -> tuple[str, bool]:
        """What was typed, and whether it is a question whatever it begins with: a block of lines is, on a terminal."""
        line = self._read_line().strip()
        if not self._interactive:
            return line, False
        end = end_of_block(line)
        if end is not None:
            self._say(chat_messages.BLOCK, end=end)
            return read_block(line, end, self._read_line), True
        whole = whole_block(line)
        return (line, False) if whole is None else (whole, True)

    def _leaves(self, line: str) -> bool:
        return _command_of(line) in _LEAVING or (self._interactive and line.lower() in ("exit", "quit"))

    def _handle(self, line: str, *, is_command: bool) -> bool:
        """A command or a question; False if Ctrl-C stopped its answer."""
        survivable = _OF_QUESTIONS + _OF_COMMANDS if is_command else _OF_QUESTIONS
        try:
            if is_command:
                self._run_command(line)
            else:
                self._answer(line)
        except KeyboardInterrupt:
            self._say(chat_messages.STOPPED)
            return False
        except survivable as error:
            if not self._interactive:
                raise
            note(str(error))
        return True

    def _run_command(self, line: str) -> None:
        typed, _, argument = line.partition(" ")
        name = typed.lower()
        if name == "/set" and argument.split(" ")[0] == "system":
            name, argument = "/system", argument.partition(" ")[2]
        command = self._commands.get(_SAME.get(name, name))
        if command is None and name in _NO_COMMAND:
            raise UsageError(f"there is no {name}: {_NO_COMMAND[name]}")
        if command is None:
            self._say(chat_messages.UNKNOWN_COMMAND, command=typed)
        else:
            command(argument.strip())

    def _answer(self, question: str) -> None:
        printer = AnswerPrinter(self._words(messages.READING_PROMPT))
        num_forgotten = self._chat.num_forgotten
        finish_reason = None
        if self._floor is not None:
            self._floor.begin()
        try:
            watching = self._heat.watching(self._thermal_status)
            with unseen_typing(), watching, closing(self._chat.ask(question)) as events:
                for event in events:
                    printer.write(event.text, event.reasoning)
                    if self._floor is not None:
                        self._floor.see(event.num_tokens, time.perf_counter())
                    finish_reason = event.finish_reason
        finally:
            printer.end()
            if self._floor is not None:
                self._floor.end()
        self._heat.see(self._thermal_status())
        if self._slot is not None and finish_reason is not None:
            self._slot.note_answer()
        if finish_reason == "length":
            self._say(messages.ANSWER_CUT)
        if self._chat.num_forgotten > num_forgotten:
            self._say(chat_messages.DROPPED, count=self._chat.num_forgotten)

    def _thermal_status(self) -> ThermalStatus | None:
        return None if self._slot is None else self._slot.current.engine.thermal_status()

    def _reset(self, system: str | None) -> None:
        self._chat.reset(system)
        self._say(chat_messages.RESET)

    def _undo(self) -> None:
        self._say(chat_messages.UNDONE if self._chat.undo() else chat_messages.NOTHING_SAID)

    def _save(self, name: str) -> None:
        if not name and self._kept is not None:
            self._kept.tell_kept()
            return
        if not name:
            raise UsageError("/save needs the name of a file, since this conversation is not kept")
        path = Path(name).expanduser()
        self._chat.save(path)
        self._say(chat_messages.SAVED, path=path)

    def _switch_model(self, name: str) -> None:
        if self._slot is None or not name:
            names = ", ".join(self._slot.names()) if self._slot is not None else ""
            self._say(chat_messages.MODELS, current=self._model_name, models=names)
            return
        try:
            self._slot.switch(name)
        finally:
            self._take(self._slot.current)
        self._say(chat_messages.SWITCHED, name=self._model_name)

    def _take(self, opened: OpenModel) -> None:
        self._chat.use(opened.engine, opened.sampling)
        self._model_name, self._floor = opened.name, opened.floor
        if self._history is not None:
            self._history.use_model(opened.name)

    def _confirm(self, question: messages.Message, info: ConversationInfo) -> bool:
        if not self._interactive:
            raise UsageError("a conversation is deleted by a person; use a terminal")
        self._say(question, title=info.title, count=info.num_turns)
        try:
            return self._read_line().strip().lower() in ("y", "yes", "是")
        except (EOFError, KeyboardInterrupt):
            return False

    def _say(self, message: messages.Message, **values: object) -> None:
        note(self._words(message, **values))


def _not_kept(_: str) -> None:
    raise UsageError("conversations are not kept here; --history keeps them")


def _command_of(line: str) -> str:
    return line.partition(" ")[0].lower()


def _pipe_reader() -> LineReader:
    def read() -> str:
        line = read_stdin_line()
        if not line:
            raise EOFError
        return line

    return read


def _terminal_reader() -> LineReader:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory

    session: PromptSession[str] = PromptSession("> ", history=InMemoryHistory())
    return session.prompt
