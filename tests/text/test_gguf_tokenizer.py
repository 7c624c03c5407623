import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizer import BOS, EOS, tiny_tokenizer

from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.text.gguf_tokenizer import chat_template_from_gguf, text_settings_from_gguf, tokenizer_json_from_gguf
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import TextSettings

PREFIX = "tokenizer.ggml."


def metadata(**changes: object) -> dict[str, Any]:
    tiny = tiny_tokenizer("qwen2")
    return tiny.gguf_metadata(len(tiny.tokens) + 20, add_bos=True) | {
        PREFIX + name: value for name, value in changes.items()
    }


def load(values: dict[str, Any]) -> Tokenizer:
    return Tokenizer.from_json(tokenizer_json_from_gguf(values), text_settings_from_gguf(values))


@given(st.lists(st.text(max_size=10) | st.sampled_from(["<|user|>", " the capital of France", "你好"])).map("".join))
def test_the_rebuilt_tokenizer_does_what_the_models_own_does(text: str) -> None:
    own = Tokenizer.from_json(tiny_tokenizer("qwen2").json, text_settings_from_gguf(metadata()))
    for parse_special in (True, False):
        assert load(metadata()).encode(text, parse_special=parse_special) == own.encode(
            text, parse_special=parse_special
        )


def test_tokens_keep_their_ids_and_unused_ones_vanish() -> None:
    tokenizer, tokens = load(metadata()), tiny_tokenizer("qwen2").tokens
    assert [tokenizer.token_id(token) for token in tokens] == list(range(len(tokens)))
    assert tokenizer.token_bytes(len(tokens)) == b""
    assert tokenizer.vocab_size == len(tokens)


def test_an_unused_token_that_a_merge_names_stays() -> None:
    values = metadata()
    merged = "".join(values[PREFIX + "merges"][0].split())
    values[PREFIX + "token_type"][values[PREFIX + "tokens"].index(merged)] = 5
    assert load(values).token_id(merged) is not None


def test_settings_hold_the_ids_the_spellings_and_the_tags() -> None:
    tokens = tiny_tokenizer("qwen2").tokens
    bos, eos = tokens.index(BOS), tokens.index(EOS)
    expected = TextSettings(bos, (eos,), True, BOS, EOS, "<think>", "</think>")
    assert text_settings_from_gguf(metadata()) == expected


def test_without_a_flag_bos_is_added_for_llama_only() -> None:
    values = metadata()
    del values[PREFIX + "add_bos_token"]
    assert not text_settings_from_gguf(values).add_bos
    assert text_settings_from_gguf(values | {PREFIX + "pre": "llama-bpe"}).add_bos


def test_llama_takes_a_word_that_is_a_token_without_merging() -> None:
    values = metadata(pre="llama-bpe")
    values[PREFIX + "tokens"][-1] = "xyz"
    values[PREFIX + "token_type"][-1] = 1
    assert load(values).encode("xyz", add_special=False) == [len(values[PREFIX + "tokens"]) - 1]
    assert len(load(values | {PREFIX + "pre": "qwen2"}).encode("xyz", add_special=False)) == 3


def test_user_defined_tokens_are_parsed_and_shown() -> None:
    values = metadata()
    think = values[PREFIX + "tokens"].index("<think>")
    values[PREFIX + "token_type"][think] = 4
    tokenizer = load(values)
    assert tokenizer.encode("<think>", add_special=False, parse_special=False) == [think]
    assert tokenizer.decode([think]) == "<think>"


def test_the_chat_template_is_found() -> None:
    assert chat_template_from_gguf({"tokenizer.chat_template": "{{ x }}"}) == "{{ x }}"
    assert chat_template_from_gguf({}) is None
    assert chat_template_from_gguf({"tokenizer.chat_template": ""}) is None
    with pytest.raises(FormatError, match="not text"):
        chat_template_from_gguf({"tokenizer.chat_template": 1})


@pytest.mark.parametrize("merge", ["no such", "a nosuch", "a Q"])
def test_merges_that_name_unknown_tokens_are_refused(merge: str) -> None:
    with pytest.raises(FormatError, match="merges name"):
        tokenizer_json_from_gguf(metadata(merges=[*metadata()[PREFIX + "merges"], merge]))


def test_tokens_that_are_not_unicode_are_refused() -> None:
    values = metadata()
    values[PREFIX + "tokens"][-1] = "\ud800"
    values[PREFIX + "token_type"][-1] = 1
    with pytest.raises(FormatError, match="Unicode"):
        tokenizer_json_from_gguf(values)


def test_an_unknown_pre_tokenizer_is_named() -> None:
    with pytest.raises(UnsupportedError, match="'newfangled'"):
        tokenizer_json_from_gguf(metadata(pre="newfangled"))


def test_merges_into_a_control_token_do_not_let_it_out() -> None:
    values = metadata()
    merged = "".join(values[PREFIX + "merges"][0].split())
    number = values[PREFIX + "tokens"].index(merged)
    values[PREFIX + "token_type"][number] = 3
    tokenizer = load(values)
    assert number not in tokenizer.encode(merged * 3, parse_special=False)
    assert tokenizer.decode(tokenizer.encode(merged * 3, parse_special=False)) == merged * 3


def test_the_result_is_the_same_bytes_every_time() -> None:
    assert tokenizer_json_from_gguf(metadata()) == tokenizer_json_from_gguf(metadata())
    assert json.loads(tokenizer_json_from_gguf(metadata()))["version"] == "1.0"
