"""How models write tool calls: the spelling of each form, and words for models whose template knows no tools.

- hermes: `<tool_call>` tags around JSON with name and arguments (Qwen, Hermes; also taught to models that know none).
- deepseek: DeepSeek-V3 and R1, marks of their own around a name and a block of JSON; deepseek_v31: the shorter one.
- llama: Llama 3.1, bare JSON with name and parameters.

`adapt` rewrites a conversation for a template that shows no tools, no calls or no results: definitions go into the
system message, calls into the assistant's text, results into the user's turns. What the template can, it does itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pocketseek.text.special_tokens import TOOL_TAGS
from pocketseek.types import Message, Tool, ToolCall, ToolForm

HERMES_TAGS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<tools>", "</tools>")
FORM_TAGS = (*TOOL_TAGS, *HERMES_TAGS)  # what nobody but the template may write while tools are offered


@dataclass(frozen=True)
class Spelling:
    """opening begin NAME middle ARGUMENTS end separator begin ... end closing. name_is_json: NAME is in a string."""

    begin: str
    middle: str
    end: str
    separator: str
    opening: str = ""
    closing: str = ""
    name_is_json: bool = False

    def write(self, calls: Sequence[ToolCall]) -> str:
        return self.opening + self.separator.join(map(self._write_one, calls)) + self.closing

    def _write_one(self, call: ToolCall) -> str:
        name = json.dumps(call.name, ensure_ascii=False)[1:-1] if self.name_is_json else call.name
        return self.begin + name + self.middle + call.arguments + self.end


SPELLINGS: Mapping[ToolForm, Spelling] = {
    "hermes": Spelling(
        '<tool_call>\n{"name": "', '", "arguments": ', "}\n</tool_call>", "\n", name_is_json=True
    ),
    "llama": Spelling('{"name": "', '", "parameters": ', "}", "\n", name_is_json=True),
    "deepseek": Spelling(
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        "\n```json\n",
        "\n```<｜tool▁call▁end｜>",
        "\n",
        opening="<｜tool▁calls▁begin｜>",
        closing="<｜tool▁calls▁end｜>",
    ),
    "deepseek_v31": Spelling(
        "<｜tool▁call▁begin｜>",
        "<｜tool▁sep｜>",
        "<｜tool▁call▁end｜>",
        "",
        opening="<｜tool▁calls▁begin｜>",
        closing="<｜tool▁calls▁end｜>",
    ),
}  # fmt: skip  # as one reads them


@dataclass(frozen=True)
class ToolSupport:
    """What a chat template shows by itself. text_beside_calls: an assistant's text too, when it has calls."""

    tools: bool
    calls: bool
    text_beside_calls: bool
    results: bool


def form_of_template(source: str) -> ToolForm:
    """The form that the template writes calls in; hermes if it writes none."""
    if "<｜tool▁call▁begin｜>" in source:
        return "deepseek" if "```json" in source else "deepseek_v31"
    if "<tool_call>" in source:
        return "hermes"
    is_llama = "<|python_tag|>" in source or ("ipython" in source and '"parameters": ' in source)
    return "llama" if is_llama else "hermes"


def definition(tool: Tool) -> dict[str, object]:
    """In OpenAI's and Hugging Face's form. The tool's schema must be valid JSON."""
    parameters: object = json.loads(tool.parameters_json)
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def adapt(messages: Sequence[Message], tools: Sequence[Tool], support: ToolSupport, form: ToolForm) -> list[Message]:
    """The same conversation in what the template shows."""
    adapted = [other for message in messages for other in _adapt_one(message, support, form)]
    if tools and not support.tools:
        words = introduction(tools, form)
        if adapted and adapted[0].role == "system":
            adapted[0] = replace(adapted[0], content=f"{adapted[0].content}\n\n{words}")
        else:
            adapted.insert(0, Message("system", words))
    return adapted


def _adapt_one(message: Message, support: ToolSupport, form: ToolForm) -> list[Message]:
    if message.role == "tool" and not support.results:
        return [Message("user", f"<tool_response>\n{message.content}\n</tool_response>")]
    if message.tool_calls and not support.calls:
        text = SPELLINGS[form].write(message.tool_calls)
        content = f"{message.content}\n{text}" if message.content.strip() else text
        return [replace(message, content=content, tool_calls=())]
    if message.tool_calls and message.content.strip() and not support.text_beside_calls:
        return [replace(message, tool_calls=()), replace(message, content="")]
    return [message]


def introduction(tools: Sequence[Tool], form: ToolForm) -> str:
    """What to tell a model whose template does not."""
    definitions = "\n".join(json.dumps(definition(tool), ensure_ascii=False) for tool in tools)
    example = SPELLINGS[form].write([ToolCall("", "NAME", "ARGUMENTS")])
    return (
        "You can call functions when they help with what the user wants. These are there, with JSON schemas of their "
        f"arguments:\n<tools>\n{definitions}\n</tools>\n"
        "To call one, write exactly this, with its name and its arguments as a JSON object, and then stop:\n"
        f"{example}\n"
        "The results come in the next message. If no function is needed, answer as usual."
    )
