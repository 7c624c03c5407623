"""WordprocessingML: what its styles and numberings mean, and what is shown of it."""

from __future__ import annotations

from pathlib import Path

from document_files import W_NAMESPACE, docx_parts, paragraph, write_zip

from pocketseek.apps.doc.document import Block, Link, Remark
from pocketseek.apps.doc.formats.package_reader import read_package
from pocketseek.apps.doc.pieces import ReadOptions

STYLES = (
    '<w:style w:styleId="H2"><w:name w:val="heading 2"/></w:style>'
    '<w:style w:styleId="Mine"><w:name w:val="Mine"/><w:basedOn w:val="H2"/></w:style>'
    '<w:style w:styleId="Loop"><w:name w:val="loop"/><w:basedOn w:val="Loop"/></w:style>'
    '<w:style w:styleId="Code"><w:name w:val="Source Code"/></w:style>'
)
NUMBERING = (
    '<w:abstractNum w:abstractNumId="7">'
    '<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>'
    '<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerRoman"/><w:lvlText w:val="%1.%2)"/></w:lvl>'
    "</w:abstractNum>"
    '<w:abstractNum w:abstractNumId="8"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl></w:abstractNum>'
    '<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="8"/></w:num>'
)


def read(
    tmp_path: Path, body: str, *, comments: bool = False, more: dict[str, str | bytes] | None = None, **others: str
) -> tuple[list[Block], list[Remark]]:
    path = write_zip(tmp_path / "a.docx", docx_parts(body, **others) | (more or {}))
    pieces = list(read_package(path, ReadOptions(comments=comments)))
    return [block for piece in pieces for block in piece.blocks], [r for piece in pieces for r in piece.remarks]


def seen(blocks: list[Block]) -> list[tuple[str, int, str]]:
    return [(block.kind, block.level, block.text) for block in blocks]


def numbered(text: str, num_id: int, level: int = 0) -> str:
    return paragraph(text, f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{num_id}"/></w:numPr>')


def test_headings_are_told_by_style_by_what_it_is_based_on_and_by_outline_level(tmp_path: Path) -> None:
    body = (
        paragraph("by style", '<w:pStyle w:val="H2"/>')
        + paragraph("by base", '<w:pStyle w:val="Mine"/>')
        + paragraph("by level", '<w:outlineLvl w:val="0"/>')
        + paragraph("by a style that is not defined", '<w:pStyle w:val="Heading3"/>')
        + paragraph("text", '<w:pStyle w:val="Loop"/>')
    )
    assert [(kind, level) for kind, level, _ in seen(read(tmp_path, body, styles=STYLES)[0])] == [
        *(("heading", 2), ("heading", 2), ("heading", 1), ("heading", 3), ("paragraph", 0))
    ]


def test_lists_bear_the_numbers_that_are_printed(tmp_path: Path) -> None:
    items = [("a", 1, 0), ("b", 1, 0), ("c", 1, 1), ("d", 1, 1), ("e", 1, 0), ("f", 1, 1), ("g", 2, 0), ("h", 99, 0)]
    body = "".join(numbered(*item) for item in items)
    assert seen(read(tmp_path, body, numbering=NUMBERING)[0]) == [
        ("item", 1, "1. a"),
        ("item", 1, "2. b"),
        ("item", 2, "2.i) c"),
        ("item", 2, "2.ii) d"),
        ("item", 1, "3. e"),
        ("item", 2, "3.i) f"),
        ("item", 1, "g"),
        ("paragraph", 0, "h"),
    ]


def test_a_table_is_one_block_and_a_frame_is_none(tmp_path: Path) -> None:
    def row(*cells: str) -> str:
        return "<w:tr>" + "".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in cells) + "</w:tr>"

    body = f"<w:tbl>{row('a', 'b')}{row('', 'd')}</w:tbl><w:tbl>{row('framed')}</w:tbl>"
    assert seen(read(tmp_path, body)[0]) == [("table", 0, "a | b\n| d"), ("paragraph", 0, "framed")]


def test_a_cell_over_several_columns_keeps_them_in_line(tmp_path: Path) -> None:
    wide = f'<w:tc><w:tcPr><w:gridSpan w:val="2"/></w:tcPr>{paragraph("ab")}</w:tc><w:tc>{paragraph("c")}</w:tc>'
    row = "".join(f"<w:tc>{paragraph(text)}</w:tc>" for text in "123")
    body = f"<w:tbl><w:tr>{wide}</w:tr><w:tr>{row}</w:tr></w:tbl>"
    assert seen(read(tmp_path, body)[0]) == [("table", 0, "ab |  | c\n1 | 2 | 3")]


