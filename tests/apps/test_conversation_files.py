"""A conversation as a file, and files that are none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.conversation import Conversation, ConversationInfo, Turn
from pocketseek.apps.conversation_files import export_conversation, parse_conversation
from pocketseek.errors import FormatError

INFO = ConversationInfo("3f", "Capitals", "tiny", 1000.0, 1000.0, 2, revision=0)
TURNS = (Turn("user", "法国?", created_s=1.0), Turn("assistant", "**Paris**", "easy", 2.0, "tiny", "stop", 3))
CONVERSATION = Conversation(INFO, "be brief", TURNS, '{"seed": 1}')


def test_json_can_be_read_back_whole() -> None:
    again = parse_conversation(export_conversation(CONVERSATION, "json").encode())
    assert (again.info.title, again.info.model, again.info.created_s) == ("Capitals", "tiny", 1000.0)
    assert (again.system, again.turns, again.settings_json) == ("be brief", TURNS, '{"seed": 1}')


def test_markdown_has_everything_that_was_said() -> None:
    text = export_conversation(CONVERSATION, "md")
    assert text.startswith("# Capitals\n\n*tiny, 1970-01-01 00:16 UTC*\n\n## system\n\nbe brief\n\n## user\n\n法国?\n")
    assert "<details><summary>reasoning</summary>\n\neasy\n\n</details>\n\n**Paris**\n" in text


def test_a_list_of_messages_is_read_too() -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    read = parse_conversation(json.dumps({"messages": messages}).encode())
    assert (read.system, read.turns) == ("s", (Turn("user", "q"),))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "nonsense",
        "[" * 100_000,
        '{"format": "pocketseek-conversation", "version": 2, "turns": []}',
        '{"format": "pocketseek-conversation", "version": 1}',
        '{"format": "pocketseek-conversation", "version": 1, "turns": [1]}',
        '{"format": "pocketseek-conversation", "version": 1, "turns": [], "settings": []}',
        '{"format": "pocketseek-conversation", "version": 1, "turns": [], "title": 3}',
        '{"format": "pocketseek-conversation", "version": 1, "turns": [], "created_s": NaN}',
        '{"format": "pocketseek-conversation", "version": 1, "turns": [], "created_s": -1}',
        '{"messages": [{"role": "wizard", "content": "x"}]}',
        '{"messages": [{"role": "user", "content": [1]}]}',
    ],
)
def test_what_is_no_conversation_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="not a conversation"):
        parse_conversation(text.encode())


JSON = st.sampled_from([None, True, 0, -1, 1e999, "x", "\ud800", [], [1], {}, [{}], [{"role": "user"}], [{"role": []}]])
FIELDS = ("format", "version", "title", "model", "created_s", "system", "settings", "turns", "messages")


@given(st.binary(max_size=50) | st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda x: json.dumps(x).encode()))
def test_any_bytes_are_a_conversation_or_a_format_error(data: bytes) -> None:
    try:
        parse_conversation(data)
    except FormatError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
