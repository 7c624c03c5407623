"""Lines of a region -> blocks: headings, paragraphs, list items, code, tables.

What is a heading decides the outline of the file (bookmarks) where it names the line; otherwise the size of the type
against that of the running text, and bold type that stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from pocketseek.apps.doc.document import BlockKind, Link
from pocketseek.apps.doc.formats.block_text import SOFT_HYPHEN, is_marker, is_wide, join_lines, tidy_lines
from pocketseek.apps.doc.pdf.lines import Line
from pocketseek.apps.doc.pdf.tables import Table, find_tables

_LARGER = 1.12  # a heading's size, of the running text's
_MAX_HEADING = 200  # characters
_NEW_GAP = 1.32  # of the usual pitch
_INDENT = 0.9  # of the size
_SHORT = 0.84  # of the region's width: the line was ended on purpose
_ENDS = re.compile(r"[.!?:;。！？：；…”’」』)）]$")
_CAPTION = re.compile(
    r"(?:Figure|Fig\.|Table|Listing|图|圖|表)\s*[\dIVX一二三四五六七八九十]+([.-]\d+)*\s*[.:：。 ]", re.IGNORECASE
)
_NUMBERING = re.compile(
    r"(?:(?:[Cc]hapter|CHAPTER|[Aa]ppendix|APPENDIX|[Pp]art|PART|[Ss]ection)\s+(?:\d{1,3}|[A-Z]|[IVX]{1,5})|第.{1,6}[章节節]|"
    r"(?:\d{1,3}|[A-Z](?=\.))(?:\.\d+)*)[.:)、]?\s+"
)


@dataclass(frozen=True)
class Typography:
    """sizes: of headings, the largest first. outline: page -> {title without number and spaces: level}."""

    body_size: float
    sizes: tuple[float, ...] = ()
    outline: Mapping[int, Mapping[str, int]] = field(default_factory=dict)

    def is_large(self, size: float) -> bool:
        return size >= _LARGER * self.body_size

    def level_of_size(self, size: float) -> int:
        return 1 + sum(other > size + 0.3 for other in self.sizes)

    def level_in_outline(self, page: int, text: str) -> int | None:
        return self.outline.get(page, {}).get(heading_key(text))


@dataclass(frozen=True)
class Draft:
    """A block that has no place yet. joint: as of a Block."""

    kind: BlockKind
    text: str
    level: int = 0
    links: tuple[Link, ...] = ()
    joint: str | None = None


def heading_key(text: str) -> str:
    """The same for a heading as it is printed and as the outline names it."""
    return "".join(_NUMBERING.sub("", text.strip()).split()).casefold()


def blocks_of(regions: Iterable[Sequence[Line]], page: int, typography: Typography) -> Iterator[Draft]:
    """A paragraph that goes on at the top of the next column is one."""
    above: Sequence[Line] = ()
    held: Draft | None = None
    for region in regions:
        for number, draft in enumerate(_Region(region, page, typography).blocks()):
            if held is not None and number == 0 and _goes_on(held, above, draft, region):
                held = _continued(held, draft)
                continue
            if held is not None:
                yield held
            held = draft
        above = region
    if held is not None:
        yield held


def _goes_on(held: Draft, above: Sequence[Line], draft: Draft, region: Sequence[Line]) -> bool:
    """A full last line that ends no sentence, and beside it, higher up, a paragraph that begins none."""
    last, first = above[-1], region[0]
    is_beside = first.baseline > last.baseline and first.x0 > min(line.x0 for line in above)
    return is_beside and is_unfinished(held, above) and continues(held, draft)


def is_unfinished(draft: Draft, lines: Sequence[Line]) -> bool:
    """Whether a paragraph ends with a full line, and without the end of a sentence. lines: of its column."""
    if draft.kind not in ("paragraph", "item") or not draft.text or _ENDS.search(draft.text):
        return False
    left, right = min(line.x0 for line in lines), max(line.x1 for line in lines)
    return lines[-1].x1 - left >= _SHORT * (right - left)


def continues(before: Draft, draft: Draft) -> bool:
    """Whether a paragraph begins in the middle of a sentence."""
    if draft.kind != "paragraph" or not draft.text:
        return False
    last, first = before.text[-1], draft.text[0]
    return first.islower() or (is_wide(last) and is_wide(first) and first.isalpha())


def _continued(held: Draft, draft: Draft) -> Draft:
    before, gap = join_lines(held.text, draft.text)
    moved = len(before) + len(gap)
    links = tuple(Link(link.start + moved, link.stop + moved, link.target) for link in draft.links)
    return replace(held, text=before + gap + draft.text, links=held.links + links)


class _Region:
    def __init__(self, lines: Sequence[Line], page: int, typography: Typography) -> None:
        self._lines = lines
        self._page = page
        self._typography = typography
        self._x0 = min(line.x0 for line in lines)
        self._width = max(line.x1 for line in lines) - self._x0
        self._pitch = self._usual_pitch()

    def _usual_pitch(self) -> float:
        """Of the running text, in sizes of its type."""
        pairs = zip(self._lines, self._lines[1:], strict=False)
        pitches = [(a.baseline - b.baseline) / b.size for a, b in pairs if abs(a.size - b.size) < 0.5]
        usual = sorted(pitch for pitch in pitches if 0.8 <= pitch <= 2.6)
        return usual[len(usual) // 3] if usual else 1.25

    def blocks(self) -> Iterator[Draft]:
        paragraph: list[Line] = []
        for part in find_tables([line for whole in self._lines for line in _without_tables(whole)]):
            line = part if isinstance(part, Line) and not part.main.is_table else None
            if paragraph and (line is None or self._begins(paragraph, line)):
                yield self._block(paragraph)
                paragraph = []
            if line is not None:
                paragraph.append(line)
            elif isinstance(part, Table):
                yield from self._table(part)
            else:
                yield Draft("table", part.main.text)
        if paragraph:
            yield self._block(paragraph)

    def _table(self, table: Table) -> Iterator[Draft]:
        if all(_is_mono(line) for line in table.lines):
            yield Draft("code", _code(table.lines))
        elif text := table.text:
            yield Draft("table", text)

    def _begins(self, paragraph: list[Line], line: Line) -> bool:
        """A new block begins with this line."""
        above = paragraph[-1]
        if _is_mono(above) != _is_mono(line):
            return True
        gap = (above.baseline - line.baseline) / max(line.size, above.size)
        if gap > _NEW_GAP * self._pitch * (1.15 if _is_mono(line) else 1) or gap < 0:
            return True
        if _is_mono(line):
            return False
        if abs(above.size - line.size) > 0.08 * above.size or (
            _is_bold(above) != _is_bold(line) and self._is_titled(paragraph, line)
        ):
            return True
        return self._is_indented(paragraph, line) or (_begins_item(line) and self._at_item_edge(paragraph, line))

    def _is_titled(self, paragraph: list[Line], line: Line) -> bool:
        """Bold type ends or begins here, and it is not a bold word at a line's end."""
        return _is_bold(line) or all(_is_bold(other) for other in paragraph)

    def _at_item_edge(self, paragraph: list[Line], line: Line) -> bool:
        first = paragraph[0]
        return line.x0 <= first.x0 + _INDENT * line.size or not _begins_item(first)

    def _is_indented(self, paragraph: list[Line], line: Line) -> bool:
        above, first = paragraph[-1], paragraph[0]
        is_short = above.x1 - self._x0 < _SHORT * self._width
        ended = is_short and _ENDS.search(above.text.rstrip()) is not None
        step = (line.x0 - above.x0) / line.size
        if len(paragraph) == 1 and step > 0 and (_begins_item(first) or not is_short):
            return False  # the second line hangs to the right of a bullet, a number, a name
        if self._typography.is_large(line.size):
            return False
        return ended or step > _INDENT or (step < -_INDENT and len(paragraph) > 1)

    def _block(self, lines: list[Line]) -> Draft:
        if all(_is_mono(line) for line in lines):
            return Draft("code", _code(lines))
        text, links = _joined(lines)
        level = self._heading_level(lines, text)
        if level:
            return Draft("heading", text, level, links)
        if _begins_item(lines[0]):
            return Draft("item", text, self._depth(lines[0]), links)
        return Draft("caption" if _CAPTION.match(text) and len(text) < _MAX_HEADING else "paragraph", text, 0, links)

    def _depth(self, line: Line) -> int:
        return 1 + min(max(round((line.x0 - self._x0) / (2.2 * line.size)) - 1, 0), 8)

    def _heading_level(self, lines: list[Line], text: str) -> int:
        """0: no heading."""
        if len(text) > _MAX_HEADING or not any(character.isalnum() for character in text):
            return 0
        outlined = self._typography.level_in_outline(self._page, text)
        size = median(line.size for line in lines)
        bold = all(_is_bold(line) for line in lines)
        if outlined is not None and (bold or size >= self._typography.body_size):
            return outlined
        if self._typography.is_large(size) and any(character.isalpha() for character in text):
            return self._typography.level_of_size(size)
        if bold and len(lines) <= 2 and not _ENDS.search(text) and not _begins_item(lines[0]):
            return min(len(self._typography.sizes) + 1, 6)
        return 0


