'''Several typed lines as one question: from """ to """, as in ollama, or from !multi to !end, as in llm.'''

from __future__ import annotations

from collections.abc import Callable

_QUOTES = '"""'
_MULTI, _END = "!multi", "!end"


def end_of_block(line: str) -> str | None:
    """What ends the block that this line begins; None: it begins none, or ends it itself."""
    if line == _MULTI:
        return _END
    return _QUOTES if line.startswith(_QUOTES) and not _is_whole(line) else None


def whole_block(line: str) -> str | None:
    """What stands between quotes that begin and end one line; None: they do not."""
    return line[len(_QUOTES) : -len(_QUOTES)].strip() if _is_whole(line) else None


def read_block(first: str, end: str, read_line: Callable[[], str]) -> str:
    """The lines up to the one that ends with `end`, without that. first: the line that begins the block."""
    line = first.removeprefix(_QUOTES) if end == _QUOTES else read_line()
    lines: list[str] = []
    while not line.rstrip().endswith(end):
        lines.append(line)
        line = read_line()
    return "\n".join([*lines, line.rstrip().removesuffix(end)]).strip()


def _is_whole(line: str) -> bool:
    return len(line) >= 2 * len(_QUOTES) and line.startswith(_QUOTES) and line.endswith(_QUOTES)
