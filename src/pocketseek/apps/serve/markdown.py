"""Markdown of a model's answer to HTML that a page may show as it is; the only module that knows markdown-it-py.

A model's words are not trusted. Raw HTML is text; links go to http, https and mailto alone and open without a referrer;
images are never loaded, only linked; there are no `style` or `on...` attributes, and no ids. Time and size are bounded:
what takes longer than MAX_RENDER_S or grows beyond MAX_HTML_CHARS is shown as plain text.

`render_blocks` gives one string for each block (paragraph, list, code ...); `LiveMarkdown` does the same for a text
that still grows, and parses only what may still change: the last block.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping, Sequence
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from pocketseek.apps.serve.highlight import highlight
from pocketseek.apps.serve.math_rules import add_math
from pocketseek.apps.serve.mathml import render_formula

MAX_RENDER_S = 1.0
MAX_TEXT_CHARS = 400_000
MAX_HTML_CHARS = 2_000_000
_DEADLINE = "deadline_s"
_LINKS = ("http://", "https://", "mailto:")
_LINK_ATTRIBUTES = 'target="_blank" rel="noopener noreferrer nofollow"'

Environment = MutableMapping[str, Any]  # markdown-it's own type for what a rendering carries along


class _TooLongError(Exception):
    """Rendering takes more time or room than a page is worth."""


def render_blocks(text: str) -> list[str]:
    """HTML of every top-level block, in order."""
    return LiveMarkdown().render(text)


def render_plain(text: str) -> str:
    """A text as it was typed, lines kept."""
    return f'<p class="plain">{escape(text)}</p>' if text else ""


class LiveMarkdown:
    """The blocks of a text that grows. Blocks that nothing can change any more are kept, not rendered again.

    One exception: a link reference that is defined later is not applied to blocks that are kept; the page gets it when
    the answer is finished and rendered as a whole. Not for use from several threads at once.
    """

    def __init__(self) -> None:
        self._settled: list[str] = []
        self._num_settled_chars = 0
        self._is_hopeless = False  # too slow or too large once: plain text from then on

    def render(self, text: str) -> list[str]:
        """All blocks of the text, which begins with the text of the last call."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if not self._is_hopeless:
            try:
                return self._render(text)
            except _TooLongError:
                self._is_hopeless = True
        return [*self._settled, render_plain(text[self._num_settled_chars :])]

    def _render(self, text: str) -> list[str]:
        if len(text) > MAX_TEXT_CHARS:
            raise _TooLongError
        tail = text[self._num_settled_chars :]
        environment: Environment = {_DEADLINE: time.monotonic() + MAX_RENDER_S}
        blocks = list(_top_blocks(_PARSER.parse(tail, environment)))
        html = [_PARSER.renderer.render(block, _PARSER.options, environment) for block in blocks]
        if sum(map(len, self._settled)) + sum(map(len, html)) > MAX_HTML_CHARS:
            raise _TooLongError
        shown = [*self._settled, *html]
        if len(blocks) > 1 and blocks[-1][0].map is not None:
            self._num_settled_chars += _line_start(tail, blocks[-1][0].map[0])
            self._settled += html[:-1]
        return shown


def _top_blocks(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


def _line_start(text: str, line: int) -> int:
    position = 0
    for _ in range(line):
        position = text.index("\n", position) + 1
    return position


def _check_time(environment: Environment) -> None:
    if time.monotonic() > environment[_DEADLINE]:
        raise _TooLongError


def _block_clock(state: StateBlock, first_line: int, end_line: int, silent: bool) -> bool:
    _check_time(state.env)
    return False


def _inline_clock(state: StateInline, silent: bool) -> bool:
    _check_time(state.env)
    return False


class _PageRenderer(RendererHTML):
    """What differs from plain HTML: no inline styles, links that lead nowhere by accident, code and formulas."""

    def fence(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: Environment) -> str:
        words = tokens[index].info.split(maxsplit=1)
        language = words[0][:30] if words else ""
        code = highlight(tokens[index].content, language, lambda: _check_time(env))
        caption = f"<figcaption>{escape(language)}</figcaption>"
        return f'<figure class="code">{caption}<pre tabindex="0"><code>{code}</code></pre></figure>\n'

    def code_block(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: Environment) -> str:
        return self.fence(tokens, index, options, env)

    def link_open(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: Environment) -> str:
        return _link(str(tokens[index].attrs.get("href", "")))

    def image(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: Environment) -> str:
        source = str(tokens[index].attrs.get("src", ""))
        return f"{_link(source)}{escape(tokens[index].content or source)}</a>"

    def math_inline(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: Environment) -> str:
        _check_time(env)
        return render_formula(tokens[index].content, display=False)

    def math_display(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: Environment) -> str:
        _check_time(env)
        formula = render_formula(tokens[index].content, display=True)
        return f'<div class="formula" tabindex="0">{formula}</div>\n' if tokens[index].block else formula

    def table_open(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: Environment) -> str:
        return '<div class="table" tabindex="0"><table>\n'

    def table_close(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: Environment) -> str:
        return "</table></div>\n"

    def th_open(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: Environment) -> str:
        return _cell(tokens[index])

    def td_open(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: Environment) -> str:
        return _cell(tokens[index])


def _link(address: str) -> str:
    return f'<a href="{escape(address)}" {_LINK_ATTRIBUTES}>'


def _cell(token: Token) -> str:
    side = str(token.attrs.get("style", "")).removeprefix("text-align:")
    return f'<{token.tag} class="{side}">' if side in ("left", "center", "right") else f"<{token.tag}>"


def _is_safe_link(address: str) -> bool:
    return address.strip().lower().startswith(_LINKS)


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}, renderer_cls=_PageRenderer)
    parser.enable(["table", "strikethrough"])
    parser.disable(["html_block", "html_inline"])
    add_math(parser)
    parser.block.ruler.before("table", "clock", _block_clock, {"alt": ["paragraph", "blockquote", "list"]})
    parser.inline.ruler.before("text", "clock", _inline_clock)
    parser.validateLink = _is_safe_link  # type: ignore[method-assign, assignment]  # markdown-it's own way to say it
    return parser


_PARSER = _parser()
