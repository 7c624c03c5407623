"""Real texts of three kinds (English, Chinese, Python) out of Debian's documentation packages, in three disjoint parts.

    python benchmarks/debian_texts.py FOLDER [--packages FOLDER_WITH_DEB_FILES]

writes FOLDER/{train,calibration,heldout}-{en,zh,code}.txt. `train` is for training the small model that quantisation is
measured on (train_small_llama.py), `calibration` for quantising, `heldout` for the figures: no package is in two parts.
The packages are fetched with `apt-get download` unless they lie in --packages; nothing is installed. Needs `dpkg-deb`.
"""

from __future__ import annotations

import argparse
import gzip
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

Part = str  # "train", "calibration" or "heldout", then the kind: "train-en"

# (package, what of it, part). Patterns are of paths below the package's root.
PACKAGES: tuple[tuple[str, str, Part], ...] = (
    ("debian-handbook", "usr/share/doc/debian-handbook/html/en-US/*.html", "train-en"),
    ("debian-policy", "usr/share/doc/debian-policy/*.html/**/*.html", "train-en"),
    ("debian-reference-en", "usr/share/debian-reference/*.en.html", "train-en"),
    ("maint-guide", "usr/share/doc/maint-guide/html/*.en.html", "train-en"),
    ("libreoffice-help-en-us", "**/*.html", "train-en"),
    ("gnome-user-docs", "usr/share/help/C/**/*.page", "train-en"),
    ("dict-foldoc", "**/*.dict.dz", "train-en"),
    ("dict-jargon", "**/*.dict.dz", "train-en"),
    ("python3.11-doc", "usr/share/doc/python3.11/html/**/*.html", "train-en"),
    ("debian-faq", "usr/share/doc/debian/FAQ/*.en.html", "calibration-en"),
    ("developers-reference", "usr/share/developers-reference/*.html", "heldout-en"),
    ("libreoffice-help-zh-cn", "**/*.html", "train-zh"),
    ("gnome-user-docs", "usr/share/help/zh_CN/**/*.page", "train-zh"),
    ("debian-reference-zh-cn", "usr/share/debian-reference/*.zh-cn.html", "train-zh"),
    ("maint-guide-zh-cn", "usr/share/doc/maint-guide-zh-cn/html/*.html", "calibration-zh"),
    ("debian-handbook", "usr/share/doc/debian-handbook/html/zh-CN/*.html", "heldout-zh"),
)
# Of Python's own library; letters with which a module's name begins.
CODE: tuple[tuple[str, Part], ...] = (
    ("abcdefghijklmnopqr", "train-code"),
    ("s", "calibration-code"),
    ("tuvwxyz", "heldout-code"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--packages", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for part, text in collect(arguments.packages).items():
        path = arguments.folder / f"{part}.txt"
        path.write_text(text, "utf-8")
        print(f"{part:<18} {len(text.encode()) / 1e6:8.2f} MB")


def collect(packages: Path | None) -> dict[Part, str]:
    texts: dict[Part, list[str]] = {}
    with TemporaryDirectory() as scratch:
        for name, pattern, part in PACKAGES:
            root = _unpacked(name, packages, Path(scratch))
            for path in sorted(root.glob(pattern)):
                if path.is_file():
                    texts.setdefault(part, []).append(_text_of(path))
    library = Path(sysconfig.get_paths()["stdlib"])
    for letters, part in CODE:
        for path in _modules(library, letters):
            texts.setdefault(part, []).append(path.read_text("utf-8", "replace"))
    return {part: "\n\n".join(_distinct(pieces)) for part, pieces in texts.items()}


def _modules(library: Path, letters: str) -> Iterator[Path]:
    for path in sorted(library.rglob("*.py")):
        inside = path.relative_to(library)
        if inside.parts[0][0] in letters and not {"site-packages", "dist-packages", "test", "tests"} & set(
            inside.parts
        ):
            yield path


def _unpacked(name: str, packages: Path | None, scratch: Path) -> Path:
    root = scratch / name
    if not root.exists():
        folder = packages or scratch
        if not list(folder.glob(f"{name}_*.deb")):
            subprocess.run(["apt-get", "download", name], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (deb,) = folder.glob(f"{name}_*.deb")
        subprocess.run(["dpkg-deb", "-x", str(deb), str(root)], check=True)
    return root


def _text_of(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".dz":  # gzip with an index
        return gzip.decompress(data).decode("utf-8", "replace")
    reader = _Reader()
    reader.feed(data.decode("utf-8", "replace"))
    reader.close()
    text = re.sub(r"[ \t\xa0]+", " ", "".join(reader.pieces))
    return re.sub(r"\s*\n\s*(\n\s*)*", "\n", text).strip()


class _Reader(HTMLParser):
    """The text of a page, blocks on lines of their own."""

    BLOCKS = re.compile("p|div|li|d[tdl]|t[rd]|h[1-6]|pre|br|title|section|table|[uo]l|item|note")
    HIDDEN = re.compile("script|style|head|nav")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden += self.HIDDEN.fullmatch(tag) is not None
        if self.BLOCKS.fullmatch(tag):
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(0, self._hidden - (self.HIDDEN.fullmatch(tag) is not None))
        if self.BLOCKS.fullmatch(tag):
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data)


def _distinct(pieces: list[str]) -> list[str]:
    """Without lines of more than 20 characters that came before: menus, headers and footers of every page."""
    seen: set[str] = set()
    kept = []
    for piece in pieces:
        lines = []
        for line in piece.splitlines():
            if len(line) <= 20 or line not in seen:
                lines.append(line)
                seen.add(line)
        if lines:
            kept.append("\n".join(lines))
    return kept


if __name__ == "__main__":
    main()
