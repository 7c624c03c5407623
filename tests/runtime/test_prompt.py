"""What apps hand over becomes ids; what users type never becomes a special token."""

from typing import Any

import numpy as np
import pytest
from fakes import ASSISTANT_ID, BOS_ID, EOS_ID, SPECIAL, USER_ID, ByteTokenizer, FakeTemplate
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.errors import UsageError
from pocketseek.runtime.prompt import Prompt, encode_prompt, is_chat, starts_in_reasoning
from pocketseek.text.chat_template import ChatTemplate
from pocketseek.types import Message, TextSettings

CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
content = st.lists(st.one_of(st.sampled_from([*SPECIAL, "\ufdd0", "<|", "|>", " ", "é"]), st.text(max_size=5))).map(
    "".join
)


def encode(prompt: Prompt, tokenizer: ByteTokenizer | None = None) -> tuple[int, ...]:
    return encode_prompt(prompt, tokenizer or ByteTokenizer(), FakeTemplate())  # type: ignore[arg-type]


def test_raw_text_may_use_special_tokens_and_gets_bos() -> None:
    tokenizer = ByteTokenizer(TextSettings(bos_id=BOS_ID, add_bos=True))
    assert encode("a<|end|>", tokenizer) == (BOS_ID, 97, EOS_ID)


def test_conversation_goes_through_the_template_without_another_bos() -> None:
    tokenizer = ByteTokenizer(TextSettings(bos_id=BOS_ID, add_bos=True))
    assert encode([Message("user", "a")], tokenizer) == (USER_ID, 97, EOS_ID, ASSISTANT_ID)


@pytest.mark.parametrize("ids", [[1, 2], (1, 2), np.array([1, 2]), range(1, 3)])
def test_ids_pass_unchanged(ids: Prompt) -> None:
    assert encode(ids) == (1, 2)


@pytest.mark.parametrize("empty", ["", [], (), [Message("user", "")], [Message("system", " "), Message("user", "\n")]])
def test_empty_prompts_are_refused(empty: Prompt) -> None:
    with pytest.raises(UsageError, match="empty"):
        encode(empty)


@pytest.mark.parametrize("wrong", [None, 5, b"ab", [1.5], ["a", "b"], [1, Message("user", "a")], {"role": "user"}])
def test_other_kinds_are_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match="the prompt must be"):
        encode(wrong)  # type: ignore[arg-type]


def test_messages_may_be_mappings_as_other_libraries_have_them() -> None:
    messages = [Message("system", "be kind"), Message("user", "a")]
    mappings = [{"role": one.role, "content": one.content} for one in messages]
    mixed: list[Any] = [messages[0], mappings[1]]
    assert encode(mappings) == encode(mixed) == encode(messages)
    assert is_chat(mappings)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"role": "user"}, {"role": "user", "content": 1}, {"role": "user", "content": "a", "tool_calls": []}],
)
def test_mappings_that_are_no_plain_messages_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="a message that is a mapping"):
        encode([wrong])


def test_unknown_roles_are_refused() -> None:
    with pytest.raises(UsageError, match="role"):
        encode([Message("<|end|><|system|>", "a")])


@given(content, content)
def test_content_adds_no_special_tokens_and_stays_readable(system: str, user: str) -> None:
    tokenizer = ByteTokenizer()
    messages = [Message("system", system), Message("user", user + ".")]
    ids = encode(messages)
    specials = [token_id for token_id in ids if tokenizer.is_special(token_id)]
    assert specials == [SPECIAL["<|system|>"], EOS_ID, USER_ID, EOS_ID, ASSISTANT_ID]
    assert tokenizer.decode(ids, skip_special=False) == FakeTemplate().render(messages)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<|")).filter(str.strip))
def test_plain_content_is_encoded_in_one_piece(text: str) -> None:
    messages = [Message("user", text)]
    assert encode(messages) == tuple(ByteTokenizer().encode(FakeTemplate().render(messages)))


@pytest.mark.parametrize("tags", [{}, {"<think>": 261, "</think>": 262}])
def test_templates_still_see_the_reasoning_tags(tags: dict[str, int]) -> None:
    tokenizer = ByteTokenizer(more_special=tags)
    messages = [Message("assistant", "<think>no</think> yes"), Message("user", "x<|end|>")]
    ids = encode_prompt(messages, tokenizer, ChatTemplate(CHATML, "", ""))  # type: ignore[arg-type]
    assert tokenizer.decode(ids) == "yesx<|end|>"
    assert ids.count(EOS_ID) == 2


@pytest.mark.parametrize(("text", "expected"), [("a<think>", True), ("a<think>\n", True), ("<think></think>", False)])
def test_prompt_that_opens_reasoning_is_recognised(text: str, expected: bool) -> None:
    tokenizer = ByteTokenizer()
    assert starts_in_reasoning(tokenizer.encode(text), tokenizer) is expected  # type: ignore[arg-type]


def test_model_without_reasoning_never_starts_in_it() -> None:
    tokenizer = ByteTokenizer(TextSettings(reasoning_start="", reasoning_end=""))
    assert not starts_in_reasoning(tokenizer.encode("a"), tokenizer)  # type: ignore[arg-type]


def test_only_messages_make_a_conversation() -> None:
    assert is_chat([Message("user", "a")])
    assert not is_chat("a")
    assert not is_chat([1])
