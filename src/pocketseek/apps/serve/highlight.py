"""Colours of code: spans with a few classes, which the page's style sheet paints; the only module that knows Pygments.

Only well-known languages are read: each lexer is a set of regular expressions that a text from anywhere goes through.
`console` is not among them: its lexer reads everything before it gives the first token, which no clock can stop.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from itertools import groupby
from typing import Any

# Pygments has no types of its own; what is used of it is typed here.
from pygments.lexer import Lexer  # type: ignore[import-untyped]  # see above
from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]  # see above
from pygments.token import (  # type: ignore[import-untyped]  # see above
    Comment,
    Generic,
    Keyword,
    Name,
    Number,
    Operator,
    String,
)

Family = Any  # a kind of token: a path from the general to the special; `in` means "is one of"

MAX_CODE_CHARS = 20_000
_LANGUAGE_NAMES = (
    "python py python3 javascript js jsx typescript ts tsx json html xml css scss bash sh shell zsh c cpp c++"
    " csharp c# java kotlin go golang rust rs ruby rb php sql yaml yml toml ini swift r lua diff dart scala haskell"
    " perl powershell dockerfile docker makefile make tex latex objective-c julia matlab"
)
_LANGUAGES = frozenset(_LANGUAGE_NAMES.split())
_CLASSES: tuple[tuple[Family, str], ...] = (
    (Comment, "c"),
    (Keyword, "k"),
    (String, "s"),
    (Number, "m"),
    (Name.Function, "f"),
    (Name.Class, "f"),
    (Name.Tag, "k"),
    (Name.Decorator, "d"),
    (Name.Attribute, "d"),
    (Name.Builtin, "b"),
    (Operator.Word, "k"),
    (Generic.Inserted, "gi"),
    (Generic.Deleted, "gd"),
    (Generic.Heading, "k"),
    (Generic.Subheading, "k"),
)


def highlight(code: str, language: str, check_time: Callable[[], None]) -> str:
    """HTML of the code. check_time is called every few tokens and may raise to end it."""
    if len(code) > MAX_CODE_CHARS or language.lower() not in _LANGUAGES:
        return escape(code)
    lexer: Lexer = get_lexer_by_name(language.lower(), stripnl=False, ensurenl=False)
    pieces: list[tuple[str, str]] = []
    for number, (kind, value) in enumerate(lexer.get_tokens(code)):
        if number % 50 == 0:
            check_time()
        pieces.append((_class_of(kind), value))
    return "".join(
        _span(name, "".join(value for _, value in group)) for name, group in groupby(pieces, lambda piece: piece[0])
    )


def _class_of(kind: Family) -> str:
    return next((name for family, name in _CLASSES if kind in family), "")


def _span(name: str, text: str) -> str:
    return f'<span class="{name}">{escape(text)}</span>' if name else escape(text)
