"""apps/doc/passages.py: nothing of a document is lost, nothing is too long, headings stand above what follows."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_documents import made

from pocketseek.apps.doc.document import Block, Document, Place
from pocketseek.apps.doc.passages import num_words, passages_of, sentence_spans

PARAGRAPHS = st.lists(st.text(alphabet="ab .!?中文。，\n", min_size=1).map(str.strip).filter(bool), max_size=12)


@given(PARAGRAPHS, st.integers(1, 60))
def test_every_character_is_in_a_passage(paragraphs: list[str], repeats: int) -> None:
    document = made(*(text * repeats for text in paragraphs))
    seen = bytearray(len(document.text))
    for passage in passages_of(document):
        seen[passage.start : passage.stop] = b"\1" * (passage.stop - passage.start)
    assert all(was_seen or letter.isspace() for was_seen, letter in zip(seen, document.text, strict=True))


@given(PARAGRAPHS, st.integers(1, 60))
def test_no_passage_is_longer_than_a_sentence_more_than_full(paragraphs: list[str], repeats: int) -> None:
    document = made(*(text * repeats for text in paragraphs))
    for passage in passages_of(document):
        assert num_words(document.text[passage.start : passage.stop]) <= 320


def test_a_heading_is_above_its_section_and_those_below_it() -> None:
    document = made("Before.", "# One", "a b", "## Two", "c d", "# Three", "## Four", "e f")
    assert [passage.heading for passage in passages_of(document)] == [
        (),
        ("One",),
        ("One", "Two"),
        ("Three", "Four"),
    ]


def test_a_long_section_is_cut_at_sentences_that_both_sides_have() -> None:
    sentences = [f"Sentence number {n} says what the one before it did not say." for n in range(60)]
    document = made(" ".join(sentences))
    passages = passages_of(document)
    texts = [document.text[passage.start : passage.stop] for passage in passages]
    assert len(texts) > 2
    for before, after in pairwise(texts):
        assert after.startswith(before[before.rindex("Sentence") :])
        assert after.endswith(".")


def test_a_word_without_end_is_one_passage() -> None:
    assert len(passages_of(made("a" * 100_000))) == 1


def test_a_sentence_without_end_is_cut() -> None:
    assert len(passages_of(made("word " * 1000))) > 3
    assert len(passages_of(made("字" * 2000))) > 3


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It is, e.g. Debian. Dr. Who saw 3.5 of them.", ["It is, e.g. Debian.", "Dr. Who saw 3.5 of them."]),
        ("第一句。第二句：“好！”然后", ["第一句。", "第二句：“好！”", "然后"]),
        ("wrapped\nline. and more", ["wrapped\nline. and more"]),
    ],
)
def test_sentences_end_where_a_reader_sees_it(text: str, sentences: list[str]) -> None:
    assert [text[start:stop] for start, stop in sentence_spans(text)] == sentences


def test_a_table_ends_at_its_lines() -> None:
    assert len(sentence_spans("a | b\nc | d", by_line=True)) == 2


def test_a_sentence_over_a_page_break_is_in_one_passage_whole() -> None:
    filler = " ".join(f"Sentence number {n} says what the one before it did not say." for n in range(20))
    blocks = (
        Block("paragraph", f"{filler} The notice per", Place(1, None, 1)),
        Block("paragraph", f"iod is three months. {filler}", Place(2, None, 1), joint=""),
    )
    document = Document("contract", "application/pdf", blocks, 2)
    texts = [document.text[passage.start : passage.stop] for passage in passages_of(document)]
    assert any("The notice period is three months." in text for text in texts)
