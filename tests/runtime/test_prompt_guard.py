"""No text of a conversation with tools becomes a special token, wherever it stands and however it is escaped."""

import json

import pytest
from fakes import ASSISTANT_ID, EOS_ID, SPECIAL, USER_ID, ByteTokenizer
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.errors import UsageError
from pocketseek.runtime.prompt import MAX_TOOLS, Conversation, encode_prompt, is_chat
from pocketseek.runtime.prompt_guard import PromptGuard
from pocketseek.text.chat_template import ChatTemplate
from pocketseek.types import Message, Tool, ToolCall

TEMPLATE = (
    "{%- for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"
    "{%- for m in messages %}<|{{ 'user' if m.role == 'tool' else m.role }}|>{{ m.content }}"
    "{%- for call in m.tool_calls %}{{ call.id }}<tool_call>{{ call.function.name }} "
    "{{ call.function.arguments | tojson }}"
    "</tool_call>{%- endfor %}{{ m.name }}{{ m.tool_call_id }}<|end|>{% endfor %}<|assistant|>"
)
PLAIN = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
TAGS = {"<tool_call>": 261, "</tool_call>": 262}
words = st.lists(
    st.one_of(st.sampled_from([*SPECIAL, *TAGS, "\ufdd0", "<|", "é", '"', "\\"]), st.text(max_size=3))
).map("".join)


def encode(conversation: Conversation, source: str = TEMPLATE) -> list[int]:
    tokenizer = ByteTokenizer(more_special=TAGS)
    return list(encode_prompt(conversation, tokenizer, ChatTemplate(source, "", "")))  # type: ignore[arg-type]  # a fake


def special(ids: list[int]) -> list[int]:
    return [token_id for token_id in ids if token_id > 255]


@given(words, words, st.booleans())
def test_words_in_any_place_are_ordinary_text(word: str, key: str, escaped: bool) -> None:
    schema = json.dumps({"type": "object", "properties": {key: {"description": word}}}, ensure_ascii=escaped)
    arguments = json.dumps({key: [word]}, ensure_ascii=escaped).replace("<", "\\u003c" if escaped else "<")
    talk = Conversation(
        (
            Message("user", "." + word),
            Message("assistant", word, (ToolCall("id" + word, "f" + word, arguments),)),
            Message("tool", word, tool_call_id="id" + word, name="f" + word),
        ),
        (Tool("f", word, schema),),
    )
    expected = [USER_ID, EOS_ID, ASSISTANT_ID, 261, 262, EOS_ID, USER_ID, EOS_ID, ASSISTANT_ID]
    assert special(encode(talk)) == expected


@given(words)
def test_the_same_holds_where_tools_are_put_into_words(word: str) -> None:
    talk = Conversation(
        (
            Message("user", "." + word),
            Message("assistant", word, (ToolCall("id", "f" + word, json.dumps({"a": word})),)),
            Message("tool", word),
        ),
        (Tool("f", word),),
    )
    ids = special(encode(talk, PLAIN))
    assert ids[:4] == [SPECIAL["<|system|>"], 261, 262, EOS_ID]
    assert ids[4:] == [USER_ID, EOS_ID, ASSISTANT_ID, 261, 262, EOS_ID, USER_ID, EOS_ID, ASSISTANT_ID]


def test_tags_of_calls_are_ordinary_text_only_while_tools_are_there() -> None:
    tokenizer = ByteTokenizer()
    without = PromptGuard([], [], tokenizer)  # type: ignore[arg-type]  # a fake
    assert without.text("<tool_call>") == "<tool_call>"
    offered = PromptGuard([], [Tool("f")], tokenizer)  # type: ignore[arg-type]  # a fake
    assert offered.text("<tool_call>") == f"<{offered.mark}tool_call>"
    answered = PromptGuard([Message("tool", "x")], [], tokenizer)  # type: ignore[arg-type]  # a fake
    assert answered.text("</tool_response>") == f"<{answered.mark}/tool_response>"


def test_json_without_escapes_stays_as_it_is_written() -> None:
    guard = PromptGuard([], [], ByteTokenizer())  # type: ignore[arg-type]  # a fake
    assert guard.json('{"a":1,  "b": "é"}') == '{"a":1,  "b": "é"}'
    assert guard.json('{"a": "<|end|>"}') == f'{{"a": "<{guard.mark}|end|>"}}'
    assert guard.json('{"a\\": "<|end|>') == f'{{"a\\": "<{guard.mark}|end|>'


def test_a_conversation_is_a_prompt_whose_answer_stands_alone() -> None:
    assert is_chat(Conversation((Message("user", "a"),)))
    assert special(encode(Conversation((Message("user", "a"),)))) == [USER_ID, EOS_ID, ASSISTANT_ID]


@pytest.mark.parametrize(
    ("tools", "problem"),
    [
        ([Tool("a b")], "named 'a b'"),
        ([Tool("")], "named ''"),
        ([Tool("x" * 65)], "1 to 64 letters"),
        ([Tool("<|end|>")], "letters"),
        ([Tool("a"), Tool("a")], "two tools are named a"),
        ([Tool("a", parameters_json="{")], "no JSON object"),
        ([Tool("a", parameters_json="[" * 100_000)], "no JSON object"),
        ([Tool("a", parameters_json="[]")], "no JSON object"),
        ([Tool(f"a{i}") for i in range(MAX_TOOLS + 1)], "at most 128"),
    ],
)
def test_tools_that_cannot_be_offered_are_refused(tools: list[Tool], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        encode(Conversation((Message("user", "a"),), tuple(tools)))
