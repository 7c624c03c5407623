#!/usr/bin/env python3
"""Does a page of the built site load anything from elsewhere? Prints each such thing; exit code 1 if there is one.

    check_site.py FOLDER

Links that a reader may follow are fine; scripts, style sheets, fonts, images and frames are not.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

ELSEWHERE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
LOADING = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
}
NOT_LOADED = {"canonical", "next", "prev", "alternate", "license"}  # a <link> that is only told
IN_STYLE = re.compile(r"""url\(\s*["']?(?:https?:)?//[^)]*\)|@import\s+["'](?:https?:)?//[^"']*""", re.IGNORECASE)

STYLE = re.compile(r"<style.*?</style>", re.DOTALL | re.IGNORECASE)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and (values.get("rel") or "") in NOT_LOADED:
            return
        for name in LOADING.get(tag, ()):
            value = values.get(name) or ""
            if any(ELSEWHERE.match(part) for part in value.split(",")):
                self.found.append(f"<{tag} {name}={value}>")
        self.found += IN_STYLE.findall(values.get("style") or "")


def loaded_from_elsewhere(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".html", ".svg"):
            page = _Page()
            page.feed(text := path.read_text("utf-8"))
            in_styles = [one for style in STYLE.findall(text) for one in IN_STYLE.findall(style)]
            yield from (f"{path.relative_to(folder)}: {one}" for one in (*page.found, *in_styles))
        elif path.suffix == ".css":
            yield from (f"{path.relative_to(folder)}: {one}" for one in IN_STYLE.findall(path.read_text("utf-8")))


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    if not (folder / "index.html").is_file():
        print(f"error: there is no site in {folder}; build it with scripts/site", file=sys.stderr)
        return 1
    found = list(loaded_from_elsewhere(folder))
    for one in found:
        print(f"error: loaded from elsewhere: {one}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
