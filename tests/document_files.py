"""Small documents made from nothing, well-formed and hostile: PDF, EPUB, DOCX, zip."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_FONTS = {"regular": "Helvetica", "bold": "Helvetica-Bold", "mono": "Courier"}
W_NAMESPACE = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


@dataclass(frozen=True)
class Shown:
    """Text at a place of a page of 595 by 842 points, y from the bottom."""

    x: float
    y: float
    text: str
    size: float = 10
    font: str = "regular"
    climbs: bool = False  # runs upwards


def column(x: float, top: float, lines: Iterable[str], size: float = 10, font: str = "regular") -> list[Shown]:
    """Lines under each other, 1.2 sizes apart."""
    return [Shown(x, top - number * 1.2 * size, line, size, font) for number, line in enumerate(lines)]


def pdf_bytes(
    pages: Sequence[Sequence[Shown]],
    *,
    links: Mapping[int, tuple[tuple[float, float, float, float], str]] | None = None,
    outline: Sequence[tuple[str, int]] = (),
    turn: int = 0,
    drawn: str = "",
) -> bytes:
    """links: page from 0 -> (rectangle, address). outline: (title, page from 0). turn: of all pages, in degrees.
    drawn: operators before the text of each page."""
    first_page = 6
    kids = " ".join(f"{first_page + 2 * number} 0 R" for number in range(len(pages)))
    first_mark = first_page + 2 * len(pages)
    catalog = "<< /Type /Catalog /Pages 2 0 R" + (f" /Outlines {first_mark} 0 R" if outline else "") + " >>"
    objects = [catalog, f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>"]
    objects += [f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} >>" for name in _FONTS.values()]
    fonts = " ".join(f"/F{number} {number + 3} 0 R" for number in range(len(_FONTS)))
    for number, page in enumerate(pages):
        note = ""
        if links and number in links:
            (x0, y0, x1, y1), address = links[number]
            action = f"/A << /S /URI /URI ({address}) >>"
            note = f"/Annots [<< /Type /Annot /Subtype /Link /Rect [{x0} {y0} {x1} {y1}] {action} >>]"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Rotate {turn} /Resources << /Font << {fonts} >> >> "
            f"/Contents {first_page + 2 * number + 1} 0 R {note} >>"
        )
        content = "\n".join([drawn, *(_shown(item) for item in page)])
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    objects += _outline_objects(outline, first_mark, first_page)
    return pdf_of_objects([item.encode("latin-1") for item in objects])


def framed_cells(xs: Sequence[float], ys: Sequence[float]) -> str:
    """Operators that draw a frame around each cell between these places."""
    return "\n".join(
        f"{x0} {y0} {x1 - x0} {y1 - y0} re S" for x0, x1 in pairwise(xs) for y0, y1 in pairwise(sorted(ys))
    )


def _shown(item: Shown) -> str:
    text = item.text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    matrix = f"{'0 1 -1 0' if item.climbs else '1 0 0 1'} {item.x} {item.y}"
    return f"BT /F{list(_FONTS).index(item.font)} {item.size} Tf {matrix} Tm ({text}) Tj ET"


def _outline_objects(outline: Sequence[tuple[str, int]], first: int, first_page: int) -> list[str]:
    if not outline:
        return []
    last = first + len(outline)
    objects = [f"<< /Type /Outlines /First {first + 1} 0 R /Last {last} 0 R /Count {len(outline)} >>"]
    for number, (title, page) in enumerate(outline, start=1):
        following = f"/Next {first + number + 1} 0 R" if number < len(outline) else ""
        objects.append(
            f"<< /Title ({title}) /Parent {first} 0 R /Dest [{first_page + 2 * page} 0 R /XYZ 0 842 0] {following} >>"
        )
    return objects


def pdf_of_objects(objects: Sequence[bytes]) -> bytes:
    """Numbered from 1, the first is the catalog."""
    out, places = io.BytesIO(), []
    out.write(b"%PDF-1.7\n")
    for number, item in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, item))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start))
    return out.getvalue()


def picture_pdf_bytes(pixels: bytes, width: int, height: int) -> bytes:
    """A page that is one grey picture."""
    packed = zlib.compress(pixels)
    picture = (
        b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8"
        b" /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (width, height, len(packed), packed)
    )
    content = b"q 595 0 0 842 0 0 cm /Im0 Do Q"
    return pdf_of_objects(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /XObject << /Im0 5 0 R >> >>"
            b" /Contents 4 0 R >>",
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
            picture,
        ]
    )


def write_zip(path: Path, parts: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def epub_parts(chapters: Sequence[str], *, title: str = "A Book", version: str = "3.0") -> dict[str, str | bytes]:
    """chapters: what stands in each body."""
    items = "".join(
        f'<item id="c{n}" href="text/c%20{n}.xhtml" media-type="application/xhtml+xml"/>' for n in range(len(chapters))
    )
    spine = "".join(f'<itemref idref="c{number}"/>' for number in range(len(chapters)))
    parts: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
        "OEBPS/book.opf": f'<package xmlns="http://www.idpf.org/2007/opf" version="{version}">'
        f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></metadata>'
        '<manifest><item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        f'{items}</manifest><spine><itemref idref="nav"/>{spine}</spine></package>',
        "OEBPS/nav.xhtml": xhtml("<nav><ol><li>contents, left out</li></ol></nav>"),
    }
    return parts | {f"OEBPS/text/c {number}.xhtml": xhtml(body) for number, body in enumerate(chapters)}


def xhtml(body: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" '
        f'xmlns:epub="http://www.idpf.org/2007/ops"><head><title>t</title></head><body>{body}</body></html>'
    )


def docx_parts(body: str, **others: str) -> dict[str, str | bytes]:
    """body: WordprocessingML; others: the contents of word/<name>.xml."""
    start = f'<w:{{0}} xmlns:w="{W_NAMESPACE}" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": "<Types/>",
        "word/document.xml": start.format("document") + f"<w:body>{body}</w:body></w:document>",
    }
    return parts | {f"word/{n}.xml": start.format(n) + text + f"</w:{n}>" for n, text in others.items()}


def paragraph(text: str, properties: str = "") -> str:
    return f'<w:p><w:pPr>{properties}</w:pPr><w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'
