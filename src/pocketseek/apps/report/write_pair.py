"""A page and the figures it shows, written next to each other: each whole or not at all, the figures first.

Every file is written under another name, synced and renamed, so that a program that is killed leaves what was there
before. (A crash between the two renames leaves new figures beside the old page.)
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pocketseek.package.storage import storage_errors, sync_dir, write_file


def write_pair(page: Path, html: str, figures: bytes) -> None:
    """figures_path(page) gets the figures. Raises StorageError."""
    with storage_errors(page):
        for path, data in ((figures_path(page), figures), (page, html.encode("utf-8"))):
            write_whole(path, data)
        sync_dir(page.parent)


def figures_path(page: Path) -> Path:
    return page.with_suffix(".json")


def write_page(page: Path, html: str) -> None:
    """A page without figures beside it. Raises StorageError."""
    with storage_errors(page):
        write_whole(page, html.encode("utf-8"))
        sync_dir(page.parent)


def write_whole(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_file(temporary, data)
        os.replace(temporary, path)
    except BaseException:  # also Ctrl-C: nothing is left beside it, and it is raised again
        temporary.unlink(missing_ok=True)
        raise
