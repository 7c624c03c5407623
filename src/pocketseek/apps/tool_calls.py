"""Tool calls in an answer: found while it is being written, or forced by a constraint.

    parser = ToolCallParser(engine.tool_form)
    for piece in texts: events = parser.push(piece)          # Content, CallStart, CallArguments, in order
    events = parser.flush()

Read are `<tool_call>{JSON}</tool_call>` (hermes), DeepSeek's marks in both forms, and the bare JSON of Llama 3.1, which
counts only at the beginning of an answer and behind another call.

A call begins as soon as its name and the opening brace of its arguments have been read; from there on, its arguments
come out as they are written, up to the brace that closes them, also if the answer is cut off before. What turns out to
be no call before that is content, tags included. White space and marks next to calls are dropped, everything else comes
out exactly once. The text is read character by character, so the events, joined, do not depend on how it was cut.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from pocketseek.apps.call_grammar import GRAMMARS, Braces, whole_call
from pocketseek.errors import UsageError
from pocketseek.runtime.constrain import JSON_WHITE_SPACE
from pocketseek.runtime.schema_bounds import check_multiples, check_schema
from pocketseek.text.tool_forms import SPELLINGS
from pocketseek.types import Constraint, Tool, ToolForm

MAX_PARALLEL_CALLS = 8  # that a constraint lets a model make

_SPACE = " \n\r\t"
_MOST_SPACE = 512  # characters before a call that are dropped
_MOST_HEADER = 4096
_VALUES = ("enum", "const", "default", "examples")  # hold values, no schemas


@dataclass(frozen=True)
class Content:
    text: str


@dataclass(frozen=True)
class CallStart:
    """index: 0 for the first call of an answer."""

    index: int
    id: str
    name: str


@dataclass(frozen=True)
class CallArguments:
    """A piece of the JSON text of a call's arguments."""

    index: int
    text: str


Event = Content | CallStart | CallArguments


class _State(Enum):
    CONTENT = auto()
    HEADER = auto()  # of a call: nothing of it came out yet
    ARGUMENTS = auto()
    TRAILER = auto()


class ToolCallParser:
    """Of one answer. Not for use from several threads at once."""

    def __init__(self, form: ToolForm, *, new_id: Callable[[], str] | None = None) -> None:
        """new_id: of a call; by default random."""
        self._grammar = GRAMMARS[form]
        self._new_id = new_id or _random_id
        self._state = _State.CONTENT
        self._may_be_bare = not self._grammar.opens  # nothing but white space and calls has come so far
        self._follows_call = False
        self._held = ""  # not decided on yet: in CONTENT space, marks and the beginning of one; else all since the tag
        self._before = ""  # held content before the tag of a call that has not begun
        self._braces = Braces()
        self._events: list[Event] = []
        self.num_calls = 0

    def push(self, text: str) -> list[Event]:
        for character in text:
            self._step(character)
        return self._take_events()

    def flush(self) -> list[Event]:
        """The answer is over: what is still held."""
        if self._state is _State.HEADER:
            self._end_header(complete=not self._grammar.closes)
        elif self._state is _State.TRAILER:
            self._end_call(self._held)
        if self._state is _State.CONTENT:
            self._write(self._unmarked(self._held) if self._follows_call else self._held)
        self._held = ""
        return self._take_events()

    def _take_events(self) -> list[Event]:
        events, self._events = join_events(self._events), []
        return events

    def _step(self, character: str) -> None:
        if self._state is _State.CONTENT:
            self._step_content(character)
        elif self._state is _State.HEADER:
            self._step_header(character)
        elif self._state is _State.ARGUMENTS:
            self._argue(character)
        else:
            self._step_trailer(character)

    # -- content: what is no call, and where one begins -----------------------------------------------------------

    def _step_content(self, character: str) -> None:
        self._held += character
        grammar = self._grammar
        if grammar.opens and self._held.endswith(grammar.opens):
            self._begin(self._held.removesuffix(grammar.opens), "")
        elif self._may_be_bare and character == "{" and not self._unmarked(self._held[:-1]):
            self._begin(self._held[:-1], character)
        else:
            self._release()

    def _begin(self, before: str, body: str) -> None:
        """before: space and marks."""
        self._before, self._held, self._state = before, "", _State.HEADER
        self._braces = Braces()
        if body:
            self._step_header(body)

    def _release(self) -> None:
        """Let go of what surely is content: all but space, marks, and what may become one, at the end."""
        if len(self._held) > _MOST_SPACE:  # more of it is content, or every step would look at all of it
            far, self._held = self._held[:-_MOST_SPACE], self._held[-_MOST_SPACE:]
            self._write(self._unmarked(far) if self._follows_call else far)
        keep = len(self._held)
        while keep and not self._may_precede_call(self._held[len(self._held) - keep :]):
            keep -= 1
        sure = self._held[: len(self._held) - keep]
        self._held = self._held[len(sure) :]
        if sure:
            self._write(self._unmarked(sure) if self._follows_call else sure)
            self._may_be_bare = self._follows_call = False

    def _may_precede_call(self, text: str) -> bool:
        rest = self._unmarked(text)
        tags = (*self._grammar.between, self._grammar.opens)
        return not rest or any(tag.startswith(rest) for tag in tags)

    def _unmarked(self, text: str) -> str:
        """Without the space and the marks that it begins with."""
        while True:
            rest = text.lstrip(_SPACE)
            mark = next((mark for mark in self._marks if rest.startswith(mark)), "")
            text = rest.removeprefix(mark)
            if not mark:
                return text

    @property
    def _marks(self) -> tuple[str, ...]:
        """A semicolon is a mark behind a call only."""
        return self._grammar.between if self._grammar.opens or self.num_calls else ()

    def _write(self, text: str) -> None:
        if text:
            self._events.append(Content(text))

    # -- a call ---------------------------------------------------------------------------------------------------

    def _step_header(self, character: str) -> None:
        self._held += character
        closes = self._grammar.closes
        if closes and self._held.endswith(closes):
            self._end_header(complete=True)
        elif character == "{" and (name := self._name_in_header()) is not None:
            self._start(name)
            self._held, self._braces, self._state = "", Braces(), _State.ARGUMENTS
            self._argue(character)
        elif not closes and self._braces.closes_with(character):
            self._end_header(complete=True)

    def _name_in_header(self) -> str | None:
        """Long ones are read when they are complete, or every brace would have all of it looked at."""
        return self._grammar.name_in(self._held) if len(self._held) <= _MOST_HEADER else None

    def _end_header(self, *, complete: bool) -> None:
        """A call that did not begin as usual: read as a whole, or content."""
        grammar, body = self._grammar, self._held
        call = whole_call(body.removesuffix(grammar.closes)) if complete else None
        self._state, self._held = _State.CONTENT, ""
        if call is None:
            self._write(self._before + grammar.opens + body)
            self._may_be_bare = self._follows_call = False
            return
        self._follows_call = True
        self._start(call[0])
        self._events.append(CallArguments(self.num_calls - 1, call[1]))

    def _start(self, name: str) -> None:
        self._events.append(CallStart(self.num_calls, self._new_id(), name))
        self.num_calls += 1

    def _argue(self, character: str) -> None:
        if character == "<" and not self._braces.in_string:  # no JSON: a model that forgot a brace
            self._state, self._held = _State.TRAILER, character
            return
        self._events.append(CallArguments(self.num_calls - 1, character))
        if self._braces.closes_with(character):
            self._state, self._held = _State.TRAILER, ""

    def _step_trailer(self, character: str) -> None:
        self._held += character
        grammar = self._grammar
        if grammar.closes and self._held.endswith(grammar.closes):
            self._end_call(self._held.removesuffix(grammar.closes))
        elif not grammar.closes and not character.isspace():
            self._end_call(self._held)

    def _end_call(self, trailer: str) -> None:
        self._state, self._held = _State.CONTENT, ""
        self._follows_call = trailer.strip() in (*self._grammar.trailers, "")
        if not self._follows_call:
            self._may_be_bare = False
            self._write(trailer)


