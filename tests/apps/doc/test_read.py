"""The front door: every kind is told by its content, read apart where its parser is native, refused in one line."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import pytest
from document_files import column, docx_parts, epub_parts, paragraph, pdf_bytes, pdf_of_objects, write_zip

from pocketseek.apps.doc.read import read_document
from pocketseek.apps.doc.sandbox import ReadLimits
from pocketseek.errors import (
    FormatError,
    NotFoundError,
    PocketseekError,
    StorageError,
    UnsupportedError,
    UsageError,
)


def written(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def refusal(path: Path, **options: object) -> PocketseekError:
    """The error, which is one line that names the file and ends with a remedy."""
    with pytest.raises(PocketseekError) as caught:
        read_document(path, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return caught.value


def test_content_decides_what_a_file_is_not_its_name(tmp_path: Path) -> None:
    pdf = read_document(written(tmp_path / "a.txt", pdf_bytes([column(72, 700, ["in a PDF"])])))
    book = read_document(write_zip(tmp_path / "b.docx", epub_parts(["<p>in a book</p>"])))
    word = read_document(write_zip(tmp_path / "c.epub", docx_parts(paragraph("in a DOCX"))))
    page = read_document(written(tmp_path / "d.pdf", "<!DOCTYPE html><p>in a page"))
    assert [d.text for d in (pdf, book, word, page)] == ["in a PDF", "in a book", "in a DOCX", "in a page"]
    assert [d.media_type.rsplit(".", 1)[-1] for d in (pdf, book, word, page)] == [
        *("application/pdf", "application/epub+zip", "document", "text/html")
    ]


def test_progress_counts_pages_and_the_document_knows_how_many(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = written(tmp_path / "a.pdf", pdf_bytes([column(72, 700, [f"page {n}"]) for n in range(4)]))
    document = read_document(path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert document.num_pages == 4
    assert [block.place.page for block in document.blocks] == [1, 2, 3, 4]


def test_five_hundred_pages_come_one_by_one(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = written(tmp_path / "a.pdf", pdf_bytes([column(72, 700, [f"page {n}"]) for n in range(1, 501)]))
    document = read_document(path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 500) for done in range(501)]
    assert [block.text for block in document.blocks] == [f"page {number}" for number in range(1, 501)]


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old or password-protected Office file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a picture"),
        (b"{\\rtf1 text}", "an RTF file"),
        (b"\x1f\x8b\x08" + bytes(100), "a compressed file"),
        (b"\x7fELF" + bytes(100), "a program"),
        (bytes(range(256)) * 20, "no document that can be read"),
    ],
)
def test_a_kind_that_is_not_read_is_named(tmp_path: Path, start: bytes, what: str) -> None:
    error = refusal(written(tmp_path / "letter.pdf", start))
    assert isinstance(error, UnsupportedError)
    assert what in str(error)


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("xl/workbook.xml", "XLSX"),
        ("ppt/presentation.xml", "PPTX"),
        ("content.xml", "OpenDocument"),
        ("a.txt", "zip archive"),
    ],
)
def test_a_zip_archive_that_is_no_document_is_named(tmp_path: Path, part: str, what: str) -> None:
    error = refusal(write_zip(tmp_path / "a.docx", {part: "x"}))
    assert isinstance(error, UnsupportedError)
    assert what in str(error)


@pytest.mark.parametrize("data", [b"", b"  \n\n", b"\x00" * 50, b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path: Path, data: bytes) -> None:
    error = refusal(written(tmp_path / "a.txt", data))
    assert isinstance(error, FormatError)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert isinstance(refusal(tmp_path / "missing.pdf"), NotFoundError)
    assert isinstance(refusal(tmp_path), UsageError)
    assert isinstance(refusal(tmp_path / "pipe"), UsageError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "text")
    path.chmod(0)
    assert isinstance(refusal(path), StorageError)


def test_a_document_without_text_is_refused(tmp_path: Path) -> None:
    assert isinstance(refusal(write_zip(tmp_path / "a.docx", docx_parts(""))), FormatError)


def bomb(path: Path, *, name: str, num_bytes: int) -> Path:
    """A zip archive with one part of zeros, inflated while being written block by block."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/container.xml", epub_parts(["x"])["META-INF/container.xml"])
        with archive.open(name, "w", force_zip64=True) as part:
            for _ in range(num_bytes // (1 << 20)):
                part.write(bytes(1 << 20))
    return path


@pytest.mark.parametrize("num_bytes", [50 << 20, 150 << 20])
def test_a_zip_bomb_is_refused_before_it_is_inflated(tmp_path: Path, num_bytes: int) -> None:
    error = refusal(bomb(tmp_path / "a.epub", name="OEBPS/book.opf", num_bytes=num_bytes))
    assert "bomb" in str(error) or "unpacked" in str(error)


def test_a_part_that_lies_about_its_length_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.docx", docx_parts(paragraph("x" * 5000)))
    data = bytearray(path.read_bytes())
    for name in (b"PK\x01\x02", b"PK\x03\x04"):
        offset = 24 if name == b"PK\x01\x02" else 22
        place = data.index(b"word/document.xml", data.index(name)) - (46 if offset == 24 else 30)
        data[place + offset : place + offset + 4] = (50).to_bytes(4, "little")
    path.write_bytes(data)
    assert isinstance(refusal(path), FormatError)


def test_an_archive_of_very_many_parts_is_refused(tmp_path: Path) -> None:
    error = refusal(write_zip(tmp_path / "a.epub", {f"{number}": b"" for number in range(20_001)}))
    assert "more than 20000 parts" in str(error)


SECRET = "the secret of this machine"


@pytest.mark.parametrize("kind", ["docx", "epub", "html"])
def test_entities_and_dtds_bring_nothing_in(tmp_path: Path, kind: str) -> None:
    secret = written(tmp_path / "secret.txt", SECRET)
    head = f'<!DOCTYPE html [<!ENTITY x SYSTEM "file://{secret}"><!ENTITY % p SYSTEM "http://127.0.0.1:9/e.dtd"> %p;]>'
    if kind == "docx":
        parts = docx_parts(paragraph("before &x; after"))
        parts["word/document.xml"] = head + str(parts["word/document.xml"])
        path = write_zip(tmp_path / "a.docx", parts)
    elif kind == "epub":
        parts = epub_parts(["<p>before &x; after</p>"])
        parts["OEBPS/text/c 0.xhtml"] = str(parts["OEBPS/text/c 0.xhtml"]).replace("<!DOCTYPE html>", head)
        path = write_zip(tmp_path / "a.epub", parts)
    else:
        path = written(tmp_path / "a.html", f"{head}<html><p>before &x; after</p></html>")
    try:
        text = read_document(path).text
    except FormatError:
        return
    assert SECRET not in text
    assert "before" in text


def test_a_billion_laughs_stay_unlaughed(tmp_path: Path) -> None:
    entities = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    parts = docx_parts(paragraph("&a11;"))
    parts["word/document.xml"] = f"<!DOCTYPE w [{entities}]>" + str(parts["word/document.xml"])
    refusal(write_zip(tmp_path / "a.docx", parts))


@pytest.mark.parametrize("depth", [200, 5_000, 200_000])
def test_deep_nesting_is_read_or_refused(tmp_path: Path, depth: int) -> None:
    html = written(tmp_path / "a.html", "<html>" + "<div>" * depth + "deep" + "</div>" * depth)
    nested = "<w:sdt><w:sdtContent>" * depth + paragraph("deep") + "</w:sdtContent></w:sdt>" * depth
    for path in (html, write_zip(tmp_path / "a.docx", docx_parts(nested))):
        try:
            document = read_document(path)
        except FormatError:
            continue
        assert document.text == ("" if document.remarks else "deep")


def nest(depth: int) -> str:
    return "<p>before</p>" + "<div>" * depth + "deep" + "</div>" * depth + "<p>after</p>"


@pytest.mark.parametrize("depth", [300, 2000])
def test_text_after_a_nest_is_not_lost(tmp_path: Path, depth: int) -> None:
    page = read_document(written(tmp_path / "a.html", f"<!DOCTYPE html>{nest(depth)}"))
    book = read_document(write_zip(tmp_path / "a.epub", epub_parts([nest(depth), f"<br>{nest(depth)}"])))
    assert page.text.split() == ["before", "deep", "after"]
    assert book.text.split() == ["before", "deep", "after"] * 2
    assert page.remarks == book.remarks == ()


def test_what_a_nest_without_bottom_hides_is_remarked_on(tmp_path: Path) -> None:
    page = read_document(written(tmp_path / "a.html", f"<!DOCTYPE html>{nest(5000)}"))
    book = read_document(write_zip(tmp_path / "a.epub", epub_parts(["<p>whole</p>", nest(5000)])))
    for document in (page, book):
        assert "after" not in document.text
        assert [remark.code for remark in document.remarks] == ["damaged-part"]
        assert "what follows is missing" in document.remarks[0].detail
    assert "c 1.xhtml" in book.remarks[0].detail


def test_a_very_long_paragraph_is_read_to_its_end(tmp_path: Path) -> None:
    long = "<p>" + "word " * 2_200_000 + "</p><p>after</p>"
    document = read_document(written(tmp_path / "a.html", f"<!DOCTYPE html>{long}"))
    assert len(document.text) > 10_900_000
    assert document.text.endswith("after")


def test_entities_behind_a_false_doctype_do_not_swell(tmp_path: Path) -> None:
    entities = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    parts = docx_parts(paragraph("text", '<w:pStyle w:val="&a11;"/>'))
    parts["word/document.xml"] = f"<!-- <!DOCTYPE a> --><!DOCTYPE w [{entities}]>" + str(parts["word/document.xml"])
    assert "MB of memory" not in str(refusal(write_zip(tmp_path / "a.docx", parts)))


def test_macros_and_strange_parts_are_never_looked_at(tmp_path: Path) -> None:
    parts = docx_parts(paragraph("only text")) | {
        "word/vbaProject.bin": b"\xd0\xcf\x11\xe0" * 100,
        "word/embeddings/x": b"?",
    }
    assert read_document(write_zip(tmp_path / "a.docm", parts)).text == "only text"


def test_a_pdf_of_a_hundred_thousand_objects_is_read(tmp_path: Path) -> None:
    data = pdf_bytes([column(72, 700, ["among many"])])
    objects = [part.split(b"obj\n", 1)[1] for part in data.split(b"\nendobj")[:-1]]
    path = written(tmp_path / "a.pdf", pdf_of_objects(objects + [b"<< /A [1 2 3] >>"] * 100_000))
    assert read_document(path).text == "among many"


def test_a_page_that_draws_itself_ends(tmp_path: Path) -> None:
    again = b"/Resources << /XObject << /F 5 0 R >> >> /Length 5 >>\nstream\n/F Do\nendstream"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Resources << /XObject << /F 5 0 R >> >> /Contents 4 0 R >>",
        b"<< /Length 5 >>\nstream\n/F Do\nendstream",
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] " + again,
    ]
    assert isinstance(refusal(written(tmp_path / "a.pdf", pdf_of_objects(objects))), FormatError)


