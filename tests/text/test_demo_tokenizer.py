"""The demo model's own ids, by llama.cpp, from the part of its vocabulary that data/smollm2.json holds."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pocketseek.text.gguf_tokenizer import text_settings_from_gguf, tokenizer_json_from_gguf
from pocketseek.text.tokenizer import Tokenizer

TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "smollm2.json").read_text("ascii"))
CONTROL, NORMAL, UNUSED = 3, 1, 5


@cache
def tokenizer() -> Tokenizer:
    """Every token at its place; those left out of the table are unused."""
    tokens = [f"[left out {number}]" for number in range(TABLE["num_tokens"])]
    types = [UNUSED] * len(tokens)
    for kind, group in ((CONTROL, "control"), (NORMAL, "words")):
        for number, token in TABLE[group].items():
            tokens[int(number)], types[int(number)] = token, kind
    metadata: dict[str, object] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": TABLE["merges"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
    }
    return Tokenizer.from_json(tokenizer_json_from_gguf(metadata), text_settings_from_gguf(metadata))


@pytest.mark.parametrize("number", range(len(TABLE["cases"])))
def test_ids_of_the_demo_model_are_llama_cpps(number: int) -> None:
    case = TABLE["cases"][number]
    ids, plain_ids = case["ids"]["smollm"], case["plain_ids"].get("smollm", case["ids"]["smollm"])
    assert tokenizer().encode(case["text"]) == ids
    assert tokenizer().encode(case["text"], parse_special=False) == plain_ids
    assert tokenizer().decode(ids, skip_special=False) == case["text"]


def test_the_end_of_a_turn_ends_an_answer() -> None:
    assert tokenizer().settings.eos_ids == (2, 0)
    assert tokenizer().settings.eos_token == "<|im_end|>"
    assert (tokenizer().settings.reasoning_start, tokenizer().settings.reasoning_end) == ("", "")
