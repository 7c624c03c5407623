"""Documents and files for the tests of the document store and of what stands on it."""

from pathlib import Path

from pocketseek.apps.doc.document import Block, Document, Place


def made(*texts: str, title: str = "Sample") -> Document:
    """A line that begins with # is a heading of that level, a number of = a new page; the rest are paragraphs."""
    blocks: list[Block] = []
    page = 1
    for text in texts:
        if text.startswith("="):
            page += 1
            continue
        level = len(text) - len(text.lstrip("#"))
        place = Place(page, None, sum(block.place.page == page for block in blocks) + 1)
        blocks.append(Block("heading" if level else "paragraph", text.lstrip("# "), place, level))
    return Document(title, "text/plain", tuple(blocks), page)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
