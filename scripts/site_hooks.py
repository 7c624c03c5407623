"""For MkDocs: the front pages of the repository are pages of the site too, and a page that nobody put into the
navigation is found under "More"."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
FRONT_PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    pages = {str(path.relative_to(config.docs_dir)) for path in Path(config.docs_dir).rglob("*.md")}
    pages |= {page for name, page in FRONT_PAGES.items() if (ROOT / name).exists()}
    listed: set[str] = set()
    config.nav = _existing(config.nav, pages, listed)
    if rest := sorted(pages - listed):
        config.nav.append({"More": list(rest)})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, page in FRONT_PAGES.items():
        if (ROOT / name).exists():
            files.append(File.generated(config, page, content=_moved((ROOT / name).read_text("utf-8"))))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links of a page in docs/ to the front pages."""
    for name, page in FRONT_PAGES.items():
        markdown = markdown.replace(f"](../{name}", f"]({page}")
    return markdown


def _existing(nav: list[Any], pages: set[str], listed: set[str]) -> list[Any]:
    """Without the pages that are not there; adds the others to listed."""
    kept: list[Any] = []
    for entry in nav:
        title, target = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
        if isinstance(target, list):
            target = _existing(target, pages, listed)
        elif target not in pages:
            continue
        else:
            listed.add(target)
        kept.append(target if title is None else {title: target})
    return kept


def _moved(text: str) -> str:
    """Links of a page that moves from the repository's root into docs/."""
    for name, page in FRONT_PAGES.items():
        text = text.replace(f"]({name}", f"]({page}")
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\[([^]]*)\]\(LICENSE\)", r"\1", text)
