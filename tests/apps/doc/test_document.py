"""apps/doc/document.py: positions in the text lead back to blocks."""

from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.doc.document import BLOCK_GAP, Block, Document, Place

LINES = st.text(alphabet="ab 中文。", min_size=1).map(str.strip).filter(bool)


def document(texts: list[str]) -> Document:
    blocks = tuple(Block("paragraph", text, Place(None, None, n)) for n, text in enumerate(texts, start=1))
    return Document("title", "text/plain", blocks)


@given(st.lists(LINES, min_size=1, max_size=8))
def test_each_position_belongs_to_the_block_whose_text_is_there(texts: list[str]) -> None:
    made = document(texts)
    for index, (start, block) in enumerate(zip(made.starts, made.blocks, strict=True)):
        assert made.text[start : start + len(block.text)] == block.text
        last = min(start + len(block.text) + len(BLOCK_GAP), len(made.text)) - 1
        assert made.block_index_at(start) == made.block_index_at(last) == index


def test_a_place_is_that_of_the_block() -> None:
    assert document(["one", "two"]).place_at(5).paragraph == 2


def test_an_empty_document_has_an_empty_text() -> None:
    assert document([]).text == ""


def test_what_goes_on_over_a_page_break_is_one_text_and_knows_both_pages() -> None:
    parts = [("A word is bro", None), ("ken here and", ""), ("goes on.", " "), ("Next.", None)]
    blocks = tuple(Block("paragraph", text, Place(n, None, 1), joint=joint) for n, (text, joint) in enumerate(parts, 1))
    made = Document("title", "application/pdf", blocks, 4)
    assert made.text == f"A word is broken here and goes on.{BLOCK_GAP}Next."
    assert [made.text[start:].startswith(block.text) for start, block in zip(made.starts, blocks, strict=True)] == [
        True
    ] * 4
    assert [made.place_at(made.text.index(word)).page for word in ("word", "ken", "goes", "Next")] == [1, 2, 3, 4]
    assert [made.text[one.start : one.stop] for one in made.paragraphs] == made.text.split(BLOCK_GAP)
