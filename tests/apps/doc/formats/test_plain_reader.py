"""Plain text: where a paragraph ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.doc.formats.plain_reader import plain_blocks


def seen(text: str) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in plain_blocks(text)]


def test_blank_lines_part_paragraphs_and_line_breaks_stay() -> None:
    assert seen("one\ntwo\r\n\r\n \nthree\x0cfour") == [
        *(("paragraph", "one\ntwo"), ("paragraph", "three"), ("paragraph", "four"))
    ]


def test_long_lines_are_paragraphs() -> None:
    assert [text for _, text in seen(f"{'a ' * 80}\nshort\n{'b ' * 80}")] == [
        ("a " * 80).strip(),
        "short",
        ("b " * 80).strip(),
    ]


def test_lines_indented_as_chinese_paragraphs_are_paragraphs_and_chapters_headings() -> None:
    assert seen("　　第一段。\n　　第二段。\n\n第十二章 归来\n\n　　第三段。\n") == [
        ("paragraph", "第一段。"),
        ("paragraph", "第二段。"),
        ("heading", "第十二章 归来"),
        ("paragraph", "第三段。"),
    ]


@given(st.text(alphabet="ab \n\r\t　中。\x0c\x00", max_size=80))
def test_any_text_keeps_its_characters_in_order(text: str) -> None:
    blocks = list(plain_blocks(text))
    assert all(block.text == block.text.strip() != "" and "\n\n" not in block.text for block in blocks)
    kept = "".join("".join(block.text.split()) for block in blocks)
    assert kept == "".join(text.replace("\x00", "").split())
