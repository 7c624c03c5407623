"""Training data as files: .jsonl, a JSON object on every line, or plain text. Bad lines are told by their number.

A line is {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}, ...]}, as OpenAI's
fine-tuning has it, or {"text": "..."}. Other keys of a line ("id" ...) are left alone; tool calls of a message are
refused, since they would change what is learnt. All of it is read before anything else is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pocketseek.errors import FormatError, NotFoundError, StorageError, UsageError
from pocketseek.types import Message

MAX_FILE_BYTES = 1_000_000_000
MAX_LINE_BYTES = 16_000_000
_ROLES = ("system", "user", "assistant")
_WHERE = "see docs/adapt-train.md for what a line may be"


@dataclass(frozen=True)
class Example:
    """A conversation or a text. line: where it stood, for messages about it; 0: the whole of a text file."""

    messages: tuple[Message, ...] = ()
    text: str = ""
    line: int = 0


@dataclass(frozen=True)
class DataFile:
    """sha256: of the file, so that an interrupted training goes on with the same data or not at all."""

    path: Path
    examples: tuple[Example, ...]
    sha256: str


def read_data(path: Path) -> DataFile:
    """Raises NotFoundError, StorageError, UsageError (too large, empty, of another kind), FormatError (a bad line)."""
    if path.suffix not in (".jsonl", ".txt"):
        raise UsageError(f"{path} is neither .jsonl nor .txt; give conversations as .jsonl or plain text as .txt")
    data = _read(path)
    examples = tuple(_lines(path, data)) if path.suffix == ".jsonl" else _text(path, data)
    if not examples:
        raise UsageError(f"{path} has nothing to learn from; give a file with examples")
    return DataFile(path, examples, hashlib.sha256(data).hexdigest())


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise StorageError(f"{path} is not a regular file; give a file")
            if status.st_size > MAX_FILE_BYTES:
                raise UsageError(f"{path} is larger than {MAX_FILE_BYTES / 1e6:g} MB; give a part of it")
            return file.read()
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist; check the path") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}); give a file that you may read") from error


def _without_waiting(name: str, flags: int) -> int:
    """A pipe in place of a file would wait for ever."""
    return os.open(name, flags | os.O_NONBLOCK)


def _text(path: Path, data: bytes) -> tuple[Example, ...]:
    text = _decoded(data, str(path))
    return (Example(text=text),) if text.strip() else ()


def _lines(path: Path, data: bytes) -> Iterator[Example]:
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        if len(line) > MAX_LINE_BYTES:
            raise FormatError(f"{where} is longer than {MAX_LINE_BYTES / 1e6:g} MB; divide it")
        try:
            value: object = json.loads(_decoded(line, where))
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{where} is not valid JSON ({_reason(error)}); {_WHERE}") from error
        yield _example(value, number, where)


def _example(value: object, number: int, where: str) -> Example:
    if not isinstance(value, dict):
        raise FormatError(f"{where} is not a JSON object; {_WHERE}")
    if ("messages" in value) == ("text" in value):
        raise FormatError(f'{where} has to have either "messages" or "text"; {_WHERE}')
    if "text" in value:
        text = value["text"]
        if not isinstance(text, str) or not text.strip():
            raise FormatError(f'{where}: "text" is not a text with something in it; {_WHERE}')
        return Example(text=text, line=number)
    return Example(messages=_messages(value["messages"], where), line=number)


def _messages(value: object, where: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise FormatError(f'{where}: "messages" is not a list of messages; {_WHERE}')
    messages = tuple(_message(item, f"{where}, message {index}") for index, item in enumerate(value, start=1))
    if not any(message.role == "assistant" for message in messages):
        raise FormatError(f"{where} has no message of the assistant, so there is nothing to learn; {_WHERE}")
    return messages


def _message(value: object, where: str) -> Message:
    if not isinstance(value, dict):
        raise FormatError(f"{where} is not an object; {_WHERE}")
    role, content = value.get("role"), value.get("content")
    if role not in _ROLES:
        raise FormatError(f"{where} has the role {str(role)[:40]!r}; use one of {', '.join(_ROLES)}")
    if value.get("tool_calls"):
        raise FormatError(f"{where} has tool calls, which cannot be trained yet; leave the line out")
    if not isinstance(content, str):
        raise FormatError(f"{where} has no content that is text; {_WHERE}")
    if role == "assistant" and not content.strip():
        raise FormatError(f"{where} is an empty answer; leave the line out")
    return Message(role, content)


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{where} is not UTF-8 text (byte {error.start}); convert it to UTF-8") from error


def _reason(error: ValueError | RecursionError) -> str:
    return f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else "nested too deeply"
