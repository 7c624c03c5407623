"""How tool calls are read: the tags of each form, where a call's name and arguments stand, where a JSON object ends."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pocketseek.types import ToolForm

_HEADER_CHARACTERS = 512  # a longer beginning of a call is read as a whole only


@dataclass(frozen=True)
class CallGrammar:
    """opens, closes: the tags of a call, empty if a call is bare JSON. between: marks that belong to no call and to no
    text. header: name and what stands before the arguments. trailers: what may stand behind them.
    """

    opens: str
    closes: str
    between: tuple[str, ...]
    header: re.Pattern[str]
    trailers: tuple[str, ...]

    def name_in(self, beginning: str) -> str | None:
        """The name of a call that was read up to the opening brace of its arguments; None if it is not so."""
        header = self.header.match(beginning) if len(beginning) <= _HEADER_CHARACTERS else None
        if header is None:
            return None
        name = next(group for group in header.groups() if group is not None)
        return _json_string(name) if name.startswith('"') else name


_JSON_HEADER = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{\Z)')
_DEEPSEEK = CallGrammar(
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
    re.compile(r"(?:\s*function\s*<｜tool▁sep｜>([^<\s]+)\s*```(?:json)?\s*|\s*([^<\s]+)\s*<｜tool▁sep｜>\s*)(?=\{\Z)"),
    ("", "```"),
)
GRAMMARS: Mapping[ToolForm, CallGrammar] = {
    "hermes": CallGrammar("<tool_call>", "</tool_call>", (), _JSON_HEADER, ("", "}")),
    "llama": CallGrammar("", "", (";",), _JSON_HEADER, ("}",)),
    "deepseek": _DEEPSEEK,
    "deepseek_v31": _DEEPSEEK,
}


class Braces:
    """Where a JSON object ends: at the brace that closes the first one, outside of strings."""

    def __init__(self) -> None:
        self._depth = 0
        self.in_string = self._escaped = False

    def closes_with(self, character: str) -> bool:
        if self.in_string:
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = True
            elif character == '"':
                self.in_string = False
            return False
        if character == '"':
            self.in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            return self._depth == 0
        return False


def whole_call(body: str) -> tuple[str, str] | None:
    """Name and arguments of JSON in another order, or with arguments in a string; None if it is no call."""
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", call.get("parameters", {}))
    if isinstance(arguments, str):
        return (call["name"], arguments) if _is_object(arguments) else None
    return (call["name"], json.dumps(arguments, ensure_ascii=False)) if isinstance(arguments, dict) else None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _json_string(quoted: str) -> str | None:
    try:
        return str(json.loads(quoted))
    except ValueError:
        return None