def _random_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def join_events(events: Sequence[Event]) -> list[Event]:
    """The same with neighbouring pieces of one kind put together."""
    joined: list[Event] = []
    for event in events:
        last = joined[-1] if joined else None
        if isinstance(event, Content) and isinstance(last, Content):
            joined[-1] = Content(last.text + event.text)
        elif isinstance(event, CallArguments) and isinstance(last, CallArguments) and last.index == event.index:
            joined[-1] = CallArguments(event.index, last.text + event.text)
        else:
            joined.append(event)
    return joined


def tool_constraint(tools: Sequence[Tool], choice: str, form: ToolForm, *, parallel: bool = False) -> Constraint:
    """An answer that is a well-formed call. choice: "required" (any tool) or a tool's name.

    parallel: with "required", several calls may follow each other (weak models repeat theirs). Raises UsageError for a
    name that no tool has; a schema that cannot be used is found when the constraint is.
    """
    chosen = [tool for tool in tools if choice in ("required", tool.name)]
    if not chosen:
        names = ", ".join(tool.name for tool in tools) or "none is offered"
        raise UsageError(f"no tool is named {choice!r:.40}; choose one of the tools ({names:.200})")
    check_multiples([_schema(tool) for tool in chosen])
    spelling = SPELLINGS[form]
    calls = [f"call{i}: {_call_rule(tool, form)}" for i, tool in enumerate(chosen)]
    any_call = "call: " + " | ".join(f"call{i}" for i in range(len(chosen)))
    most = MAX_PARALLEL_CALLS - 1 if parallel and choice == "required" else 0
    more = f" ({_literal(spelling.separator)} call){{0,{most}}}" if most else ""
    start = f"start: {_literal(spelling.opening)} call{more} {_literal(spelling.closing)}"
    return Constraint("lark", "\n".join([start, any_call, *calls]))


def _call_rule(tool: Tool, form: ToolForm) -> str:
    spelling = SPELLINGS[form]
    schema = json.dumps(_schema(tool) | {"x-guidance": {"whitespace_pattern": JSON_WHITE_SPACE}})
    return f"{_literal(spelling.begin + tool.name + spelling.middle)} %json {schema} {_literal(spelling.end)}"


def _schema(tool: Tool) -> dict[str, object]:
    try:
        schema = json.loads(tool.parameters_json)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        raise UsageError(f"the parameters of the tool {tool.name} are no JSON object; give a JSON schema")
    check_schema(schema)
    shut: dict[str, object] = closed(schema)
    return shut


def closed(schema: object) -> Any:
    """The schema in which objects have only the properties that are listed, where it does not say otherwise: small
    models go on inventing others as long as they may."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {name: value if name in _VALUES else closed(value) for name, value in schema.items()}
    says_more = {"additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref"} & schema.keys()
    if isinstance(schema.get("properties"), dict) and schema.get("type") in (None, "object") and not says_more:
        return {**inside, "additionalProperties": False}
    return inside


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if text else ""
