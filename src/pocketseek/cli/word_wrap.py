"""Lines that end between words, for text that comes in pieces: a phone's terminal is narrow and would break anywhere.

Only spaces become line ends, so that no word changes; Chinese may break between any two characters but, as in print,
not before punctuation that closes nor behind one that opens. Code between fences (```) stays as it is: a line end in it
would matter.
"""

from __future__ import annotations

_FENCE = "```"
_CLOSING = frozenset(",.;:!?)]}%’”…、。，．；：！？）］｝〕〉》」』】〗·—～％ー")
_OPENING = frozenset("([{‘“（［｛〔〈《「『【〖")


class WordWrap:
    """width: of the terminal, in cells. The last word, or character of Chinese, is held back until it is whole: until
    what follows may begin a line."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._column = 0
        self._line = ""  # as far as it tells whether it is a fence
        self._space = ""
        self._word = ""
        self._in_code = False

    def push(self, text: str) -> str:
        """What can be written now."""
        return "".join(map(self._taken, text))

    def flush(self) -> str:
        """What was held back; the line goes on."""
        held = self._placed() + self._space
        self._column += len(self._space)
        self._space = ""
        return held

    def _taken(self, character: str) -> str:
        if character == "\n":
            return self._ended_line()
        self._line += character if len(self._line) < len(_FENCE) else ""
        if character == " ":
            placed = self._placed()
            self._space += character
            return placed
        is_full = _width(self._word) + _cells(character) > self.width
        placed = self._placed() if self._word and (is_full or _may_break(self._word[-1], character)) else ""
        self._word += character
        return placed + (self._placed() if _width(self._word) >= self.width else "")

    def _ended_line(self) -> str:
        placed = self._placed()
        if self._line.startswith(_FENCE):
            self._in_code = not self._in_code
        self._column, self._line, self._space = 0, "", ""
        return placed + "\n"

    def _placed(self) -> str:
        word, self._word = self._word, ""
        return self._placed_word(word) if word else ""

    def _placed_word(self, word: str) -> str:
        space, self._space = self._space, ""
        cells = _width(word)
        in_code = self._in_code or self._line.startswith(_FENCE)
        if not in_code and self._column and self._column + len(space) + cells > self.width:
            self._column = cells
            return "\n" + word
        self._column += len(space) + cells
        return space + word


def _may_break(before: str, after: str) -> bool:
    """Whether a line may end between two characters that no space parts."""
    return 2 in (_cells(before), _cells(after)) and after not in _CLOSING and before not in _OPENING


def _width(text: str) -> int:
    return sum(map(_cells, text))


def _cells(character: str) -> int:
    from rich.cells import cell_len

    return cell_len(character)
