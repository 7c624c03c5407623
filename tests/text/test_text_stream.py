"""Property: what a stream gives depends on the bytes only, not on how tokens cut them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizer import tiny_tokenizer

from pocketseek.text.text_stream import Piece, TextStream, opens_reasoning
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import TextSettings

START, END = "<think>", "</think>"


@dataclass
class Chunks:
    """A tokenizer whose token `i` is the i-th of the given byte strings."""

    chunks: Sequence[bytes]
    special: frozenset[int] = field(default_factory=frozenset)
    strips_leading_space: bool = False

    def token_bytes(self, token_id: int) -> bytes:
        return self.chunks[token_id]

    def is_special(self, token_id: int) -> bool:
        return token_id in self.special


def run(stream: TextStream, num_tokens: int) -> tuple[Piece, list[Piece]]:
    """All pieces joined, and one by one (the last is flush's)."""
    pieces = [stream.push(token_id) for token_id in range(num_tokens)] + [stream.flush()]
    return Piece("".join(piece.text for piece in pieces), "".join(piece.reasoning for piece in pieces)), pieces


def whole(data: bytes, *, stop: Sequence[str] = (), starts_in_reasoning: bool = False) -> Piece:
    """The slow obvious way, with everything known: one byte at a time."""
    return run(stream_over(split(data, 1), stop=stop, starts_in_reasoning=starts_in_reasoning), len(data))[0]


def split(data: bytes, size: int) -> list[bytes]:
    return [data[place : place + size] for place in range(0, len(data), size)]


def stream_over(chunks: Sequence[bytes], *, stop: Sequence[str] = (), starts_in_reasoning: bool = False) -> TextStream:
    return TextStream(
        Chunks(chunks),
        stop=stop,
        reasoning_start=START,
        reasoning_end=END,
        starts_in_reasoning=starts_in_reasoning,
    )


def plain(chunks: Sequence[bytes], **options: object) -> tuple[Piece, list[Piece]]:
    return run(TextStream(Chunks(chunks), **options), len(chunks))


def texts(pieces: Sequence[Piece]) -> list[str]:
    return [piece.text for piece in pieces]


@st.composite
def cut(draw: st.DrawFn, parts: st.SearchStrategy[bytes]) -> list[bytes]:
    data = draw(parts)
    places = sorted(draw(st.sets(st.integers(0, len(data)), max_size=20)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


utf8 = st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)
tagged = st.lists(
    st.sampled_from([START, END, "<thi", "</", " ", "\n", "a", "你", "😀", "stop", "st", "User:", "\n\n"]), max_size=12
).map(lambda parts: "".join(parts).encode())
stops = st.lists(st.sampled_from(["stop", "User:", "\n\n", "op", "<thi", START, "a", " ", "aa你"]), max_size=3)


@given(cut(st.binary(max_size=60) | utf8))
def test_the_pieces_joined_are_the_whole_decoded(chunks: list[bytes]) -> None:
    joined, _ = plain(chunks)
    assert joined == Piece(b"".join(chunks).decode("utf-8", errors="replace"), "")


@given(st.lists(st.integers(0, len(tiny_tokenizer().tokens) + 2)))
def test_the_pieces_of_real_tokens_are_what_decode_gives(ids: list[int]) -> None:
    tokenizer = Tokenizer.from_json(tiny_tokenizer().json, TextSettings())
    stream = TextStream(tokenizer)
    assert "".join([*(stream.push(token_id).text for token_id in ids), stream.flush().text]) == tokenizer.decode(ids)


@given(cut(tagged), stops, st.booleans())
def test_the_result_does_not_depend_on_the_cuts(chunks: list[bytes], stop: list[str], inside: bool) -> None:
    data = b"".join(chunks)
    joined, _ = run(stream_over(chunks, stop=stop, starts_in_reasoning=inside), len(chunks))
    assert joined == whole(data, stop=stop, starts_in_reasoning=inside)


@given(cut(tagged), stops)
def test_no_stop_string_ever_comes_out(chunks: list[bytes], stop: list[str]) -> None:
    joined, _ = plain(chunks, stop=stop)
    assert not any(text in joined.text for text in stop)


@given(cut(tagged), stops)
def test_without_a_stop_string_or_tags_nothing_is_lost(chunks: list[bytes], stop: list[str]) -> None:
    text = b"".join(chunks).decode()
    joined, _ = plain(chunks, stop=stop)
    assert text.startswith(joined.text)
    if not any(item in text for item in stop):
        assert joined.text == text


def test_an_emoji_split_over_tokens_comes_out_whole_with_its_last_byte() -> None:
    _, pieces = plain(split("😀!".encode(), 1))
    assert texts(pieces) == ["", "", "", "😀", "!", ""]


def test_bytes_that_are_no_character_are_replaced_once_that_is_sure() -> None:
    _, pieces = plain([b"\xf0\x9f", b"\x98", b"A"])
    assert texts(pieces) == ["", "", "\ufffdA", ""]
    _, pieces = plain([b"\xff", b"A"])
    assert texts(pieces) == ["\ufffd", "A", ""]


def test_half_a_character_at_the_end_is_replaced_by_flush() -> None:
    _, pieces = plain([b"A\xf0\x9f"])
    assert texts(pieces) == ["A", "\ufffd"]


def test_text_that_cannot_be_a_stop_string_comes_out_at_once() -> None:
    _, pieces = plain([b"ab", b"cd"], stop=["xyz"])
    assert texts(pieces) == ["ab", "cd", ""]


def test_a_stop_string_across_tokens_ends_the_text_before_it() -> None:
    stream = TextStream(Chunks([b"one\nUs", b"er", b": two", b" three"]), stop=["\nUser:"])
    joined, pieces = run(stream, 4)
    assert texts(pieces) == ["one", "", "", "", ""]
    assert stream.stopped
    assert joined.text == "one"


def test_what_only_looked_like_a_stop_string_comes_out_after_all() -> None:
    _, pieces = plain([b"a\nUs", b"e", b"d"], stop=["\nUser:"])
    assert texts(pieces) == ["a", "", "\nUsed", ""]


def test_the_stop_string_that_is_complete_first_counts() -> None:
    assert plain([b"xabcd"], stop=["abcd", "bc"])[0].text == "xa"
    assert plain([b"xabc"], stop=["bc", "abc"])[0].text == "x"


def test_flush_gives_out_what_was_held() -> None:
    stream = TextStream(Chunks([b"a\nUs"]), stop=["\nUser:"])
    assert stream.push(0) == Piece("a")
    assert stream.flush() == Piece("\nUs")
    assert not stream.stopped


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_reasoning_is_kept_apart_however_it_is_cut(size: int) -> None:
    chunks = split(b"<think>\nWell, 2+2.\n</think>\n\nIt is <b>4</b>.", size)
    joined, _ = run(stream_over(chunks), len(chunks))
    assert joined == Piece("It is <b>4</b>.", "Well, 2+2.")


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_an_answer_may_begin_in_the_middle_of_reasoning(size: int) -> None:
    chunks = split(b"Well.</think>\n\n4", size)
    assert run(stream_over(chunks, starts_in_reasoning=True), len(chunks))[0] == Piece("4", "Well.")


def test_a_tag_that_repeats_the_one_in_the_prompt_is_dropped() -> None:
    chunks = split(b"<think>\nWell.</think>4", 4)
    assert run(stream_over(chunks, starts_in_reasoning=True), len(chunks))[0] == Piece("4", "Well.")


def test_reasoning_comes_out_while_it_goes_on() -> None:
    stream = stream_over([b"<think>", b"Let me", b" see", b"</think>", b"4"])
    assert [stream.push(token_id) for token_id in range(5)] == [
        Piece(),
        Piece("", "Let me"),
        Piece("", " see"),
        Piece(),
        Piece("4"),
    ]


def test_reasoning_that_never_ends_is_reasoning() -> None:
    assert whole(b"<think>hm, </thi") == Piece("", "hm, </thi")


def test_a_tag_later_in_the_answer_is_text() -> None:
    assert whole(b"The <think> tag, </think>.") == Piece("The <think> tag, </think>.", "")
    assert whole(b"<think>a</think>b <think>c</think>") == Piece("b <think>c</think>", "a")


def test_stop_strings_count_in_the_answer_only() -> None:
    assert whole(b"<think>a\n\nb</think>c\n\nd", stop=["\n\n"]) == Piece("c", "a\n\nb")


def test_tags_may_be_special_tokens_and_other_special_tokens_are_hidden() -> None:
    chunks = Chunks([b"<think>", b"a", b"</think>", b"b", b"<|im_end|>"], special=frozenset({0, 2, 4}))
    assert run(TextStream(chunks, reasoning_start=START, reasoning_end=END), 5)[0] == Piece("b", "a")
    assert run(TextStream(chunks), 5)[0] == Piece("ab", "")


def test_without_tags_think_is_text() -> None:
    assert plain([b"<think>a</think>b"])[0] == Piece("<think>a</think>b", "")


@pytest.mark.parametrize("chunks", [[b" Hello", b" you"], [b"", b" ", b"Hello you"]])
def test_the_space_a_sentencepiece_tokenizer_added_is_taken_away_once(chunks: list[bytes]) -> None:
    source = Chunks(chunks, strips_leading_space=True)
    assert run(TextStream(source), len(chunks))[0].text == "Hello you"
    assert run(TextStream(source, continues_text=True), len(chunks))[0].text == " Hello you"


def test_empty_stop_strings_are_ignored() -> None:
    assert plain([b"abc"], stop=[""])[0].text == "abc"


@pytest.mark.parametrize(
    ("prompt", "opened"),
    [
        ("<|Assistant|><think>\n", True),
        ("<think>", True),
        ("<think>\n\n</think>\n\n", False),
        ("Assistant:", False),
        ("", False),
    ],
)
def test_a_prompt_that_ends_in_the_tag_opens_reasoning(prompt: str, opened: bool) -> None:
    assert opens_reasoning(prompt, START) is opened
    assert not opens_reasoning(prompt, "")


def test_marks_of_tool_calls_are_shown_and_other_special_tokens_are_not() -> None:
    chunks = ["<｜tool▁call▁begin｜>".encode(), b"f", "<｜Assistant｜>".encode(), "<｜tool▁sep｜>".encode()]
    joined, _ = run(TextStream(Chunks(chunks, frozenset([0, 2, 3]))), len(chunks))
    assert joined.text == "<｜tool▁call▁begin｜>f<｜tool▁sep｜>"
