"""The documents that `extraction.py` reads: real ones from Debian packages, and what other programs make of them.

    as they are      developers-reference (PDF, EPUB, HTML), debian-faq (PDF, HTML; Chinese HTML), debian-reference
                     (PDF, English and Chinese), debmake-doc and installation-guide (Chinese PDF), debian-handbook
                     (HTML, English and Chinese)
    chromium         the whole handbook printed, English and Chinese: some 500 pages each; two CSS columns
    groff -ms .2C    two columns, the old way
    LibreOffice      HTML (by way of pandoc and ODT) saved as DOCX

The packages are unpacked with `dpkg-deb -x`, all into one folder.
"""

from __future__ import annotations

import gzip
import html
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

_SHARE = Path("usr/share")
_TYPESET = {
    "en": (
        "developers-reference/developers-reference.pdf",
        "doc/debian/FAQ/debian-faq.en.pdf.gz",
        "debian-reference/debian-reference.en.pdf",
    ),
    "zh": (
        "debian-reference/debian-reference.zh-cn.pdf",
        "doc/debmake-doc/debmake-doc.zh-cn.pdf",
        "doc/installation-guide-amd64/zh_CN/install.zh_CN.pdf.gz",
    ),
}
_BODY = re.compile(r"<body[^>]*>(.*)</body>", re.DOTALL | re.IGNORECASE)
_NAVIGATION = re.compile(
    r"<p id=\"title\">.*?</p>|<ul class=\"docnav.*?</ul>|<nav.*?</nav>|"
    r"<div class=\"nav(?:header|footer)\">.*?</div>|<img[^>]*>",
    re.DOTALL,
)
_MAIN = re.compile(r"<div class=\"body\" role=\"main\">(.*?)<div class=\"clearer\">", re.DOTALL)
_NEXT = re.compile(r'class="next"><a accesskey="n" href="([^"]+)"')
_PARAGRAPH = re.compile(r"<div class=\"para\">(.*?)</div>", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
_FACES = "font-family: 'DejaVu Serif', 'Noto Serif CJK SC', serif; font-size: 11pt"


def typeset_pdfs(root: Path, work: Path, language: str) -> Iterator[Path]:
    """PDFs that the packages bring, typeset by TeX."""
    for name in _TYPESET[language]:
        source = root / _SHARE / name
        if source.suffix == ".gz":
            path = work / source.stem
            path.write_bytes(gzip.decompress(source.read_bytes()))
            yield path
        else:
            yield source


def reference_file(root: Path, ending: str) -> Path:
    return root / _SHARE / f"developers-reference/developers-reference.{ending}"


def html_files(root: Path, which: str) -> list[Path]:
    folder, pattern = {
        "reference": ("developers-reference", "*.html"),
        "faq-en": ("doc/debian/FAQ", "*.en.html"),
        "faq-zh": ("doc/debian/FAQ/zh-cn", "*.html"),
        "handbook-en": ("doc/debian-handbook/html/en-US", "*.html"),
        "handbook-zh": ("doc/debian-handbook/html/zh-CN", "*.html"),
    }[which]
    return sorted((root / _SHARE / folder).glob(pattern))


def handbook_pages(root: Path, language: str) -> Iterator[str]:
    """Bodies of the handbook in its own order (each page names the next)."""
    folder = root / _SHARE / f"doc/debian-handbook/html/{language}"
    name: str | None = "index.html"
    seen: set[str] = set()
    while name is not None and name not in seen:
        seen.add(name)
        text = (folder / name).read_text(encoding="utf-8")
        body = _BODY.search(text)
        yield _NAVIGATION.sub("", body[1] if body else "")
        following = _NEXT.search(text)
        name = following[1].split("#")[0] if following else None


def printed_handbook(root: Path, work: Path, language: str) -> Path:
    """As chromium prints it: a chapter begins a page."""
    path = work / f"handbook-{language}.pdf"
    if not path.exists():
        style = f"body {{ {_FACES}; line-height: 1.5 }} h1 {{ break-before: page }} pre {{ font-size: 9pt }}"
        _print("\n".join(handbook_pages(root, language)), style, path)
    return path


def marked_paragraphs(root: Path, language: str, num_paragraphs: int) -> list[str]:
    """Of the handbook, plain, each opened by its number: "zq17 ..." shows in what order they were read."""
    found: list[str] = []
    for page in handbook_pages(root, language):
        texts = (" ".join(html.unescape(_TAG.sub("", match)).split()) for match in _PARAGRAPH.findall(page))
        found += [text for text in texts if len(text) > 60]
    return [f"zq{number} {text}" for number, text in enumerate(found[:num_paragraphs])]


def chromium_columns(root: Path, work: Path, language: str, num_columns: int) -> Path:
    path = work / f"columns-{num_columns}-{language}.pdf"
    body = "".join(
        f"<p>{html.escape(text)}</p>" + ("<h2>A heading over all columns</h2>" if number % 25 == 24 else "")
        for number, text in enumerate(marked_paragraphs(root, language, 150))
    )
    columns = f"columns: {num_columns}; column-gap: 7mm; text-align: justify; overflow-wrap: anywhere"
    style = f"body {{ {_FACES}; {columns} }} h2 {{ column-span: all }}"
    _print(body, style, path)
    return path


def groff_columns(root: Path, work: Path) -> Path:
    path = work / "columns-groff.pdf"
    paragraphs = [text.encode("ascii", "ignore").decode() for text in marked_paragraphs(root, "en-US", 150)]
    source = ".TL\nTwo columns\n.2C\n" + "".join(".PP\n" + text.replace("\\", "\\e") + "\n" for text in paragraphs)
    made = subprocess.run(["groff", "-ms", "-Tpdf"], input=source.encode(), capture_output=True, check=True)
    path.write_bytes(made.stdout)
    return path


def docx_by_libreoffice(source: Path, work: Path) -> Path:
    """The page as an ODT (by pandoc), opened by LibreOffice and saved as DOCX."""
    path = work / f"{source.stem}.docx"
    if not path.exists():
        odt = path.with_suffix(".odt")
        page = without_navigation(source.read_text(encoding="utf-8")).encode()
        subprocess.run(["pandoc", "-f", "html", "-t", "odt", "-o", str(odt)], input=page, check=True)
        command = ["soffice", f"-env:UserInstallation=file://{work.resolve()}/office", "--headless"]
        subprocess.run(
            [*command, "--convert-to", "docx", "--outdir", str(work), str(odt)],
            check=True,
            capture_output=True,
            timeout=300,
        )
    return path


def without_navigation(page: str) -> str:
    """A page of the packages without what leads to other pages, which pandoc takes for text."""
    main = _MAIN.search(page)
    if main is not None:
        return f"<html><body>{main[1]}</body></html>"
    return _NAVIGATION.sub("", page)


def _print(body: str, style: str, path: Path) -> None:
    page = path.with_suffix(".html")
    page.write_text(
        f"<!DOCTYPE html><html><head><meta charset='utf-8'><style>{style}</style></head><body>{body}</body></html>",
        encoding="utf-8",
    )
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    subprocess.run([*command, f"--print-to-pdf={path}", f"file://{page}"], check=True, capture_output=True, timeout=600)
