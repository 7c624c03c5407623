"""Chunks: everything once, nothing too long, cut where a reader would cut."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizer import tiny_tokenizer

from pocketseek.apps.doc.chunk import LEAST_ROOM_TOKENS, Chunk, chunks
from pocketseek.apps.doc.document import Block, BlockKind, Document, Place
from pocketseek.apps.doc.read import read_document
from pocketseek.errors import UsageError
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import TextSettings

PROJECT = Path(__file__).parents[3]
PROMPT_TOKENS = 30
WORDS = (
    "alpha",
    "beta.",
    "Gamma",
    "3.14",
    "e.g.",
    "delta!",
    "总结",
    "内容。",
    "“好。”",
    "x" * 90,
    "\u0301",
    "\U0001f600",
)


def block(text: str, kind: BlockKind = "paragraph", number: int = 1, level: int = 0) -> Block:
    return Block(kind, text, Place(None, None, number), level)


def document(*blocks: Block) -> Document:
    return Document("test", "text/plain", blocks)


def num_bytes(text: str) -> int:
    return len(text.encode())


def num_words(text: str) -> int:
    return len(text.split())


def texts(found: Document, parts: Sequence[Chunk]) -> list[str]:
    return [found.text[part.start : part.stop].strip() for part in parts]


def sentences(prefix: str, count: int) -> str:
    return " ".join(f"{prefix} sentence number {number} has eight words." for number in range(count))


words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=120).map(" ".join)
blocks = st.builds(block, words, st.sampled_from(["heading", "paragraph", "item", "table", "code"]))


@given(st.lists(blocks, max_size=12), st.integers(150, 1200), st.integers(0, 60))
def test_every_character_is_in_exactly_one_chunk_and_none_is_too_long(
    parts: list[Block], max_tokens: int, overlap: int
) -> None:
    found = document(*parts)

    def count_prompt(chunk: Chunk) -> int:
        return PROMPT_TOKENS + num_bytes(found.text[chunk.context_start : chunk.stop])

    whole = chunks(found, num_bytes, max_tokens=max_tokens + overlap, overlap_tokens=overlap, count_prompt=count_prompt)
    places = [0, *(part.stop for part in whole)]
    assert [part.start for part in whole] == places[:-1]
    assert places[-1] == len(found.text)
    for part in whole:
        assert part.context_start <= part.start < part.stop
        assert num_bytes(found.text[part.context_start : part.start]) <= overlap
        assert count_prompt(part) <= max_tokens + overlap


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "docs/convert.md"])
@pytest.mark.parametrize("max_tokens", [300, 2048])
def test_the_tokens_of_all_chunks_are_those_of_a_real_document(name: str, max_tokens: int) -> None:
    """Of a byte-level tokenizer: put one after the other, they are the document, byte for byte."""
    found = read_document(PROJECT / name)
    tokenizer = Tokenizer.from_json(tiny_tokenizer().json, TextSettings())

    def encoded(start: int, stop: int) -> list[int]:
        return tokenizer.encode(found.text[start:stop], add_special=False, parse_special=False)

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special=False, parse_special=False))

    parts = chunks(found, count, max_tokens=max_tokens)
    token_ids = [token_id for part in parts for token_id in encoded(part.start, part.stop)]
    assert tokenizer.decode(token_ids) == found.text
    assert max(len(encoded(part.context_start, part.stop)) for part in parts) <= max_tokens
    assert max(len(encoded(part.context_start, part.start)) for part in parts) <= 64


@given(st.lists(blocks, min_size=1, max_size=8), st.integers(1, 9))
def test_counts_that_do_not_add_up_are_never_exceeded(parts: list[Block], extra: int) -> None:
    """A tokenizer may need more tokens for a text than for its parts."""
    found = document(*parts)

    def count_prompt(chunk: Chunk) -> int:
        size = num_bytes(found.text[chunk.context_start : chunk.stop])
        return size + size * extra // 10

    whole = chunks(found, num_bytes, max_tokens=300, overlap_tokens=20, count_prompt=count_prompt)
    assert "".join(found.text[part.start : part.stop] for part in whole) == found.text
    assert all(count_prompt(part) <= 300 for part in whole)


def test_a_word_of_a_hundred_kilobytes_is_cut_into_full_chunks() -> None:
    found = document(block("x" * 100_000))
    parts = chunks(found, num_bytes, max_tokens=2048)
    assert sum(part.stop - part.start for part in parts) == 100_000
    assert len(parts) <= 100_000 / (2048 * 0.75)


def test_chinese_is_cut_after_sentences() -> None:
    found = document(block("这是一个很长的句子，它说明了一些事情。" * 400))
    parts = chunks(found, len, max_tokens=300, overlap_tokens=0)
    assert all(text.endswith("。") for text in texts(found, parts))


def test_no_sentence_is_cut_that_fits_a_chunk() -> None:
    found = document(*(block(sentences(f"Block {number}", 30), number=number) for number in range(20)))
    parts = chunks(found, num_words, max_tokens=200, overlap_tokens=16)
    assert all(text.endswith(".") for text in texts(found, parts))


def test_a_sentence_too_long_for_a_chunk_is_cut_between_words() -> None:
    found = document(block("word " * 999 + "word"))
    parts = chunks(found, num_words, max_tokens=100, overlap_tokens=0)
    assert {word for text in texts(found, parts) for word in text.split()} == {"word"}


def test_a_chunk_rather_ends_before_a_heading() -> None:
    heading = block("The second part", "heading", level=1)
    found = document(block(sentences("First", 10)), heading, block(sentences("Second", 10)))
    parts = chunks(found, num_words, max_tokens=100 + 17, overlap_tokens=16)
    assert texts(found, parts)[1].startswith("The second part")
    assert parts[1].context_start == parts[1].start  # nothing of the section before


def test_a_heading_stays_with_what_follows() -> None:
    found = document(
        block(sentences("First", 9)), block("Title", "heading", level=1), block("Subtitle", "heading", level=2),
        block(sentences("Second", 9)),
    )  # fmt: skip
    for max_tokens in range(80, 170):
        parts = chunks(found, num_words, max_tokens=max_tokens, overlap_tokens=8)
        assert not any(text.endswith(("Title", "Subtitle")) for text in texts(found, parts))


def test_rows_of_a_table_stay_whole() -> None:
    found = document(block("\n".join(f"row {number} | a. b. c" for number in range(200)), "table"))
    parts = chunks(found, num_words, max_tokens=100, overlap_tokens=0)
    assert len(parts) > 5
    assert all(text.startswith("row") for text in texts(found, parts))


def test_the_context_is_whole_sentences() -> None:
    found = document(block(sentences("A", 100)))
    parts = chunks(found, num_words, max_tokens=200, overlap_tokens=20)
    contexts = [found.text[part.context_start : part.start] for part in parts[1:]]
    assert all(num_words(context) == 14 and context.startswith("A sentence") for context in contexts)


def test_the_work_is_linear_in_the_text() -> None:
    counted: list[int] = []

    def count(text: str) -> int:
        counted.append(len(text))
        return num_bytes(text)

    for length in (20_000, 200_000):
        counted.clear()
        found = document(block("x" * length), block("Some words. " * (length // 12)))
        chunks(found, count, max_tokens=1000)
        assert sum(counted) < 12 * len(found.text)


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(UsageError, match="allow 1 more"):
        chunks(document(block("x")), len, max_tokens=99 + LEAST_ROOM_TOKENS, overlap_tokens=100)


def test_an_empty_document_has_no_chunks() -> None:
    assert chunks(document(), len) == []


def test_a_page_break_in_a_sentence_is_no_place_to_cut() -> None:
    before, after = sentences("Before", 20), sentences("After", 20)
    broken = Block("paragraph", f"{before} One that begins here on the page", Place(1, None, 1))
    goes_on = Block("paragraph", f"and ends on the next. {after}", Place(2, None, 1), joint=" ")
    made = document(broken, goes_on)
    for room in range(LEAST_ROOM_TOKENS, 110):
        parts = chunks(made, num_words, max_tokens=room, overlap_tokens=0)
        assert len(parts) > 1
        assert all(text.endswith(".") for text in texts(made, parts))
