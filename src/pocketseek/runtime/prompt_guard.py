"""What people and tools write must not become special tokens: such tokens are broken up before a template sees them.

A mark is put behind the first character of each; the rendered text is cut at the marks and encoded piece by piece. It
holds for contents, names, ids, descriptions, schemas and arguments; in JSON for what its strings mean, whatever escapes
they are written with. While tools are offered, the tags around calls and results count as special, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pocketseek.text.tokenizer import Tokenizer
from pocketseek.text.tool_forms import FORM_TAGS
from pocketseek.types import Message, Tool, ToolCall

_MARK = "\ufdd0"  # a noncharacter: Unicode promises that it never stands for anything
_ESCAPED_MARK = re.compile(r"\\ufdd0", re.IGNORECASE)


class PromptGuard:
    """For one conversation. `mark` stands in none of its texts."""

    def __init__(self, messages: Sequence[Message], tools: Sequence[Tool], tokenizer: Tokenizer) -> None:
        settings = tokenizer.settings
        kept = (settings.reasoning_start, settings.reasoning_end)
        uses_tools = bool(tools) or any(message.tool_calls or message.role == "tool" for message in messages)
        names = dict.fromkeys((*tokenizer.special_tokens, *(FORM_TAGS if uses_tools else ())))
        self._special = [name for name in names if len(name) > 1 and name not in kept]
        self.mark = _MARK
        texts = list(_texts(messages, tools))
        while any(self.mark in text for text in texts):
            self.mark += _MARK

    def message(self, message: Message) -> Message:
        return replace(
            message,
            content=self.text(message.content),
            tool_calls=tuple(self._call(call) for call in message.tool_calls),
            tool_call_id=self.text(message.tool_call_id),
            name=self.text(message.name),
        )

    def tool(self, tool: Tool) -> Tool:
        """Its name is plain (prompt.py sees to it), its schema valid JSON."""
        return replace(tool, description=self.text(tool.description), parameters_json=self.json(tool.parameters_json))

    def text(self, text: str) -> str:
        for special in self._special:
            if special in text:
                text = text.replace(special, special[0] + self.mark + special[1:])
        return text

    def json(self, text: str) -> str:
        """Left as it is written unless an escape may hide something; what is no JSON is a text."""
        if "\\" not in text:
            return self.text(text)
        try:
            return json.dumps(self._value(json.loads(text)), ensure_ascii=False)
        except (ValueError, RecursionError):
            return self.text(text)

    def _call(self, call: ToolCall) -> ToolCall:
        return ToolCall(self.text(call.id), self.text(call.name), self.json(call.arguments))

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self._value(item) for key, item in value.items()}
        return value


def _texts(messages: Sequence[Message], tools: Sequence[Tool]) -> Iterable[str]:
    """All of them, JSON also with its escapes undone as far as a mark could come of it."""
    for message in messages:
        yield from (message.content, message.tool_call_id, message.name)
        for call in message.tool_calls:
            yield from (call.id, call.name, *_written(call.arguments))
    for tool in tools:
        yield from (tool.name, tool.description, *_written(tool.parameters_json))


def _written(text: str) -> tuple[str, str]:
    return text, _ESCAPED_MARK.sub(_MARK, text)