def _without_tables(line: Line) -> Iterator[Line]:
    """What stands on a line, each table in it by itself."""
    rest = tuple(run for run in line.runs if not run.is_table)
    if rest:
        yield Line(rest)
    yield from (Line((run,)) for run in line.runs if run.is_table)


def _is_mono(line: Line) -> bool:
    return all(run.style.mono for run in line.runs) and not all(is_wide(character) for character in line.text)


def _is_bold(line: Line) -> bool:
    return all(run.style.bold for run in line.runs)


def _begins_item(line: Line) -> bool:
    return is_marker(line.text.lstrip().split(" ", 1)[0]) and len(line.text.split(None, 1)) > 1


def _code(lines: Sequence[Line]) -> str:
    """Columns kept: a character of a typewriter face is six tenths of its size wide."""
    left = min(line.x0 for line in lines)
    rows = []
    for line in lines:
        width, row = _character_width(line), ""
        for run in line.runs:
            column = round((run.x0 - left) / width)
            row += " " * max(column - len(row), 1 if row and run.x0 - left > (len(row) + 0.5) * width else 0)
            row += run.text
        rows.append(row.rstrip())
    return tidy_lines("\n".join(rows))


def _character_width(line: Line) -> float:
    run = line.main
    return max((run.x1 - run.x0) / max(len(run.text.rstrip()), 1), 0.3 * line.size)


