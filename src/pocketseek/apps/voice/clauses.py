"""An answer that is being written, cut into what is spoken at once: the first clause early, then sentence by sentence.

    "Well, the capital of France| is Paris. It l"  ->  "Well, the capital of France is Paris."   " It l" is held

However the text was cut on its way here, the clauses are the same, and joined they are the text: where a clause ends
depends on the text alone, and what cannot be decided yet is held back (mostly one character, at most a short link).
A clause never ends inside a number, a date, an abbreviation, a link, code or a formula. A block of code, a table, a
displayed formula and reasoning that got into the text are one clause each, which `spoken` then leaves out.
Only a block, or the end of the text, can be a clause without a letter or digit.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FIRST_UNITS = 10
"""From here on the first clause may end at a comma: about half a second of speech, in which more is written."""
_FIRST_LONG_UNITS = 45
"""So long a first clause without a mark may end before a word that joins: the voice would else wait for all of it."""
_JOINING = re.compile(
    r"\s+(?:and|but|or|because|that|which|who|when|where|while|if|so|than|with|to|for|from|in|on|at|by|as)(?=\s)"
)
_JOINING_WINDOW = 10  # characters in which such a word ends
_LONG_UNITS = 160
"""So long a sentence may end at a comma, too."""
_LONGEST_UNITS = 320
"""Text without any mark is cut at the next space."""
_HAN_UNITS = 3  # a Chinese character takes about as long to say as three Latin letters
_WINDOW = 300  # characters in which a link, code in a line or a formula must end to be one
_BLOCK_WINDOW = 2000  # a displayed formula

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_CLOSERS = "\"'”’」』）》】〉)]*_~"
_SENTENCE = re.compile(r"(?P<mark>[.!?]+|[。！？；…]+)[" + re.escape(_CLOSERS) + r"]*")
_PAUSE = re.compile(r"[,;:，：、—][" + re.escape(_CLOSERS) + r"]*")
_NEXT = re.compile(r"\s*(?P<next>\S)")
_ABBREVIATION = re.compile(
    r"(?:^|[^A-Za-z])(?:[A-Z]|(?i:e\.g|i\.e|mr|mrs|ms|dr|prof|sr|jr|st|mt|vs|etc|approx|fig|vol|no|nos|dept|inc|ltd|co|"
    r"jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|a\.m|p\.m|u\.s|u\.k))\.$"
)
_ENDS_SENTENCE_TOO = re.compile(r"(?:etc|inc|ltd|co|a\.m|p\.m|u\.s|u\.k|\bI)\.$", re.IGNORECASE)
_NO_NUMBER = re.compile(r"(?i:\bno)\.$")
_LIST_MARK = re.compile(r"\s*[(]?\d{1,3}[.)]$")
_INLINE = {"`": "`", "$": "$", "\\(": "\\)", "\\[": "\\]"}
_BLOCKS = {"```": "```", "~~~": "~~~", "<think>": "</think>", "$$": "$$", "\\[": "\\]"}


class _Cut(NamedTuple):
    """place: where the clause ends. is_block: nothing of it is spoken."""

    place: int
    is_block: bool = False


class _Undecided(Exception):  # noqa: N818  no error: more text is needed
    pass


class Clauses:
    """Of one answer, from one thread."""

    def __init__(self) -> None:
        self._text = ""
        self._is_first = True
        self._starts_line = True

    def feed(self, text: str) -> list[str]:
        """The clauses that end here."""
        self._text += text
        return self._take(at_end=False)

    def finish(self) -> list[str]:
        """The rest."""
        clauses = self._take(at_end=True)
        if self._text:
            clauses.append(self._text)
            self._text = ""
        return clauses

    def _take(self, *, at_end: bool) -> list[str]:
        clauses: list[str] = []
        while self._text:
            scan = _Scan(self._text, self._starts_line, self._is_first, at_end)
            try:
                cut = scan.next_cut()
            except _Undecided:
                break
            if cut is None:
                break
            clauses.append(self._text[: cut.place])
            self._text = self._text[cut.place :]
            self._is_first = self._is_first and cut.is_block
            self._starts_line = clauses[-1].endswith("\n")
        return clauses


class _Scan:
    """One look for the end of the clause that begins a text. Methods raise _Undecided where more text is needed."""

    def __init__(self, text: str, starts_line: bool, is_first: bool, at_end: bool) -> None:
        self._text = text
        self._starts_line = starts_line
        self._at_end = at_end
        self._units = 0
        self._has_words = False
        self._is_first = is_first
        self._least = _FIRST_UNITS if is_first else _LONG_UNITS

    def next_cut(self) -> _Cut | None:
        """None: the text ends before its first clause does."""
        place = 0
        while place < len(self._text):
            character = self._text[place]
            if self._starts_line and not character.isspace():
                end = self._block_end(place)
                if end is not None:
                    return _Cut(end, is_block=True)
                self._starts_line = False
            if character == "\n":
                if self._has_words:
                    return _Cut(place + 1)
                self._starts_line = True
            after = self._inline_end(place)
            if after is None:
                cut = self._mark_end(place)
                if cut is not None:
                    return _Cut(cut)
                after = place + 1
            self._count(place, after)
            place = after
        return None

    def _count(self, place: int, after: int) -> None:
        for character in self._text[place:after]:
            self._units += _HAN_UNITS if _HAN.match(character) else 1
            self._has_words = self._has_words or character.isalnum()

    def _block_end(self, place: int) -> int | None:
        """After the block that begins here; None: none does."""
        if self._text[place] == "|":
            return self._table_end(place)
        for opening, closing in _BLOCKS.items():
            if self._begins(place, opening):
                return self._closed(place, opening, closing)
        return None

    def _closed(self, place: int, opening: str, closing: str) -> int | None:
        is_formula = opening in ("$$", "\\[")
        end = self._text.find(closing, place + len(opening))
        if end >= 0 and not (is_formula and end > place + _BLOCK_WINDOW):
            return end + len(closing)
        if is_formula and (self._at_end or len(self._text) > place + _BLOCK_WINDOW + len(closing)):
            return None
        if self._at_end:
            return len(self._text)
        raise _Undecided

    def _table_end(self, place: int) -> int:
        """After the last of the lines that begin with a bar."""
        while True:
            line_end = self._text.find("\n", place)
            if line_end < 0:
                return self._end_or_wait()
            following = re.compile(r"[ \t]*").match(self._text, line_end + 1)
            assert following is not None  # it matches everywhere
            if following.end() == len(self._text):
                return self._end_or_wait()
            if self._text[following.end()] != "|":
                return line_end + 1
            place = following.end()

    def _end_or_wait(self) -> int:
        if self._at_end:
            return len(self._text)
        raise _Undecided

    def _inline_end(self, place: int) -> int | None:
        """After the link, code or formula within a line that begins here; None: none does."""
        if self._text[place] == "[":
            return self._link_end(place)
        for opening, closing in _INLINE.items():
            if self._begins(place, opening):
                if opening == "$" and self._is_price(place):
                    return None
                end = self._find(closing, place + len(opening))
                return None if end is None else end + len(closing)
        return None

    def _is_price(self, place: int) -> bool:
        """A formula begins with no digit and no space; a price is not waited for, to see whether it ends like one."""
        following = self._text[place + 1 : place + 2]
        if not following and not self._at_end:
            raise _Undecided
        return not following or following.isspace() or following.isdigit()

    def _link_end(self, place: int) -> int | None:
        end = self._find("]", place + 1)
        if end is None or not self._begins(end + 1, "("):
            return None
        end = self._find(")", end + 2)
        return None if end is None else end + 1

    def _find(self, closing: str, place: int) -> int | None:
        """Where it stands in the same line, not too far away; None: nowhere."""
        line_end = self._text.find("\n", place, place + _WINDOW)
        end = self._text.find(closing, place, place + _WINDOW)
        if end >= 0 and not 0 <= line_end < end:
            return end
        if line_end >= 0 or len(self._text) >= place + _WINDOW or self._at_end:
            return None
        raise _Undecided

    def _begins(self, place: int, what: str) -> bool:
        found = self._text[place : place + len(what)]
        if found != what and what.startswith(found) and not self._at_end:
            raise _Undecided
        return found == what

    def _mark_end(self, place: int) -> int | None:
        """After the mark that ends the clause here; None: the clause goes on."""
        text = self._text
        if self._units >= _LONGEST_UNITS and self._parts_words(place):
            return place
        if self._is_first and self._units >= _FIRST_LONG_UNITS and text[place].isspace() and self._joins(place):
            return place
        sentence = _SENTENCE.match(text, place)
        if sentence is not None:
            return sentence.end() if self._has_words and self._ends_sentence(sentence) else None
        pause = _PAUSE.match(text, place)
        if pause is None or not self._has_words:
            return None
        is_long = self._units + 1 >= (_LONG_UNITS if text[place] in "、—" else self._least)
        return pause.end() if is_long and self._pauses(pause) else None

    def _joins(self, place: int) -> bool:
        """Whether a word that joins two parts of a sentence follows, and no number or name ends here."""
        before, after = self._text[place - 1], self._text[place : place + _JOINING_WINDOW]
        if not (before.isalpha() and before.islower()) or "\n" in after:
            return False
        if _JOINING.match(after):
            return True
        if len(after) < _JOINING_WINDOW and " " not in after.strip() and not self._at_end:
            raise _Undecided
        return False

    def _parts_words(self, place: int) -> bool:
        """Whether what stands before and after here may be spoken apart: no number from its unit."""
        character = self._text[place]
        return (character.isspace() or bool(_HAN.match(character))) and not self._text[place - 1].isdigit()

    def _ends_sentence(self, found: re.Match[str]) -> bool:
        text, end = self._text, found.end()
        if end == len(text):
            return self._at_end or self._wait()
        if found["mark"][0] in "。！？；…":
            return True
        if not text[end].isspace():
            return bool(_HAN.match(text[end]))
        following = _NEXT.match(text, end)
        if "\n" in text[end : following.end() if following else len(text)]:
            return True
        if following is None:
            return self._at_end or self._wait()
        return not following["next"].islower() and not self._is_abbreviation(found, following["next"])

    def _is_abbreviation(self, found: re.Match[str], following: str) -> bool:
        if found["mark"] != ".":
            return False
        before = self._text[: found.start() + 1]
        if _LIST_MARK.fullmatch(before):
            return True
        tail = before[-14:]
        if _NO_NUMBER.search(tail):
            return following.isdigit()
        return bool(_ABBREVIATION.search(tail)) and not _ENDS_SENTENCE_TOO.search(tail)

    def _pauses(self, found: re.Match[str]) -> bool:
        """A comma between digits belongs to a number or a date; a colon without a space to a time or an address."""
        text, end = self._text, found.end()
        if end == len(text):
            return self._at_end or self._wait()
        if text[found.start()] in "，：、—":
            return True
        following = _NEXT.match(text, end)
        if not text[end].isspace():
            return False
        if following is None:
            return self._at_end or self._wait()
        return not following["next"].isdigit()

    def _wait(self) -> bool:
        raise _Undecided