def test_raised_digits_stay_raised(tmp_path: Path) -> None:
    power = '<w:r><w:rPr><w:vertAlign w:val="superscript"/></w:rPr><w:t>6</w:t></w:r>'
    body = f"<w:p><w:r><w:t>10</w:t></w:r>{power}<w:r><w:t> and 6</w:t></w:r></w:p>"
    assert seen(read(tmp_path, body)[0]) == [("paragraph", 0, "10⁶ and 6")]


def test_footnotes_follow_the_paragraph_that_refers_to_them(tmp_path: Path) -> None:
    body = (
        '<w:p><w:r><w:t>see</w:t></w:r><w:r><w:footnoteReference w:id="5"/></w:r><w:r>'
        f"<w:t> on</w:t></w:r></w:p>{paragraph('next')}"
    )
    notes = f'<w:footnote w:id="5">{paragraph("the note")}</w:footnote>'
    assert seen(read(tmp_path, body, footnotes=notes)[0]) == [
        ("paragraph", 0, "see[1] on"),
        ("footnote", 0, "[1] the note"),
        ("paragraph", 0, "next"),
    ]


def test_comments_are_read_when_asked_for_and_counted_otherwise(tmp_path: Path) -> None:
    body = '<w:p><w:r><w:t>text</w:t><w:commentReference w:id="0"/></w:r></w:p>'
    notes = f'<w:comment w:id="0" w:author="Ann">{paragraph("really?")}</w:comment>'
    blocks, remarks = read(tmp_path, body, comments=True, more=_comments(notes))
    assert seen(blocks)[1] == ("comment", 0, "Ann: really?")
    assert not remarks
    blocks, remarks = read(tmp_path, body, more=_comments(notes))
    assert [block.kind for block in blocks] == ["paragraph"]
    assert [(remark.code, remark.detail) for remark in remarks] == [("comments", "1")]


def _comments(notes: str) -> dict[str, str | bytes]:
    return {"word/comments.xml": f'<w:comments xmlns:w="{W_NAMESPACE}">{notes}</w:comments>'}


def test_tracked_insertions_count_and_deletions_do_not(tmp_path: Path) -> None:
    body = (
        "<w:p><w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del>"
        "<w:r><w:instrText>FIELD CODE</w:instrText><w:tab/><w:t>shown</w:t></w:r></w:p>"
    )
    assert seen(read(tmp_path, body)[0]) == [("paragraph", 0, "new shown")]


def test_a_text_box_is_read_once(tmp_path: Path) -> None:
    box = f"<w:txbxContent>{paragraph('boxed')}</w:txbxContent>"
    body = (
        '<w:p><w:r><mc:AlternateContent xmlns:mc="urn:mc"><mc:Choice><w:drawing>'
        f"{box}</w:drawing></mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent><w:t>around</w:t></w:r></w:p>"
    )
    assert seen(read(tmp_path, body)[0]) == [("paragraph", 0, "around"), ("paragraph", 0, "boxed")]


def test_links_come_from_the_relationships(tmp_path: Path) -> None:
    relations = (
        '<Relationships xmlns="urn:r"><Relationship Id="r1" TargetMode="External" Target="https://example.org/"/>'
        "</Relationships>"
    )
    link = '<w:hyperlink r:id="r1"><w:r><w:t>there</w:t></w:r></w:hyperlink>'
    body = f"<w:p><w:r><w:t>to </w:t></w:r>{link}</w:p>"
    blocks, _ = read(tmp_path, body, more={"word/_rels/document.xml.rels": relations})
    assert (blocks[0].text, blocks[0].links) == ("to there", (Link(3, 8, "https://example.org/"),))


def test_lines_of_code_are_one_block(tmp_path: Path) -> None:
    body = "".join(paragraph(line, '<w:pStyle w:val="Code"/>') for line in ("def f():", "  return 1")) + paragraph("x")
    assert seen(read(tmp_path, body, styles=STYLES)[0]) == [("code", 0, "def f():\n  return 1"), ("paragraph", 0, "x")]


def test_paragraphs_are_counted_through_the_whole_document(tmp_path: Path) -> None:
    blocks, _ = read(tmp_path, "".join(paragraph(f"{n}") for n in range(1000)))
    assert [block.place.paragraph for block in blocks] == list(range(1, 1001))
