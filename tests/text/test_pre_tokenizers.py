"""llama.cpp's ids (data/pre_tokenizers.json, made by llama_cpp_table.py) against those of our rebuilt tokenizers.

Two differences are meant; there we follow the models' own tokenizer.json, llama.cpp does not: deepseek-llm takes every
digit by itself, and in deepseek-coder `\\s` is any white space, so U+3000 belongs to the word after it.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from pocketseek.errors import UnsupportedError
from pocketseek.text.gguf_tokenizer import text_settings_from_gguf, tokenizer_json_from_gguf
from pocketseek.text.pre_tokenizers import pre_tokenizer
from pocketseek.text.tokenizer import Tokenizer

TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "pre_tokenizers.json").read_text("ascii"))
NAMES = list(TABLE["cases"][0]["ids"])
MEANT = {"deepseek-llm": re.compile("[0-9]{2}"), "deepseek-coder": re.compile("\u3000")}


@cache
def tokenizer(name: str) -> Tokenizer:
    tokens, num_special = TABLE["tokens"], TABLE["num_special"]
    metadata: dict[str, object] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": name,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] * (num_special - 1) + [4] + [1] * (len(tokens) - num_special),
        "tokenizer.ggml.merges": TABLE["merges"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
    }
    return Tokenizer.from_json(tokenizer_json_from_gguf(metadata), text_settings_from_gguf(metadata))


def words(name: str, text: str) -> list[str]:
    """How a text is cut, before merging."""
    splitter = pre_tokenizers.Sequence([])
    state = json.dumps(pre_tokenizer(name).json).encode()
    splitter.__setstate__(state)
    return [text[start:end] for _, (start, end) in splitter.pre_tokenize_str(text)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", range(len(TABLE["cases"])))
def test_ids_are_llama_cpps(name: str, number: int) -> None:
    case = TABLE["cases"][number]
    text = case["text"]
    if name in MEANT and MEANT[name].search(text):
        assert tokenizer(name).decode(tokenizer(name).encode(text)) == text
        return
    assert tokenizer(name).encode(text) == case["ids"][name]
    assert tokenizer(name).encode(text, parse_special=False) == case["plain_ids"].get(name, case["ids"][name])


def test_deepseek_llm_takes_every_digit_by_itself() -> None:
    assert words("deepseek-llm", "in 2024") == ["in", " ", "2", "0", "2", "4"]


def test_deepseek_coder_keeps_an_ideographic_space_with_the_word_after_it() -> None:
    assert words("deepseek-coder", "全角\u3000句") == ["全角", "\u3000句"]


def test_qwen_composes_characters_first() -> None:
    assert tokenizer("qwen2").encode("e\u0301") == tokenizer("qwen2").encode("é")
    assert tokenizer("gpt-2").encode("e\u0301") != tokenizer("gpt-2").encode("é")


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("smollm", ["ab", " ", "1", "2", "3", "4", " ", " cd"]),
        ("qwen2", ["ab", " ", "1", "2", "3", "4", " ", " cd"]),
        ("llama-bpe", ["ab", " ", "123", "4", " ", " cd"]),
        ("deepseek-v3", ["ab", " ", "123", "4", " ", " cd"]),
        ("gpt-2", ["ab", " 1234", " ", " cd"]),
        ("default", ["ab", " ", "123", "4", " ", " cd"]),
    ],
)
def test_numbers_and_spaces_are_cut_as_each_family_does(name: str, cut: list[str]) -> None:
    assert words(name, "ab 1234  cd") == cut


@given(st.text(" \t\u3000aé。1😀\n", max_size=30))
def test_spaces_at_the_end_match_as_deepseeks_original_pattern_does(text: str) -> None:
    steps = [dict(step) for step in pre_tokenizer("deepseek-llm").steps]
    place = next(place for place, step in enumerate(steps) if step.get("pattern") == {"Regex": r"(?<!\s)\s+$"})
    ours, original = pre_tokenizers.Sequence([]), pre_tokenizers.Sequence([])
    ours.__setstate__(json.dumps({"type": "Sequence", "pretokenizers": steps}).encode())
    steps[place] = steps[place] | {"pattern": {"Regex": r"\s+$"}}
    original.__setstate__(json.dumps({"type": "Sequence", "pretokenizers": steps}).encode())
    assert ours.pre_tokenize_str(text) == original.pre_tokenize_str(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_long_run_of_spaces_is_cut_into_few_words(name: str) -> None:
    assert len(words(name, "\u3000" * 50_000 + "é")) < 50_010  # and in linear time, or this test does not end


def test_aliases_are_the_same() -> None:
    assert pre_tokenizer("llama3") is pre_tokenizer("llama-bpe")
    assert pre_tokenizer("deepseek-r1-qwen") is pre_tokenizer("qwen2")


@pytest.mark.parametrize("name", ["tekken", "", "Qwen2", "x" * 500])
def test_an_unknown_name_is_refused_and_named(name: str) -> None:
    with pytest.raises(UnsupportedError, match=repr(name[:80])) as caught:
        pre_tokenizer(name)
    assert "qwen2" in str(caught.value)  # says what is known
