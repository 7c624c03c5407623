import json
import threading
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizer import tiny_tokenizer

from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.text.tokenizer import MAX_JSON_BYTES, Tokenizer
from pocketseek.types import TextSettings

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
WITH_SPECIAL = st.lists(TEXTS | st.sampled_from(["<|begin|>", "<|end|>", "<|user|>", "<think>", "<|", "|>"])).map(
    "".join
)


@cache
def byte_level() -> Tokenizer:
    return Tokenizer.from_json(tiny_tokenizer().json, settings())


def settings(*, add_bos: bool = False) -> TextSettings:
    tokens = tiny_tokenizer().tokens
    return TextSettings(bos_id=tokens.index("<|begin|>"), eos_ids=(tokens.index("<|end|>"),), add_bos=add_bos)


def changed(change: Callable[[dict[str, dict[str, object]]], object]) -> bytes:
    parts = json.loads(tiny_tokenizer().json)
    change(parts)
    return json.dumps(parts).encode()


@given(WITH_SPECIAL)
def test_decoding_gives_the_text_back(text: str) -> None:
    tokenizer = byte_level()
    assert tokenizer.decode(tokenizer.encode(text), skip_special=False) == text


@given(WITH_SPECIAL)
def test_plain_text_never_yields_a_special_id_and_still_decodes_to_itself(text: str) -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode(text, parse_special=False)
    assert not any(map(tokenizer.is_special, ids))
    assert tokenizer.decode(ids) == text


@given(st.lists(st.integers(0, 400)))
def test_decoding_any_ids_is_reading_their_bytes_as_utf8(ids: list[int]) -> None:
    tokenizer = byte_level()
    data = b"".join(tokenizer.token_bytes(token_id) for token_id in ids if not tokenizer.is_special(token_id))
    assert tokenizer.decode(ids) == data.decode("utf-8", errors="replace")


def test_special_tokens_in_text_are_parsed_on_request_only() -> None:
    tokenizer = byte_level()
    end = tokenizer.special_tokens["<|end|>"]
    assert tokenizer.encode("a<|end|>b") == [*tokenizer.encode("a"), end, *tokenizer.encode("b")]
    assert end not in tokenizer.encode("a<|end|>b", parse_special=False)


def test_decoding_leaves_special_tokens_out_or_spells_them() -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode("a<|end|>b")
    assert tokenizer.decode(ids) == "ab"
    assert tokenizer.decode(ids, skip_special=False) == "a<|end|>b"


def test_bos_comes_first_if_asked_for_and_wanted_by_the_model() -> None:
    adding = Tokenizer.from_json(tiny_tokenizer().json, settings(add_bos=True))
    assert adding.encode("hi") == [settings().bos_id, *adding.encode("hi", add_special=False)]
    assert adding.encode("", add_special=True) == [settings().bos_id]
    assert byte_level().encode("hi") == adding.encode("hi", add_special=False)


def test_ids_without_a_token_have_no_bytes() -> None:
    tokenizer = byte_level()
    assert [tokenizer.token_bytes(token_id) for token_id in (tokenizer.vocab_size, 2**31, 2**70, -1)] == [b""] * 4


def test_vocab_size_covers_every_token() -> None:
    assert byte_level().vocab_size == len(tiny_tokenizer().tokens)


def test_a_token_is_found_by_its_exact_spelling() -> None:
    assert byte_level().token_id("<|end|>") == tiny_tokenizer().tokens.index("<|end|>")
    assert byte_level().token_id("no such token") is None


def test_lone_surrogates_become_question_marks() -> None:
    tokenizer = byte_level()
    assert tokenizer.decode(tokenizer.encode("a\udcffé")) == "a?é"


