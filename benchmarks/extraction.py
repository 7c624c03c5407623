"""How much of real documents does `read_document` get, and in what order? Against pdftotext and pandoc, word by word.

    apt-get download debian-faq debian-faq-zh-cn developers-reference debian-handbook
    apt-get download debian-reference-en debian-reference-zh-cn debmake-doc installation-guide-amd64
    for d in *.deb; do dpkg-deb -x $d ROOT; done
    python benchmarks/extraction.py ROOT --work FOLDER [--only pdf,printed,epub,html,docx,columns] [--language en|zh]

F1 of the multisets of words (of characters, for Chinese), after NFKC, without case and punctuation. PDFs are compared
page by page with pdftotext's page: words broken at the end of a line are joined there as here, and the running lines
that we drop are dropped there too, by another rule (one of the first or last three lines, when a page near it has the
same but for digits). A text page has at least 40 words. Columns: paragraphs of the handbook bear their number; every
number that is read out of turn, missing or doubled counts as misplaced. Needs poppler-utils, pandoc, chromium, groff,
LibreOffice Writer. Prints a table and ends in one JSON line.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

import extraction_files as files

from pocketseek.apps.doc.document import Document
from pocketseek.apps.doc.read import read_document

_WIDE = r"[\u2e80-\u9fff\uf900-\ufaff]"
_TOKENS = re.compile(rf"{_WIDE}|(?:(?!{_WIDE})[^\W_])+")
_BROKEN = re.compile(r"(?<=[^\W\d_])[-\u00ad]\n(?=[a-zß-ÿ])")
_MARK = re.compile(r"zq(\d+)")
_DIGITS = re.compile(r"\d+")
_TEXT_PAGE = 40  # words


@dataclass(frozen=True)
class Row:
    """One document. parts: pages or files compared; f1 is their mean, low the worst of them."""

    what: str
    against: str
    parts: int
    f1: float
    low: float
    low_part: str
    below: int  # parts under 0.98


def tokens(text: str) -> Counter[str]:
    return Counter(_TOKENS.findall(unicodedata.normalize("NFKC", text).casefold()))


def f1(ours: str, theirs: str) -> float:
    one, other = tokens(ours), tokens(theirs)
    shared = (one & other).total()
    return 2 * shared / max(one.total() + other.total(), 1)


def row(what: str, against: str, scores: Sequence[tuple[str, float]]) -> Row:
    part, low = min(scores, key=lambda score: score[1])
    values = [value for _, value in scores]
    return Row(what, against, len(values), mean(values), low, part, sum(value < 0.98 for value in values))


def pdf_row(path: Path) -> Row:
    document = read_document(path)
    theirs = pdftotext_pages(path)
    ours = pages_of(document, len(theirs))
    pairs = [
        (f"p. {number}", one, other) for number, (one, other) in enumerate(zip(ours, theirs, strict=True), start=1)
    ]
    scores = [(name, f1(one, other)) for name, one, other in pairs if tokens(other).total() >= _TEXT_PAGE]
    return row(path.name, "pdftotext", scores)


def pages_of(document: Document, num_pages: int) -> list[str]:
    pages: list[list[str]] = [[] for _ in range(num_pages)]
    for block in document.blocks:
        if block.place.page is not None:
            pages[block.place.page - 1].append(block.text)
    return ["\n".join(page) for page in pages]


def pdftotext_pages(path: Path) -> list[str]:
    text = subprocess.run(
        ["pdftotext", "-enc", "UTF-8", str(path), "-"], capture_output=True, check=True
    ).stdout.decode()
    pages = [[line for line in page.split("\n") if line.strip()] for page in text.split("\f")[:-1]]
    kept = [list(_without_running(pages, number)) for number in range(len(pages))]
    return [_BROKEN.sub(_rejoined, "\n".join(page)) for page in kept]


def _rejoined(hyphen: re.Match[str]) -> str:
    """The hyphen of an address is its own."""
    word = hyphen.string[: hyphen.start()].split()[-1]
    return "-" if "://" in word else ""


def _without_running(pages: list[list[str]], number: int) -> Iterator[str]:
    """pdftotext puts running lines first or last; up to three lines at each end are looked at."""
    beside = [pages[near] for near in (number - 2, number - 1, number + 1, number + 2) if 0 <= near < len(pages)]
    edges = {_key(line) for page in beside for line in page[:3] + page[-3:]}
    page = pages[number]
    for place, line in enumerate(page):
        at_edge = place < 3 or place >= len(page) - 3
        if not (at_edge and (_key(line) in edges or _key(line).strip() == "#")):
            yield line


def _key(line: str) -> str:
    return _DIGITS.sub("#", line.strip())


def pandoc(path: Path, source: str) -> str:
    command = ["pandoc", "-f", source, "-t", "plain", "--wrap=none"]
    data = path.read_bytes()
    if source == "html":
        data = files.without_navigation(data.decode()).encode()
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode()


def files_row(what: str, paths: Sequence[Path], source: str) -> Row:
    scores = []
    for path in paths:
        theirs = pandoc(path, source)
        if tokens(theirs).total() >= _TEXT_PAGE:
            scores.append((path.name, f1(read_document(path).text, theirs)))
    return row(what, "pandoc", scores)


@dataclass(frozen=True)
class Order:
    what: str
    paragraphs: int
    misplaced: int


def order(path: Path, num_paragraphs: int) -> Order:
    marks = [int(number) for number in _MARK.findall(read_document(path).text)]
    out_of_turn = sum(after <= before for before, after in pairwise(marks))
    missing = len(set(range(num_paragraphs)) - set(marks))
    return Order(path.name, num_paragraphs, out_of_turn + missing + len(marks) - len(set(marks)))


def main() -> None:
    options = _options()
    rows, orders = list(_rows(options)), list(_orders(options))
    print(f"{'document':34} {'against':10} {'parts':>5} {'F1':>7} {'lowest':>7} {'<0.98':>6}")
    for one in rows:
        print(
            f"{one.what:34} {one.against:10} {one.parts:5} {one.f1:7.4f} {one.low:7.4f} {one.below:6}  {one.low_part}"
        )
    for one_order in orders:
        print(f"{one_order.what:34} {one_order.paragraphs:5} paragraphs, misplaced {one_order.misplaced}")
    summary = {"median_f1": median(one.f1 for one in rows)} if rows else {}
    print(json.dumps({"rows": [asdict(r) for r in rows], "orders": [asdict(o) for o in orders], **summary}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("root", type=Path, help="where the Debian packages are unpacked")
    parser.add_argument("--work", type=Path, required=True, help="where documents are made")
    parser.add_argument("--only", default="pdf,printed,epub,html,docx,columns")
    parser.add_argument("--language", choices=("en", "zh"), help="only documents in it")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    return options


def _rows(options: argparse.Namespace) -> Iterator[Row]:
    root, work, only = options.root, options.work, options.only.split(",")
    english, chinese = options.language != "zh", options.language != "en"
    for language, place in (("en", "en-US"), ("zh", "zh-CN")):
        if options.language in (None, language):
            if "pdf" in only:
                yield from map(pdf_row, files.typeset_pdfs(root, work, language))
            if "printed" in only:
                yield pdf_row(files.printed_handbook(root, work, place))
    if "epub" in only and english:
        yield files_row("developers-reference.epub", [files.reference_file(root, "epub")], "epub")
    for which in ("reference", "faq-en", "faq-zh", "handbook-en", "handbook-zh") if "html" in only else ():
        if chinese if which.endswith("zh") else english:
            yield files_row(f"{which} (HTML)", files.html_files(root, which), "html")
    for which in ("faq-en", "faq-zh") if "docx" in only else ():
        if chinese if which.endswith("zh") else english:
            made = [files.docx_by_libreoffice(path, work) for path in files.html_files(root, which)[:12]]
            yield files_row(f"{which} (DOCX)", made, "docx")


def _orders(options: argparse.Namespace) -> Iterator[Order]:
    root, work = options.root, options.work
    if "columns" not in options.only.split(","):
        return
    if options.language != "zh":
        yield order(files.chromium_columns(root, work, "en-US", 2), 150)
        yield order(files.chromium_columns(root, work, "en-US", 3), 150)
        yield order(files.groff_columns(root, work), 150)
    if options.language != "en":
        yield order(files.chromium_columns(root, work, "zh-CN", 2), 150)


if __name__ == "__main__":
    main()
