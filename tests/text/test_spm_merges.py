import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.errors import FormatError
from pocketseek.text.gguf_tokenizer import text_settings_from_gguf, tokenizer_json_from_gguf
from pocketseek.text.spm_merges import MAX_CUTS, merges_from_scores
from pocketseek.text.tokenizer import Tokenizer

LETTERS = "▁abcé你"
PREFIX = "tokenizer.ggml."


def metadata(words: list[str], *, add_space_prefix: bool = True) -> dict[str, object]:
    """A SentencePiece-style vocabulary: control tokens, 256 bytes, letters, words; every score is different."""
    control = ["<unk>", "<s>", "</s>", "<think>"]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    plain = [*LETTERS, *words]
    tokens = [*control, *byte_tokens, *plain]
    return {
        PREFIX + "model": "llama",
        PREFIX + "tokens": tokens,
        PREFIX + "scores": [0.0] * (len(tokens) - len(plain)) + [-float(rank) for rank in range(len(plain))],
        PREFIX + "token_type": [2, 3, 3, 4] + [6] * 256 + [1] * len(plain),
        PREFIX + "add_space_prefix": add_space_prefix,
        PREFIX + "add_bos_token": False,
    }


def load(values: dict[str, object]) -> Tokenizer:
    return Tokenizer.from_json(tokenizer_json_from_gguf(values), text_settings_from_gguf(values))


def slow_encode(text: str, values: dict[str, object]) -> list[int]:
    """What SentencePiece does, one join at a time: the best-scored neighbours, the leftmost of equals."""
    tokens, scores, kinds = (values[PREFIX + name] for name in ("tokens", "scores", "token_type"))
    ids = {token: token_id for token_id, token in enumerate(tokens) if kinds[token_id] in (1, 4)}
    pieces = list(("▁" if values[PREFIX + "add_space_prefix"] and text else "") + text.replace(" ", "▁"))
    while True:
        joins = [
            (-scores[ids[left + right]], place)
            for place, (left, right) in enumerate(pairwise(pieces))
            if left + right in ids
        ]
        if not joins:
            break
        _, place = min(joins)
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    result: list[int] = []
    for piece in pieces:
        result += [ids[piece]] if piece in ids else [tokens.index(f"<0x{byte:02X}>") for byte in piece.encode()]
    return result


word = st.text("▁ab", min_size=2, max_size=4) | st.text(LETTERS, min_size=2, max_size=5)  # few letters: many hits


@given(
    st.lists(word, max_size=25, unique=True),
    st.text("ab ", max_size=40) | st.text(LETTERS + " x😀", max_size=40),
    st.booleans(),
)
def test_ids_are_those_of_the_slow_obvious_algorithm(words: list[str], text: str, prefix: bool) -> None:
    values = metadata(words, add_space_prefix=prefix)
    assert load(values).encode(text) == slow_encode(text, values)


@given(st.lists(word, max_size=20, unique=True), st.text(LETTERS.replace("▁", "") + " x😀\n", max_size=30))
def test_decoding_gives_the_text_back(words: list[str], text: str) -> None:
    tokenizer = load(metadata(words))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_without_a_prefix_space_nothing_is_stripped() -> None:
    tokenizer = load(metadata(["▁a"], add_space_prefix=False))
    assert tokenizer.decode(tokenizer.encode(" a")) == " a"
    assert not tokenizer.strips_leading_space


def test_control_tokens_in_text_are_parsed_on_request_only() -> None:
    tokenizer = load(metadata([]))
    assert tokenizer.encode("<s>a")[0] == 1
    plain = tokenizer.encode("<s>a", parse_special=False)
    assert 1 not in plain
    assert tokenizer.decode(plain) == "<s>a"


def test_a_word_spelled_like_a_byte_token_stays_a_word() -> None:
    tokenizer = load(metadata([]))
    assert tokenizer.decode(tokenizer.encode("<0x41>")) == "<0x41>"


def test_merges_come_in_the_order_of_the_scores_of_what_they_make() -> None:
    scores = {"a": -9.0, "b": -9.0, "c": -9.0, "ab": -2.0, "bc": -1.0, "abc": -3.0, "zz": 0.0}
    assert merges_from_scores(scores) == [("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc")]


def test_a_vocabulary_of_huge_words_is_refused() -> None:
    with pytest.raises(FormatError, match="too long"):
        merges_from_scores({"a" * (MAX_CUTS + 1): 0.0})


def test_a_random_vocabulary_of_a_thousand_words_agrees_with_the_slow_algorithm() -> None:
    source = random.Random(7)
    words = {"".join(source.choices(LETTERS, k=source.randint(2, 6))) for _ in range(1000)}
    values = metadata(sorted(words, key=lambda word: (len(word), source.random())))
    tokenizer = load(values)
    for _ in range(40):
        text = "".join(source.choices("abcé你 ", k=60))
        assert tokenizer.encode(text) == slow_encode(text, values)