def test_threads_with_different_modes_do_not_disturb_each_other() -> None:
    tokenizer = byte_level()
    text = "<|user|>the capital of France<|end|>" * 5
    expected = {mode: tokenizer.encode(text, parse_special=mode) for mode in (True, False)}
    wrong: list[bool] = []

    def work(mode: bool) -> None:
        wrong.extend(mode for _ in range(200) if tokenizer.encode(text, parse_special=mode) != expected[mode])

    threads = [threading.Thread(target=work, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_markers_that_the_file_lists_as_ordinary_are_special() -> None:
    def forget_flags(parts: dict[str, object]) -> None:
        for token in parts["added_tokens"]:
            token |= {"special": False, "normalized": True}

    tokenizer = Tokenizer.from_json(changed(forget_flags), TextSettings())
    ids = tokenizer.encode("<|user|>hi<think>")
    assert tokenizer.is_special(ids[0])
    assert not tokenizer.is_special(ids[-1])  # a tag is not a role marker
    assert not any(map(tokenizer.is_special, tokenizer.encode("<|user|>hi", parse_special=False)))


def test_bos_and_eos_are_special_even_if_they_are_ordinary_words() -> None:
    the = tiny_tokenizer().tokens.index("the")
    tokenizer = Tokenizer.from_json(tiny_tokenizer().json, TextSettings(eos_ids=(the,)))
    assert tokenizer.is_special(the)
    assert tokenizer.encode("the") == [the]
    assert the not in tokenizer.encode("the other", parse_special=False)
    assert tokenizer.decode(tokenizer.encode("the other", parse_special=False)) == "the other"


def test_a_request_to_cut_or_pad_texts_is_ignored() -> None:
    def cut(parts: dict[str, object]) -> None:
        parts["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
        parts["padding"] = {
            "strategy": {"Fixed": 50},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "!",
        }

    text = "the capital of France"
    assert Tokenizer.from_json(changed(cut), settings()).encode(text) == byte_level().encode(text)


def test_the_prefix_is_what_the_post_processor_puts_in_front() -> None:
    bos = tiny_tokenizer().tokens.index("<|begin|>")

    def template(parts: dict[str, object]) -> None:
        parts["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<|begin|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|begin|>": {"id": "<|begin|>", "ids": [bos], "tokens": ["<|begin|>"]}},
        }

    assert Tokenizer.from_json(changed(template), TextSettings()).prefix_id == bos
    assert byte_level().prefix_id is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version":"1.0"}',
        tiny_tokenizer().json[:-20],
        changed(lambda parts: parts["model"].update(vocab={"a": -1})),
        changed(lambda parts: parts["model"].update(merges=[["a", "no such token"]])),
        changed(lambda parts: parts["model"].update(type="Magic")),
        changed(lambda parts: parts.update(pre_tokenizer={"type": "Split", "pattern": {"Regex": "("}})),
    ],
)
def test_a_broken_file_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        Tokenizer.from_json(data, TextSettings())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_file_larger_than_any_tokenizer_is_refused_unread() -> None:
    with pytest.raises(FormatError, match="more than any tokenizer"):
        Tokenizer.from_json(bytes(MAX_JSON_BYTES + 1), TextSettings())


@given(st.data())
def test_a_damaged_file_is_refused_or_still_a_tokenizer(data: st.DataObject) -> None:
    damaged = bytearray(tiny_tokenizer().json)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        tokenizer = Tokenizer.from_json(bytes(damaged), TextSettings())
        tokenizer.decode(tokenizer.encode("the capital<|end|>"))
    except (FormatError, UnsupportedError):
        return


@pytest.mark.parametrize("decoder", [None, {"type": "WordPiece", "prefix": "##", "cleanup": True}, {"type": "Fuse"}])
def test_a_kind_of_decoding_that_is_not_done_is_named(decoder: object) -> None:
    with pytest.raises(UnsupportedError, match="decodes with"):
        Tokenizer.from_json(changed(lambda parts: parts.update(decoder=decoder)), TextSettings())


def test_ids_in_the_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(FormatError, match="99999"):
        Tokenizer.from_json(tiny_tokenizer().json, TextSettings(eos_ids=(99_999,)))


def test_a_pattern_that_explodes_on_a_text_is_an_error_not_a_hang(capfd: pytest.CaptureFixture[str]) -> None:
    pattern = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    tokenizer = Tokenizer.from_json(changed(lambda parts: parts.update(pre_tokenizer=pattern)), TextSettings())
    with pytest.raises(FormatError, match="cannot encode"):
        tokenizer.encode("a" * 100 + "!")
    capfd.readouterr()  # the library reports the panic on standard error as well


def test_long_texts_have_the_ids_of_their_kind_and_let_other_threads_run() -> None:
    tokenizer = Tokenizer.from_json(tiny_tokenizer().json, TextSettings())
    words = "the capital of France is Paris, 你好! "
    long = words * 20_000
    beats: list[int] = []
    stop = threading.Event()
    thread = threading.Thread(target=lambda: [beats.append(1) for _ in iter(lambda: stop.wait(0.001), True)])
    thread.start()
    try:
        while not beats:
            pass
        before = len(beats)
        ids = tokenizer.encode(long)
        during = len(beats) - before
    finally:
        stop.set()
        thread.join()
    assert during > 2
    assert tokenizer.decode(ids) == long
    assert tokenizer.encode(words * 200) == tokenizer.encode(words) * 200
