"""Books of version 2 and 3: chapters in the order of the spine."""

from __future__ import annotations

from pathlib import Path

import pytest
from document_files import epub_parts, write_zip

from pocketseek.apps.doc.formats.package_reader import read_package
from pocketseek.apps.doc.pieces import Piece, ReadOptions
from pocketseek.errors import FormatError, UnsupportedError


def pieces(tmp_path: Path, parts: dict[str, str | bytes]) -> list[Piece]:
    return list(read_package(write_zip(tmp_path / "a.epub", parts), ReadOptions()))


def texts(found: list[Piece]) -> list[tuple[int | None, int, str]]:
    return [(b.place.chapter, b.place.paragraph, b.text) for piece in found for b in piece.blocks]


@pytest.mark.parametrize("version", ["2.0", "3.0"])
def test_chapters_follow_the_spine_and_the_contents_are_left_out(tmp_path: Path, version: str) -> None:
    found = pieces(tmp_path, epub_parts(["<h1>One</h1><p>a&nbsp;b</p>", "<h1>Two</h1>"], version=version))
    assert found[0].title == "A Book"
    assert texts(found) == [(1, 1, "One"), (1, 2, "a b"), (2, 1, "Two")]
    assert [(piece.num_done, piece.num_parts) for piece in found] == [(0, 2), (1, 2), (2, 2)]


def test_an_empty_document_of_the_spine_is_no_chapter(tmp_path: Path) -> None:
    assert texts(pieces(tmp_path, epub_parts(["<img src='cover.png'/>", "<p>text</p>"]))) == [(1, 1, "text")]


def test_a_chapter_that_is_not_well_formed_is_read_all_the_same(tmp_path: Path) -> None:
    assert texts(pieces(tmp_path, epub_parts(["<p>one<br>two</i>", "<p>three</p>"]))) == [
        (1, 1, "one two"),
        (2, 1, "three"),
    ]


def test_a_missing_chapter_is_remarked_on(tmp_path: Path) -> None:
    parts = epub_parts(["<p>one</p>", "<p>two</p>"])
    del parts["OEBPS/text/c 0.xhtml"]
    found = pieces(tmp_path, parts)
    assert texts(found) == [(1, 1, "two")]
    assert [remark.code for piece in found for remark in piece.remarks] == ["damaged-part"]


def test_a_book_without_a_package_document_is_refused(tmp_path: Path) -> None:
    parts = epub_parts(["x"])
    del parts["OEBPS/book.opf"]
    with pytest.raises(FormatError, match="without a package document"):
        pieces(tmp_path, parts)


def test_a_locked_book_is_named_but_scrambled_fonts_are_not_minded(tmp_path: Path) -> None:
    lock = '<encryption><CipherReference URI="{}"/></encryption>'
    fonts = epub_parts(["<p>x</p>"]) | {"META-INF/encryption.xml": lock.format("OEBPS/font.otf")}
    assert texts(pieces(tmp_path, fonts)) == [(1, 1, "x")]
    locked = epub_parts(["<p>x</p>"]) | {"META-INF/encryption.xml": lock.format("OEBPS/text/c%200.xhtml")}
    with pytest.raises(UnsupportedError, match="locked"):
        pieces(tmp_path, locked)


def test_a_chapter_outside_the_archive_is_only_a_missing_part(tmp_path: Path) -> None:
    parts = epub_parts(["<p>x</p>"])
    parts["OEBPS/book.opf"] = str(parts["OEBPS/book.opf"]).replace("text/c%200.xhtml", "../../../etc/passwd")
    assert [remark.code for piece in pieces(tmp_path, parts) for remark in piece.remarks] == ["damaged-part"]
