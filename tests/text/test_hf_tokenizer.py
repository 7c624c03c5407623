import json
from collections.abc import Callable
from typing import Any

import pytest
from tiny_tokenizer import BOS, EOS, tiny_tokenizer

from pocketseek.errors import FormatError
from pocketseek.text.hf_tokenizer import chat_template_from_hf, text_settings_from_hf
from pocketseek.types import TextSettings

TINY = tiny_tokenizer("qwen2")
BOS_ID, EOS_ID, USER_ID = (TINY.tokens.index(token) for token in (BOS, EOS, "<|user|>"))
NAMED = {"bos_token": BOS, "eos_token": EOS, "add_bos_token": True}


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    parts = json.loads(TINY.json)
    change(parts)
    return json.dumps(parts).encode()


def settings(
    named: dict[str, Any] | None = None,
    generation: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    tokenizer_json: bytes = TINY.json,
) -> TextSettings:
    return text_settings_from_hf(named, generation, config or {}, tokenizer_json)


def test_settings_come_from_the_names_in_tokenizer_config() -> None:
    assert settings(NAMED) == TextSettings(BOS_ID, (EOS_ID,), True, BOS, EOS, "<think>", "</think>")


def test_a_token_may_be_given_as_an_object() -> None:
    named = NAMED | {"bos_token": {"content": BOS, "lstrip": False}, "eos_token": {"content": EOS}}
    assert settings(named) == settings(NAMED)


def test_every_id_that_ends_a_text_is_collected_once() -> None:
    found = settings(NAMED, {"eos_token_id": [USER_ID, EOS_ID]}, {"eos_token_id": 5}).eos_ids
    assert found == (EOS_ID, USER_ID, 5)


def test_without_a_tokenizer_config_the_ids_in_config_count() -> None:
    found = settings(None, None, {"bos_token_id": BOS_ID, "eos_token_id": EOS_ID})
    assert (found.bos_id, found.eos_ids, found.bos_token, found.eos_token) == (BOS_ID, (EOS_ID,), BOS, EOS)


def test_a_bos_token_of_null_means_none_even_if_config_has_an_id() -> None:
    found = settings({"bos_token": None, "eos_token": EOS}, None, {"bos_token_id": BOS_ID})
    assert (found.bos_id, found.bos_token, found.add_bos) == (None, "", False)


def test_ids_outside_the_vocabulary_name_nothing() -> None:
    assert settings(NAMED, {"eos_token_id": [10**6, -1]}).eos_ids == (EOS_ID,)


def test_without_a_flag_the_post_processor_says_whether_bos_is_added() -> None:
    def template(parts: dict[str, Any]) -> None:
        parts["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": BOS, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {BOS: {"id": BOS, "ids": [BOS_ID], "tokens": [BOS]}},
        }

    named = {"bos_token": BOS, "eos_token": EOS}
    assert not settings(named).add_bos
    assert settings(named, tokenizer_json=changed(template)).add_bos
    assert not settings(named | {"add_bos_token": False}, tokenizer_json=changed(template)).add_bos


def test_a_model_without_the_tags_has_no_reasoning() -> None:
    def forget(parts: dict[str, Any]) -> None:
        parts["added_tokens"] = parts["added_tokens"][:-2]

    found = settings(NAMED, tokenizer_json=changed(forget))
    assert (found.reasoning_start, found.reasoning_end) == ("", "")


def test_ids_that_the_library_would_renumber_are_refused() -> None:
    def gap(parts: dict[str, Any]) -> None:
        parts["added_tokens"][0]["id"] += 100

    with pytest.raises(FormatError, match="not its place"):
        settings(NAMED, tokenizer_json=changed(gap))


@pytest.mark.parametrize(
    ("named", "generation", "config"),
    [
        (NAMED | {"bos_token": 5}, None, {}),
        (NAMED | {"eos_token": ["x"]}, None, {}),
        (NAMED | {"eos_token": {"content": 5}}, None, {}),
        (NAMED | {"add_bos_token": "yes"}, None, {}),
        (NAMED | {"chat_template": 5}, None, {}),
        (NAMED, {"eos_token_id": "2"}, {}),
        (NAMED, {"eos_token_id": [True]}, {}),
        (NAMED, None, {"eos_token_id": {"a": 1}}),
        (None, None, {"bos_token_id": 1.5}),
    ],
)
def test_wrong_types_are_refused(
    named: dict[str, Any] | None, generation: dict[str, Any] | None, config: dict[str, Any]
) -> None:
    with pytest.raises(FormatError) as caught:
        settings(named, generation, config)
    assert "\n" not in str(caught.value)


def test_a_broken_tokenizer_json_is_refused() -> None:
    with pytest.raises(FormatError):
        settings(NAMED, tokenizer_json=b"{")


def test_the_template_file_wins_over_the_one_in_tokenizer_config() -> None:
    assert chat_template_from_hf({"chat_template": "config"}, "file") == "file"
    assert chat_template_from_hf({"chat_template": "config"}, None) == "config"
    assert chat_template_from_hf({"chat_template": ""}, "") is None
    assert chat_template_from_hf(None, None) is None


def test_of_several_templates_the_default_one_is_taken() -> None:
    several = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    assert chat_template_from_hf({"chat_template": several}, None) == "plain"
    assert chat_template_from_hf({"chat_template": several[:1]}, None) is None


@pytest.mark.parametrize("entry", [5, {"a": 1}, [{"name": "default", "template": 5}]])
def test_a_template_that_is_not_text_is_refused(entry: object) -> None:
    with pytest.raises(FormatError, match="chat_template"):
        chat_template_from_hf({"chat_template": entry}, None)
