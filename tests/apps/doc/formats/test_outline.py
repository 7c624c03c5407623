"""Chapters are the headings that divide a document, each with the notes on it."""

from pocketseek.apps.doc.document import Block, Document, Place
from pocketseek.apps.doc.formats.outline import heading_paths, outline


def document(*levels: int) -> Document:
    """A heading for each level (0: none), and a paragraph behind it."""
    blocks = []
    for number, level in enumerate(levels, start=1):
        if level:
            blocks.append(Block("heading", f"H{number}", Place(number, None, 1), level=level))
        blocks.append(Block("paragraph", f"Text {number}.", Place(number, None, 2)))
    return Document("test", "text/plain", tuple(blocks))


def titles(found: Document) -> list[str]:
    return [chapter.title for chapter in outline(found, [0], ["note"])]


def test_headings_stand_above_what_is_below_them() -> None:
    paths = heading_paths(document(1, 2, 2, 1))
    assert paths == [(), ("H1",), ("H1",), ("H1", "H2"), ("H1",), ("H1", "H3"), (), ("H4",)]


def test_a_single_title_divides_nothing() -> None:
    assert titles(document(1, 2, 2)) == ["H1", "H2", "H3"]
    assert titles(document(1, 2, 1)) == ["H1", "H3"]
    assert titles(document(0, 1)) == ["", "H2"]
    assert titles(document(0, 0)) == [""]


def test_notes_belong_to_the_chapter_in_which_their_chunk_begins() -> None:
    found = document(1, 1, 1)
    starts = [found.starts[0], found.starts[1], found.starts[4]]
    chapters = outline(found, starts, ["first", "second", "third"])
    assert [chapter.notes for chapter in chapters] == [("first", "second"), ("second",), ("third",)]
    assert chapters[2].place == Place(3, None, 1)


def test_without_chunks_there_is_no_outline() -> None:
    assert outline(Document("empty", "text/plain", ()), [], []) == []
