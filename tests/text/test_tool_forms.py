"""Templates that know tools show them themselves; for others the conversation is put into words."""

import json

import pytest

from pocketseek.text.chat_template import DEFAULT_TEMPLATE, ChatTemplate
from pocketseek.text.tool_forms import ToolSupport
from pocketseek.types import Message, Tool, ToolCall, ToolForm

# Shortened from those of Qwen 2.5, DeepSeek-R1 (which shows calls only beside no text, and no definitions) and Llama.
QWEN = (
    "{%- if tools %}<|system|># Tools{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}<|end|>{% endif %}"
    "{%- for m in messages %}"
    "{%- if m.role == 'tool' %}<|user|><tool_response>{{ m.content }}</tool_response><|end|>"
    "{%- else %}<|{{ m.role }}|>{% if m.content %}{{ m.content }}{% endif %}"
    "{%- for call in m.tool_calls %}{% set call = call.function %}"
    '<tool_call>{"name": "{{ call.name }}", "arguments": {{ call.arguments | tojson }}}</tool_call>'
    "{%- endfor %}<|end|>{%- endif %}{%- endfor %}"
)
R1 = (
    "{%- for m in messages %}"
    "{%- if m['role'] == 'user' %}<|user|>{{ m['content'] }}{%- endif %}"
    "{%- if m['role'] == 'system' %}{{ m['content'] }}{%- endif %}"
    "{%- if m['role'] == 'assistant' and m['content'] is none %}"
    "{%- for tool in m['tool_calls'] %}"
    "{{ '<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\\n' + '```json' "
    "+ '\\n' + tool['function']['arguments'] + '\\n' + '```' + '<｜tool▁call▁end｜>' }}{%- endfor %}"
    "{%- elif m['role'] == 'assistant' %}<|assistant|>{{ m['content'] }}<|end|>{%- endif %}"
    "{%- if m['role'] == 'tool' %}<｜tool▁output▁begin｜>{{ m['content'] }}{%- endif %}"
    "{%- endfor %}"
)
PLAIN = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"

TOOL = Tool("look_up", "Looks.", '{"type": "object", "properties": {"word": {"type": "string"}}}')
CALL = ToolCall("call_1", "look_up", '{"word": "é"}')
TALK = [
    Message("user", "What is é?"),
    Message("assistant", "I look.", (CALL,)),
    Message("tool", "A letter.", tool_call_id="call_1", name="look_up"),
]


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, "", "")


@pytest.mark.parametrize(
    ("source", "support", "form"),
    [
        (QWEN, ToolSupport(tools=True, calls=True, text_beside_calls=True, results=True), "hermes"),
        (R1, ToolSupport(tools=False, calls=True, text_beside_calls=False, results=True), "deepseek"),
        (PLAIN, ToolSupport(tools=False, calls=False, text_beside_calls=False, results=False), "hermes"),
        (DEFAULT_TEMPLATE, ToolSupport(tools=False, calls=False, text_beside_calls=False, results=False), "hermes"),
    ],
)
def test_support_is_found_by_trying(source: str, support: ToolSupport, form: ToolForm) -> None:
    assert template(source).tool_support() == support
    assert template(source).tool_form == form


@pytest.mark.parametrize(
    ("words", "form"),
    [
        ("{# <｜tool▁call▁begin｜> #}", "deepseek_v31"),
        ("{# ipython #}{{ '\"parameters\": ' }}", "llama"),
        ("{{ '<|python_tag|>' }}", "llama"),
        ("{{ '<tool_call>' }}", "hermes"),
    ],
)
def test_forms_are_told_by_the_words_of_the_template(words: str, form: ToolForm) -> None:
    assert template(words).tool_form == form


def test_a_template_that_knows_tools_shows_them_itself() -> None:
    text = template(QWEN).render(TALK, tools=[TOOL])
    function = {"name": "look_up", "description": "Looks.", "parameters": json.loads(TOOL.parameters_json)}
    assert json.dumps({"type": "function", "function": function}) in text
    assert 'I look.<tool_call>{"name": "look_up", "arguments": {"word": "é"}}</tool_call>' in text
    assert "<tool_response>A letter.</tool_response>" in text
    assert "You can call functions" not in text


def test_definitions_are_put_into_the_system_message_of_a_template_without() -> None:
    text = template(R1).render([Message("system", "Be kind."), *TALK], tools=[TOOL])
    assert text.startswith("Be kind.\n\nYou can call functions")
    assert '"name": "look_up"' in text
    assert "<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\nARGUMENTS\n```<｜tool▁call▁end｜>" in text


def test_text_that_would_hide_a_call_gets_a_turn_of_its_own() -> None:
    text = template(R1).render(TALK)
    assert (
        '<|assistant|>I look.<|end|><｜tool▁call▁begin｜>function<｜tool▁sep｜>look_up\n```json\n{"word": "é"}' in text
    )
    assert "<｜tool▁output▁begin｜>A letter." in text


def test_a_template_without_tools_gets_everything_in_words() -> None:
    text = template(PLAIN).render(TALK, tools=[TOOL])
    assert text.startswith("<|system|>You can call functions")
    assert (
        '<|assistant|>I look.\n<tool_call>\n{"name": "look_up", "arguments": {"word": "é"}}\n</tool_call><|end|>'
        "<|user|><tool_response>\nA letter.\n</tool_response><|end|>"
    ) in text


def test_arguments_that_are_no_json_are_shown_as_they_are() -> None:
    broken = Message("assistant", "", (ToolCall("call_1", "look_up", '{"word'),))
    assert '{"word' in template(PLAIN).render([TALK[0], broken])
    assert '"{\\"word"' in template(QWEN).render([TALK[0], broken])


def test_conversations_without_tools_are_rendered_as_before() -> None:
    chat = template(QWEN)
    assert chat.render(TALK[:1]) == "<|user|>What is é?<|end|>"
    assert chat._support is None
