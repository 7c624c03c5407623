"""Markdown by its lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.doc.document import Link
from pocketseek.apps.doc.formats.markdown_reader import markdown_blocks


def seen(text: str) -> list[tuple[str, int, str]]:
    return [(block.kind, block.level, block.text) for block in markdown_blocks(text)]


def test_both_kinds_of_headings() -> None:
    assert seen("# One #\ntext\n\nTwo\n---\n\nThree\n===\n") == [
        ("heading", 1, "One"),
        ("paragraph", 0, "text"),
        ("heading", 2, "Two"),
        ("heading", 1, "Three"),
    ]


def test_lists_nest_by_their_indentation() -> None:
    assert seen("- a\n  more\n    - b\n- c\n\n1. d\n2) e\n") == [
        ("item", 1, "a more"),
        ("item", 2, "b"),
        ("item", 1, "c"),
        ("item", 1, "1. d"),
        ("item", 1, "2) e"),
    ]


def test_code_is_kept_as_it_is() -> None:
    assert seen("```py\nif *a*:\n  # no heading\n```\n\n    indented\n      more\n") == [
        ("code", 0, "if *a*:\n  # no heading"),
        ("code", 0, "indented\n  more"),
    ]


def test_a_table_loses_its_rule() -> None:
    assert seen("| a | **b** |\n|---|:-:|\n| 1 | 2 |\n") == [("table", 0, "a | b\n1 | 2")]


def test_links_keep_their_words_and_marks_go() -> None:
    (block,) = markdown_blocks("See *the* [**page**](https://example.org/ 'title') and <https://example.org/b>, 2 * 3.")
    assert block.text == "See the page and https://example.org/b, 2 * 3."
    assert block.links == (Link(8, 12, "https://example.org/"), Link(17, 38, "https://example.org/b"))


def test_a_front_matter_is_left_out() -> None:
    assert seen("---\ntitle: x\n---\ntext\n") == [("paragraph", 0, "text")]


def test_footnotes() -> None:
    assert seen("text[^a]\n\n[^a]: note\n") == [("paragraph", 0, "text[a]"), ("footnote", 0, "[a] note")]


@given(st.text(alphabet="#*-_`~[](){}<>|!\\ \n\tab中1.:^", max_size=60))
def test_any_text_gives_sound_blocks(text: str) -> None:
    for number, block in enumerate(markdown_blocks(text), start=1):
        assert block.text == block.text.strip() != ""
        assert "\n\n" not in block.text
        assert block.place.paragraph == number
        assert all(0 <= link.start < link.stop <= len(block.text) for link in block.links)
