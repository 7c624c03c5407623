"""PDFs made for one property each, read in this process: what `sandbox.py` runs apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from document_files import Shown, column, pdf_bytes, pdf_of_objects, picture_pdf_bytes

from pocketseek.apps.doc.document import Block, Document, Link, Remark
from pocketseek.apps.doc.pdf.pdf_reader import read_pdf
from pocketseek.apps.doc.pieces import ReadOptions
from pocketseek.errors import FormatError, UnsupportedError, UsageError

LOREM = "the quick brown fox jumps over the lazy dog and runs away from it"
LEFT = [f"left {number} one two three four five six" for number in range(12)]
RIGHT = [f"right {number} one two three four five six" for number in range(12)]


def read(tmp_path: Path, data: bytes, **options: object) -> tuple[list[Block], list[Remark]]:
    path = tmp_path / "a.pdf"
    path.write_bytes(data)
    pieces = list(read_pdf(path, ReadOptions(**options)))  # type: ignore[arg-type]
    return [block for piece in pieces for block in piece.blocks], [r for piece in pieces for r in piece.remarks]


def kinds(blocks: list[Block]) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in blocks]


def test_lines_are_joined_and_paragraphs_parted(tmp_path: Path) -> None:
    page = column(72, 760, [LOREM, "second line of the paragraph."]) + column(72, 700, ["Another one."])
    blocks, _ = read(tmp_path, pdf_bytes([page]))
    assert kinds(blocks) == [("paragraph", f"{LOREM} second line of the paragraph."), ("paragraph", "Another one.")]
    assert [block.place.paragraph for block in blocks] == [1, 2]


def test_a_word_broken_at_the_end_of_a_line_is_whole_again(tmp_path: Path) -> None:
    blocks, _ = read(tmp_path, pdf_bytes([column(72, 760, ["a long line which ends with extra-", "ordinary words"])]))
    assert blocks[0].text == "a long line which ends with extraordinary words"


def test_an_address_keeps_the_hyphen_that_it_is_broken_at(tmp_path: Path) -> None:
    lines = [
        "Everything about it stands under https://plum-",
        "tree.example/index, and much more about apples than",
        "that.",
    ]
    blocks, _ = read(tmp_path, pdf_bytes([column(72, 700, lines)]))
    assert "https://plum-tree.example/index" in blocks[0].text


@pytest.mark.parametrize("row_by_row", [False, True])
def test_two_columns_are_read_one_after_the_other(tmp_path: Path, row_by_row: bool) -> None:
    left, right = column(60, 700, LEFT), column(310, 700, RIGHT)
    body = [item for pair in zip(left, right, strict=True) for item in pair] if row_by_row else left + right
    title = [Shown(60, 760, "A title that goes over the whole width of both of the columns", 16)]
    blocks, _ = read(tmp_path, pdf_bytes([title + body]))
    text = " ".join(block.text for block in blocks)
    assert text.index("A title") < text.index("left 0") < text.index("left 11") < text.index("right 0")


def test_a_paragraph_that_goes_on_in_the_next_column_is_one(tmp_path: Path) -> None:
    left = ["Plums are eaten fresh by most.", *["they are cooked and dried and they are kept"] * 11]
    right = [*["until the winter ends in all the villages"] * 11, "and then they are gone."]
    blocks, _ = read(tmp_path, pdf_bytes([column(60, 700, left) + column(310, 700, right)]))
    texts = [block.text for block in blocks]
    assert any("kept until the winter" in text for text in texts)
    ended = [*left[:-1], "they are cooked and dried and they are kept."]
    blocks, _ = read(tmp_path, pdf_bytes([column(60, 700, ended) + column(310, 700, right)]))
    assert not any("kept. until" in block.text for block in blocks)


@pytest.mark.parametrize("gap", [400, 1100])
def test_characters_that_a_justified_line_holds_apart_are_one_word(tmp_path: Path, gap: int) -> None:
    """联系了, each `gap` thousandths of its size from the next; then 张三 and 李四, which stand apart on purpose."""
    spread = f"<8054> -{gap} <7CFB> -{gap} <4E86>"
    content = f"BT /F1 12 Tf 72 700 Td [{spread}] TJ 0 -40 Td [<5F204E09> -1100 <674E56DB>] TJ ET".encode()
    font = b"<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H /DescendantFonts [6 0 R] >>"
    descendant = (
        b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /DW 1000 "
        b"/CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 2 >> >>"
    )
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        font,
        descendant,
    ]
    blocks, _ = read(tmp_path, pdf_of_objects(objects))
    assert [block.text for block in blocks] == ["联系了", "张三 李四"]


def test_a_full_width_line_parts_what_is_above_it_from_what_is_below(tmp_path: Path) -> None:
    wide = "a line that goes over the whole width of the page and both of its columns, from side to side, all the way"
    above = column(60, 780, LEFT[:6]) + column(310, 780, RIGHT[:6])
    below = column(60, 600, LEFT[6:]) + column(310, 600, RIGHT[6:])
    blocks, _ = read(tmp_path, pdf_bytes([[*above, Shown(60, 660, wide), *below]]))
    text = " ".join(block.text for block in blocks)
    order = [text.index(part) for part in ("left 0", "right 0", "right 5", wide, "left 6", "left 11", "right 6")]
    assert order == sorted(order)


def test_a_table_is_read_row_by_row(tmp_path: Path) -> None:
    rows = [("Name", "Size", "Colour"), ("apple", "7 cm", "red"), ("pear", "9 cm", "green"), ("plum", "4 cm", "blue")]
    cells = [
        Shown(72 + 120 * across, 700 - 14 * down, cell)
        for down, row in enumerate(rows)
        for across, cell in enumerate(row)
    ]
    blocks, _ = read(tmp_path, pdf_bytes([cells]))
    assert kinds(blocks) == [("table", "\n".join(" | ".join(row) for row in rows))]


def test_a_cell_of_several_lines_stays_one_cell(tmp_path: Path) -> None:
    cells = [
        *(Shown(72, 700, "key"), Shown(250, 700, "meaning")),
        *(Shown(72, 680, "alpha"), Shown(250, 680, "the first letter"), Shown(250, 668, "of the alphabet")),
        *(Shown(72, 648, "omega"), Shown(250, 648, "the last letter")),
    ]
    blocks, _ = read(tmp_path, pdf_bytes([cells]))
    assert blocks[0].text == "key | meaning\nalpha | the first letter of the alphabet\nomega | the last letter"


def test_larger_type_makes_headings_with_levels(tmp_path: Path) -> None:
    page = [Shown(72, 780, "Chapter", 20), Shown(72, 740, "Section", 14), *column(72, 710, [LOREM] * 4)]
    blocks, _ = read(tmp_path, pdf_bytes([page]))
    assert [(block.kind, block.level) for block in blocks[:3]] == [("heading", 1), ("heading", 2), ("paragraph", 0)]


def test_the_outline_names_headings_of_any_size(tmp_path: Path) -> None:
    page = [*column(72, 780, [LOREM] * 3), Shown(72, 720, "2.1 Small heading"), *column(72, 690, [LOREM] * 3)]
    blocks, _ = read(tmp_path, pdf_bytes([page], outline=[("Small heading", 0)]))
    assert [(b.level, b.text) for b in blocks if b.kind == "heading"] == [(1, "2.1 Small heading")]


def test_running_heads_and_page_numbers_are_dropped_and_counted(tmp_path: Path) -> None:
    pages = [
        [Shown(72, 800, "My Book"), *column(72, 740, [f"page text {n} {LOREM}"] * 3), Shown(290, 40, str(n + 17))]
        for n in range(5)
    ]
    blocks, remarks = read(tmp_path, pdf_bytes(pages))
    assert not [block for block in blocks if "My Book" in block.text or block.text.isdigit()]
    assert [(remark.code, remark.detail) for remark in remarks] == [("running-lines", "10")]
    assert [block.place.page for block in blocks] == [1, 2, 3, 4, 5]


def test_a_line_that_stands_once_at_the_top_is_kept(tmp_path: Path) -> None:
    pages = [[Shown(72, 800, f"{word} first"), *column(72, 740, [LOREM] * 3)] for word in ("alpha", "beta", "gamma")]
    blocks, _ = read(tmp_path, pdf_bytes(pages))
    assert [block.text for block in blocks if block.text.endswith("first")] == [
        "alpha first",
        "beta first",
        "gamma first",
    ]


def test_sections_that_begin_alike_and_numbered_notes_are_no_running_lines(tmp_path: Path) -> None:
    pages = [
        [
            Shown(72, 790, f"Here are the tools for {what} of a Debian system."),
            *column(72, 700, [LOREM] * 9),
            Shown(72, 60, note, 8),
        ]
        for what, note in (("copies", "3 See the manual"), ("archives", "4 Older ones are packed"))
    ]
    texts = [block.text for block in read(tmp_path, pdf_bytes([*pages, column(72, 700, [LOREM])]))[0]]
    for what in ("Here are the tools for copies of a Debian system.", "3 See the manual"):
        assert what in texts


def test_raised_digits_stay_raised(tmp_path: Path) -> None:
    page = [Shown(72, 700, "There are 10"), Shown(128, 704, "6", 6), Shown(132, 700, " of them")]
    blocks, _ = read(tmp_path, pdf_bytes([page]))
    assert blocks[0].text == "There are 10⁶ of them"


def test_typewriter_type_is_code_and_keeps_its_columns(tmp_path: Path) -> None:
    page = [*column(72, 780, [LOREM] * 2), *column(72, 740, ["def f():", "    return 1"], font="mono")]
    blocks, _ = read(tmp_path, pdf_bytes([page]))
    assert kinds(blocks)[-1] == ("code", "def f():\n    return 1")


def test_a_link_lies_over_its_words(tmp_path: Path) -> None:
    page = [Shown(72, 700, "see"), Shown(92, 700, "the page"), Shown(135, 700, "for more")]
    data = pdf_bytes([page], links={0: ((91, 695, 131, 712), "https://example.org/")})
    blocks, _ = read(tmp_path, data)
    assert blocks[0].text == "see the page for more"
    assert blocks[0].links == (Link(4, 12, "https://example.org/"),)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_the_turn_that_the_file_asks_for_changes_nothing(tmp_path: Path, turn: int) -> None:
    page = column(72, 700, ["first line", "second line"])
    assert kinds(read(tmp_path, pdf_bytes([page], turn=turn))[0]) == [("paragraph", "first line second line")]


def test_a_page_of_climbing_text_is_turned(tmp_path: Path) -> None:
    page = [Shown(100, 72, "first line", climbs=True), Shown(112, 72, "second line", climbs=True)]
    assert kinds(read(tmp_path, pdf_bytes([page], turn=90))[0]) == [("paragraph", "first line second line")]


def test_a_climbing_note_comes_after_the_text_of_its_page(tmp_path: Path) -> None:
    page = [Shown(20, 72, "printed in May", climbs=True), *column(72, 700, [LOREM] * 2)]
    assert read(tmp_path, pdf_bytes([page]))[0][-1].text == "printed in May"


def test_a_page_that_is_a_picture_is_remarked_on(tmp_path: Path) -> None:
    blocks, remarks = read(tmp_path, picture_pdf_bytes(bytes(100 * 140), 100, 140))
    assert not blocks
    assert [(remark.code, remark.page) for remark in remarks] == [("picture-page", 1)]


def test_ocr_without_its_program_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.apps.doc.ocr.shutil.which", lambda _: None)
    with pytest.raises(UnsupportedError, match="needs the program tesseract"):
        read(tmp_path, picture_pdf_bytes(bytes(100 * 140), 100, 140), ocr=True)


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")
def test_ocr_reads_a_picture_of_text(tmp_path: Path) -> None:
    blocks, remarks = read(tmp_path, (Path(__file__).parents[1] / "data" / "picture.pdf").read_bytes(), ocr=True)
    assert "quick brown fox" in " ".join(block.text for block in blocks)
    assert not remarks


ENCRYPTED = Path(__file__).parents[1] / "data" / "encrypted.pdf"  # its password is "secret"


def test_an_encrypted_file_asks_for_its_password(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is encrypted; give its password"):
        read(tmp_path, ENCRYPTED.read_bytes())
    with pytest.raises(UsageError, match="wrong password"):
        read(tmp_path, ENCRYPTED.read_bytes(), password="guess")
    blocks, _ = read(tmp_path, ENCRYPTED.read_bytes(), password="secret")
    assert blocks[0].text == "text behind a password"


def test_a_broken_xref_is_rebuilt_or_refused_in_one_line(tmp_path: Path) -> None:
    data = pdf_bytes([column(72, 700, ["still here"])])
    blocks, _ = read(tmp_path, data.replace(b"xref\n0", b"xrfe\n9"))
    assert blocks[0].text == "still here"
    with pytest.raises(FormatError, match="damaged PDF"):
        read(tmp_path, b"%PDF-1.7\n" + b"\x00garbage" * 100)


def test_a_truncated_file_is_read_as_far_as_it_goes_or_refused(tmp_path: Path) -> None:
    data = pdf_bytes([column(72, 700, [LOREM] * 20) for _ in range(3)])
    whole = len(read(tmp_path, data)[0])
    for cut in range(0, len(data), 311):
        try:
            blocks, _ = read(tmp_path, data[:cut])
        except FormatError:
            continue
        assert len(blocks) <= whole


def test_pages_that_contain_themselves_end(tmp_path: Path) -> None:
    loop = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>"]
    try:
        blocks, remarks = read(tmp_path, pdf_of_objects(loop))
    except FormatError:
        return
    assert not blocks
    assert all(remark.code == "damaged-part" for remark in remarks)


def test_two_readings_give_the_same(tmp_path: Path) -> None:
    data = pdf_bytes([column(60, 700, LEFT) + column(310, 700, RIGHT)] * 3)
    assert read(tmp_path, data) == read(tmp_path, data)


def over_two_pages(tmp_path: Path, last: str, first: str, size: float = 10) -> list[Block]:
    """A paragraph whose last line on page 1 is `last`, and page 2 beginning with `first`."""
    top = column(72, 760, [LOREM] * 3 + [last])
    bottom = [Shown(72, 760, first, size), *column(72, 748, [LOREM, "and that is the end."])]
    return read(tmp_path, pdf_bytes([top, bottom]))[0]


@pytest.mark.parametrize(
    ("last", "first", "joined"),
    [
        (LOREM, "who is too lazy to look", "runs away from it who is too lazy"),
        (f"{LOREM[:-8]} from ele-", "phants and other animals", "from elephants and other"),
    ],
)
def test_a_paragraph_that_goes_on_over_a_page_break_is_one_text(
    tmp_path: Path, last: str, first: str, joined: str
) -> None:
    blocks = over_two_pages(tmp_path, last, first)
    assert [block.place.page for block in blocks] == [1, 2]
    assert joined in Document("t", "application/pdf", tuple(blocks), 2).text


@pytest.mark.parametrize(
    ("last", "first", "size"),
    [
        (f"{LOREM[:-1]}.", "who is too lazy to look", 10),  # a sentence ends
        ("a short line", "who is too lazy to look", 10),
        (LOREM, "Who is too lazy to look", 10),
        (LOREM, "who is too lazy to look", 8),
    ],
)
def test_what_does_not_go_on_over_a_page_break_is_kept_apart(
    tmp_path: Path, last: str, first: str, size: float
) -> None:
    assert all(block.joint is None for block in over_two_pages(tmp_path, last, first, size))


def test_pages_come_in_order_whatever_goes_on(tmp_path: Path) -> None:
    pages = [column(72, 760, [LOREM] * 4), [], column(72, 760, [LOREM] * 4), column(72, 760, [LOREM, "the end."])]
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf_bytes(pages))
    pieces = list(read_pdf(path, ReadOptions()))
    assert [piece.num_done for piece in pieces] == [0, 1, 2, 3, 4]
    assert [block.joint for piece in pieces for block in piece.blocks] == [None, None, " "]
