r"""Where formulas stand in a Markdown text: `$a$`, `\(a\)` inside a line; `$$a$$`, `\[a\]` on lines of their own.

A dollar opens a formula only if no space follows, and closes one only if no space stands before and no digit behind it:
prices stay prices. Tokens are `math_inline` and `math_display`; who draws them is not decided here.
"""

from __future__ import annotations

from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

from pocketseek.apps.serve.mathml import MAX_FORMULA_CHARS


class _Delimiters(NamedTuple):
    start: str
    end: str
    display: bool


_DISPLAY = (_Delimiters("$$", "$$", True), _Delimiters("\\[", "\\]", True))
_INLINE = (*_DISPLAY, _Delimiters("\\(", "\\)", False), _Delimiters("$", "$", False))


def add_math(parser: MarkdownIt) -> None:
    """Teach a parser both kinds; formulas go before escapes, since they begin with what escapes begin with."""
    parser.inline.ruler.before("escape", "math", _inline_rule)
    parser.block.ruler.before("fence", "math", _block_rule, {"alt": ["paragraph", "reference", "blockquote", "list"]})


def _inline_rule(state: StateInline, silent: bool) -> bool:
    kind = next((d for d in _INLINE if state.src.startswith(d.start, state.pos)), None)
    if kind is None:
        return False
    begin = state.pos + len(kind.start)
    end = _closing(state.src, begin, kind)
    if end is None:
        return False
    if not silent:
        token = state.push("math_display" if kind.display else "math_inline", "math", 0)
        token.content = state.src[begin:end]
    state.pos = end + len(kind.end)
    return True


def _closing(text: str, begin: int, kind: _Delimiters) -> int | None:
    """Where the formula that begins there ends; None if nothing sensible closes it."""
    last = begin + MAX_FORMULA_CHARS
    end = text.find(kind.end, begin, last)
    while end > begin and kind.start[0] == "$" and _is_escaped(text, end):
        end = text.find(kind.end, end + 1, last)
    if end <= begin or not text[begin:end].strip():
        return None
    if kind.start == "$" and (text[begin].isspace() or text[end - 1].isspace() or text[end + 1 : end + 2].isdigit()):
        return None
    return end


def _is_escaped(text: str, at: int) -> bool:
    before = text[max(0, at - 20) : at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _block_rule(state: StateBlock, first_line: int, end_line: int, silent: bool) -> bool:
    if state.is_code_block(first_line):
        return False
    begin = state.bMarks[first_line] + state.tShift[first_line]
    kind = next((d for d in _DISPLAY if state.src.startswith(d.start, begin)), None)
    if kind is None:
        return False
    found = _closing_line(state, first_line, end_line, begin + len(kind.start), kind.end)
    if found is None:
        return False
    if not silent:
        line, end = found
        state.line = line + 1
        token = state.push("math_display", "math", 0)
        token.block = True
        token.content = _without_prefixes(state, first_line, line, begin + len(kind.start), end)
        token.map = [first_line, state.line]
    return True


def _closing_line(state: StateBlock, first_line: int, end_line: int, begin: int, mark: str) -> tuple[int, int] | None:
    """The line that ends with the mark, and where in it; nothing may follow the mark."""
    for line in range(first_line, end_line):
        start = begin if line == first_line else state.bMarks[line] + state.tShift[line]
        if state.eMarks[line] - begin > MAX_FORMULA_CHARS or (
            state.sCount[line] < state.blkIndent and line > first_line
        ):
            return None
        end = state.src.find(mark, start, state.eMarks[line])
        if end >= 0:
            is_last = not state.src[end + len(mark) : state.eMarks[line]].strip(" \t.,;")
            return (line, end) if is_last and end > begin else None
    return None


def _without_prefixes(state: StateBlock, first_line: int, last_line: int, begin: int, end: int) -> str:
    """What is between the marks, without the `>` of a quotation in front of its lines."""
    if first_line == last_line:
        return state.src[begin:end]
    middle = [
        state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]
        for line in range(first_line + 1, last_line)
    ]
    last_start = state.bMarks[last_line] + state.tShift[last_line]
    return "\n".join([state.src[begin : state.eMarks[first_line]], *middle, state.src[last_start:end]])
