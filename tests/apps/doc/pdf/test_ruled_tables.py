"""Tables that lines are drawn around: the lines decide what a cell is, however close the words stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from document_files import Shown, column, framed_cells, pdf_bytes

from pocketseek.apps.doc.pdf.pdf_reader import read_pdf
from pocketseek.apps.doc.pdf.rules import MAX_PATHS
from pocketseek.apps.doc.pieces import ReadOptions

XS, YS = (72, 152, 232, 312), (700, 660, 620, 580)
BEFORE = "the quick brown fox jumps over the lazy dog and runs away from it and sits down."


def blocks_of(tmp_path: Path, page: list[Shown], drawn: str) -> list[tuple[str, str]]:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf_bytes([page], drawn=drawn))
    pieces = read_pdf(path, ReadOptions())
    return [(block.kind, block.text) for piece in pieces for block in piece.blocks]


def cells() -> list[Shown]:
    """Nine cells whose words reach from line to line; one in the middle of the height of its row."""
    texts = [
        [["Name of the fruit"], ["Size in centimeters"], ["Colour when ripe"]],
        [["apple from trees"], ["seven or eight or", "even nine, rarely", "less than that is"], ["mostly red or so"]],
        [["plums from trees"], ["four"], ["blue"]],
    ]
    shown = []
    for row, top in zip(texts, YS, strict=False):
        for lines, x in zip(row, XS, strict=False):
            first = top - 23 + 6 * (len(lines) - 1)
            shown += [Shown(x + 2, first - 11 * number, line, 9) for number, line in enumerate(lines)]
    return shown


TABLE = (
    "Name of the fruit | Size in centimeters | Colour when ripe\n"
    "apple from trees | seven or eight or even nine, rarely less than that is | mostly red or so\n"
    "plums from trees | four | blue"
)


def lines_drawn(xs: tuple[float, ...], ys: tuple[float, ...], *, filled: bool) -> str:
    """Each as a thin box, or all of them as one path."""
    if filled:
        upright = [f"{x} {ys[-1]} 0.5 {ys[0] - ys[-1]} re f" for x in xs]
        return "\n".join(upright + [f"{xs[0]} {y} {xs[-1] - xs[0]} 0.5 re f" for y in ys])
    upright = [f"{x} {ys[-1]} m {x} {ys[0]} l" for x in xs]
    return " ".join(upright + [f"{xs[0]} {y} m {xs[-1]} {y} l" for y in ys]) + " S"


@pytest.mark.parametrize(
    "drawn", [framed_cells(XS, YS), lines_drawn(XS, YS, filled=True), lines_drawn(XS, YS, filled=False)]
)
def test_a_table_is_what_its_lines_say(tmp_path: Path, drawn: str) -> None:
    page = [*column(72, 760, [BEFORE]), *cells(), *column(72, 540, [BEFORE])]
    assert blocks_of(tmp_path, page, drawn) == [("paragraph", BEFORE), ("table", TABLE), ("paragraph", BEFORE)]


def test_a_table_that_is_open_to_its_sides_ends_where_its_lines_do(tmp_path: Path) -> None:
    inner = [f"{x} {YS[-1]} m {x} {YS[0]} l" for x in XS[1:-1]]
    drawn = " ".join(inner + [f"{XS[0]} {y} m {XS[-1]} {y} l" for y in YS]) + " S"
    page = [*column(72, 760, [BEFORE]), *cells(), *column(72, 540, [BEFORE])]
    assert blocks_of(tmp_path, page, drawn) == [("paragraph", BEFORE), ("table", TABLE), ("paragraph", BEFORE)]


def test_a_table_in_a_column_stays_in_its_column(tmp_path: Path) -> None:
    right = [f"right {number} one two three four five six" for number in range(24)]
    left = [f"left {number} one two three four five six seven" for number in range(4)]
    page = [*column(72, 780, left), *cells(), *column(72, 560, left), *column(330, 780, right)]
    texts = [text for _, text in blocks_of(tmp_path, page, framed_cells(XS, YS))]
    assert TABLE in texts
    assert max(n for n, text in enumerate(texts) if "left" in text) < min(
        n for n, text in enumerate(texts) if "right" in text
    )


def test_a_cell_over_two_columns_is_told_where_it_begins(tmp_path: Path) -> None:
    drawn = framed_cells((72, 232), (700, 660)) + "\n" + framed_cells((72, 152, 232), (660, 620))
    page = [Shown(80, 675, "Apples and plums"), Shown(80, 635, "red"), Shown(160, 635, "blue")]
    assert blocks_of(tmp_path, page, drawn) == [("table", "Apples and plums |\nred | blue")]


def test_rows_without_lines_between_them_are_told_apart_by_their_words(tmp_path: Path) -> None:
    rows = [("Name", "Size", "Colour"), ("apple", "7 cm", "red"), ("pear", "9 cm", "green"), ("plum", "4 cm", "blue")]
    page = [Shown(x + 4, 685 - 14 * n, cell) for n, row in enumerate(rows) for x, cell in zip(XS, row, strict=False)]
    drawn = framed_cells(XS, (700, 680)) + "\n" + framed_cells(XS, (680, 630))
    assert blocks_of(tmp_path, page, drawn) == [("table", "\n".join(" | ".join(row) for row in rows))]


@pytest.mark.parametrize(
    "drawn",
    [
        framed_cells((60, 560), (800, 500)),  # a note in a frame
        framed_cells((60, 150, 560), (800, 500)),  # one with a strip beside it
        framed_cells((60, 70, 560), (800, 790, 500)),  # decoration
    ],
)
def test_a_frame_around_text_makes_no_table(tmp_path: Path, drawn: str) -> None:
    page = column(170, 760, [BEFORE] * 5)
    assert blocks_of(tmp_path, page, drawn) == [("paragraph", " ".join([BEFORE] * 5))]


def test_a_drawing_of_very_many_lines_is_left_alone(tmp_path: Path) -> None:
    drawn = "\n".join(f"{number % 500} 10 m {number % 500} 800 l S" for number in range(MAX_PATHS + 1))
    assert blocks_of(tmp_path, column(72, 760, [BEFORE]), drawn) == [("paragraph", BEFORE)]