def one_page(content: bytes, *others: bytes, catalog: bytes = b"") -> bytes:
    """A PDF of a page with this content stream; others are objects 5, 6 ..."""
    return pdf_of_objects(
        [
            b"<< /Type /Catalog /Pages 2 0 R " + catalog + b" >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources << /Font << /F1 "
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
            content,
            *others,
        ]
    )


def stream(data: bytes, filters: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), filters, data)


TEXT = b"BT /F1 12 Tf 72 700 Td (still here) Tj ET"


def test_a_pdf_whose_page_swells_a_thousandfold_is_read_or_refused(tmp_path: Path) -> None:
    """A zip bomb in a PDF: half a gigabyte of spaces, packed twice."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(512)) + packer.flush()
    bomb = stream(zlib.compress(packed, 9), b"/Filter [/FlateDecode /FlateDecode]")
    path = written(tmp_path / "a.pdf", one_page(bomb))
    assert path.stat().st_size < 10_000
    assert isinstance(refusal(path, limits=ReadLimits(memory_bytes=300_000_000, cpu_s=60)), FormatError)


@pytest.mark.parametrize("nest", [b"[" * 300_000 + b"]" * 300_000, b"<< /A " * 300_000 + b">>" * 300_000])
def test_text_beside_deeply_nested_objects_of_a_pdf_is_read(tmp_path: Path, nest: bytes) -> None:
    beside = one_page(stream(TEXT), nest, catalog=b"/Names 5 0 R")
    for number, data in enumerate((beside, one_page(stream(nest + TEXT)))):
        assert read_document(written(tmp_path / f"{number}.pdf", data)).text == "still here"


def test_bookmarks_that_go_in_circles_end(tmp_path: Path) -> None:
    first = b"<< /Title (one) /Parent 5 0 R /Dest [3 0 R /Fit] /Next 7 0 R /First 7 0 R >>"
    second = b"<< /Title (two) /Parent 6 0 R /Dest [3 0 R /Fit] /Next 6 0 R /First 6 0 R >>"
    outline = b"<< /Type /Outlines /First 6 0 R /Last 7 0 R /Count 2 >>"
    data = one_page(stream(TEXT), outline, first, second, catalog=b"/Outlines 5 0 R")
    assert read_document(written(tmp_path / "a.pdf", data)).text == "still here"


def test_a_reader_that_needs_too_much_memory_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.html", "<p>" + "<b>x</b>" * 1_000_000)
    error = refusal(path, limits=ReadLimits(memory_bytes=120_000_000))
    assert isinstance(error, FormatError)


def test_a_reader_that_takes_too_long_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.html", "<p>" + "<b>x</b> " * 1_000_000)
    assert "processor time" in str(refusal(path, limits=ReadLimits(cpu_s=1)))
    assert "nothing more was read" in str(refusal(path, limits=ReadLimits(stall_s=0.05)))


def test_a_reader_that_sends_too_much_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.html", "<p>" + "word " * 100_000)
    assert isinstance(refusal(path, limits=ReadLimits(text_bytes=100_000)), UnsupportedError)


def test_a_module_in_the_working_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "json.py", "raise SystemExit('taken over')")
    path = written(tmp_path / "a.html", "<p>safe")
    monkeypatch.chdir(tmp_path)
    assert read_document(path).text == "safe"