def _joined(lines: Sequence[Line]) -> tuple[str, tuple[Link, ...]]:
    """The text of a paragraph and the links in it; neighbouring parts of one link are one."""
    text, links = "", list[Link]()
    for line in lines:
        pieces = line.pieces
        if text:
            text, gap = join_lines(text, "".join(piece for piece, _ in pieces))
            text += gap
        for piece, target in pieces:
            start = len(text)
            text = _appended(text, piece)
            if target is not None and len(text) > start:
                _add_link(links, text, start, target)
    text = text.rstrip()
    if text.endswith(SOFT_HYPHEN):
        text = f"{text[:-1]}-"  # the word goes on elsewhere
    return text, tuple(
        Link(link.start, min(link.stop, len(text)), link.target) for link in links if link.start < len(text)
    )


def _appended(text: str, piece: str) -> str:
    """No space twice, none at the start."""
    words = " ".join(piece.split())
    if piece[:1].isspace() and text and not text.endswith(" "):
        text += " "
    text += words
    return text + " " if piece[-1:].isspace() and text and not text.endswith(" ") else text


def _add_link(links: list[Link], text: str, start: int, target: str) -> None:
    while start < len(text) and text[start].isspace():
        start += 1
    stop = len(text.rstrip())
    if stop <= start:
        return
    if links and links[-1].target == target and start - links[-1].stop <= 1:
        start = links.pop().start
    links.append(Link(start, stop, target))
