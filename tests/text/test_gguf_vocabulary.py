from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizer import BOS, EOS, tiny_tokenizer

from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.text.gguf_vocabulary import CONTROL, NORMAL, read_vocabulary

PREFIX = "tokenizer.ggml."


def metadata(**changes: object) -> dict[str, Any]:
    """The tiny tokenizer's metadata with some keys (named without prefix) changed; None removes one."""
    values = tiny_tokenizer().gguf_metadata(len(tiny_tokenizer().tokens) + 3, add_bos=True)
    for name, value in changes.items():
        values[PREFIX + name] = value
        if value is None:
            del values[PREFIX + name]
    return values


def tokens() -> list[str]:
    return list(metadata()[PREFIX + "tokens"])


def spm(**changes: object) -> dict[str, Any]:
    plain = ["<unk>", "<s>", "</s>", "a", "b", "ab"]
    values: dict[str, object] = {
        "model": "llama",
        "tokens": plain,
        "scores": [0.0] * 3 + [-1.0, -2.0, -3.0],
        "token_type": [2, 3, 3, 1, 1, 1],
    }
    return {PREFIX + name: value for name, value in (values | changes).items() if value is not None}


def test_a_good_vocabulary_is_read() -> None:
    vocabulary = read_vocabulary(metadata())
    assert vocabulary.kind == "gpt2"
    assert vocabulary.tokens == tuple(tokens())
    assert vocabulary.bos_id == tokens().index(BOS)
    assert vocabulary.eos_ids[0] == tokens().index(EOS)
    assert vocabulary.add_bos is True
    assert len(vocabulary.merges) == len(metadata()[PREFIX + "merges"])


def test_sentencepiece_defaults_are_those_of_llama() -> None:
    vocabulary = read_vocabulary(spm())
    assert (vocabulary.unknown_id, vocabulary.bos_id, vocabulary.eos_ids) == (0, 1, (2,))
    assert vocabulary.add_space_prefix
    assert not read_vocabulary(spm(add_space_prefix=False)).add_space_prefix


def test_all_ids_that_end_an_answer_are_collected() -> None:
    names = [*tokens(), "<|eot_id|>", "<|eom_id|>", "my end"]
    kinds = [*metadata()[PREFIX + "token_type"], 3, 3, 3]
    vocabulary = read_vocabulary(metadata(tokens=names, token_type=kinds, eom_token_id=len(names) - 1))
    assert set(vocabulary.eos_ids) == {names.index(EOS), len(names) - 3, len(names) - 2, len(names) - 1}


def test_a_token_that_ends_a_turn_is_control_whatever_its_type_says() -> None:
    names = [*tokens(), "<|im_end|>", "<|odd|>"]
    kinds = [*metadata()[PREFIX + "token_type"], NORMAL, 4]
    vocabulary = read_vocabulary(metadata(tokens=names, token_type=kinds))
    assert vocabulary.types[-2:] == (CONTROL, CONTROL)
    assert {len(names) - 2, len(names) - 1} <= vocabulary.special_ids


def test_missing_types_mean_plain_words_except_for_known_markers() -> None:
    vocabulary = read_vocabulary(metadata(token_type=None))
    assert set(vocabulary.types) == {NORMAL, CONTROL}


def test_a_merge_may_begin_with_a_space() -> None:
    assert read_vocabulary(metadata(merges=["  x"])).merges == ((" ", "x"),)


@pytest.mark.parametrize("kind", ["bert", "t5", "rwkv", "", "x" * 1000])
def test_another_kind_of_tokenizer_is_named(kind: str) -> None:
    with pytest.raises(UnsupportedError, match="not supported"):
        read_vocabulary(metadata(model=kind))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": None},
        {"model": 5},
        {"pre": 5},
        {"tokens": None},
        {"tokens": []},
        {"tokens": "abc"},
        {"tokens": [1, 2]},
        {"tokens": ["a", "a"]},
        {"tokens": [*tokens(), "x" * 10_000], "token_type": None},
        {"token_type": [1]},
        {"token_type": "x"},
        {"token_type": [1.5] * len(tokens())},
        {"token_type": [True] * len(tokens())},
        {"merges": None},
        {"merges": ["a"]},
        {"merges": [""]},
        {"merges": ["a "]},
        {"merges": [("a", "b")]},
        {"bos_token_id": -1},
        {"bos_token_id": len(tokens())},
        {"bos_token_id": True},
        {"bos_token_id": "1"},
        {"eos_token_id": 2**40},
        {"eot_token_id": 1.0},
        {"unknown_token_id": 10**9},
        {"add_bos_token": 1},
        {"add_bos_token": True, "bos_token_id": None},
        {"add_eos_token": "yes"},
        {"add_space_prefix": []},
    ],
)
def test_wrong_metadata_is_refused_in_one_line(changes: dict[str, object]) -> None:
    with pytest.raises(FormatError, match="GGUF") as caught:
        read_vocabulary(metadata(**changes))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "scores", [None, [], [0.0], ["x"] * 6, [float("nan")] * 6, [float("inf")] * 6, [True] * 6, "123456"]
)
def test_wrong_scores_are_refused(scores: object) -> None:
    with pytest.raises(FormatError, match="scores"):
        read_vocabulary(spm(scores=scores))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
names = [key.removeprefix(PREFIX) for key in (*metadata(), PREFIX + "scores", PREFIX + "eot_token_id")]


@given(st.sampled_from([metadata, spm]), st.dictionaries(st.sampled_from(names), anything, max_size=3))
def test_arbitrary_values_give_a_consistent_vocabulary_or_an_error(make: Any, changes: dict[str, object]) -> None:
    try:
        vocabulary = read_vocabulary(make() | {PREFIX + name: value for name, value in changes.items()})
    except (FormatError, UnsupportedError):
        return
    assert len(vocabulary.types) == len(vocabulary.tokens)
    assert all(0 <= token_id < len(vocabulary.tokens) for token_id in vocabulary.eos_ids)
