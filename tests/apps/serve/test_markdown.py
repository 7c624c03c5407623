"""What a model writes becomes HTML that does nothing, whole or piece by piece, in bounded time."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketseek.apps.serve import markdown
from pocketseek.apps.serve.markdown import LiveMarkdown, render_blocks, render_plain

ALLOWED_ATTRIBUTES = {"href", "target", "rel", "class", "tabindex", "start"}
MATH_ATTRIBUTES = {"display", "width", "stretchy", "fence", "form", "mathvariant", "displaystyle", "scriptlevel"}
PIECES = st.sampled_from(
    [
        "a",
        " ",
        "\n",
        "\n\n",
        "# ",
        "- ",
        "1. ",
        "> ",
        "```",
        "```python\n",
        "$",
        "$$",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "|",
        "|---|",
        "*",
        "**",
        "_",
        "`",
        "<",
        ">",
        '"',
        "'",
        "&",
        "[",
        "](",
        ")",
        "![",
        "javascript:alert(1)",
        "http://a",
        "<script>",
        "<img src=x onerror=y>",
        "\\text{",
        "}",
        "^",
        "_",
        "\\frac",
        "\\href{",
        "<b ",
        "&lt;",
        "\t",
        "\r",
        "[a]: http://b\n",
        "~~",
        "---\n",
        "    ",
        "<!--",
        "data:text/html,",
        "中文",
        "\x00",
        "\u2028",
    ]
)
TEXTS = st.lists(PIECES, max_size=40).map("".join)


class _Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def html_of(text: str) -> str:
    return "".join(render_blocks(text))


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_nothing_that_acts_comes_out_whatever_goes_in(text: str) -> None:
    for tag, attributes in _Tags(html_of(text)).found:
        assert tag not in {"script", "img", "iframe", "style", "object", "svg", "form", "input", "base", "link", "meta"}
        assert set(attributes) <= ALLOWED_ATTRIBUTES | MATH_ATTRIBUTES, attributes
        assert (attributes.get("href") or "http://").lower().startswith(("http://", "https://", "mailto:"))


@given(TEXTS, st.lists(st.integers(0, 200), max_size=6))
@settings(max_examples=200, deadline=None)
def test_a_text_that_grew_looks_like_one_that_came_at_once(text: str, cuts: list[int]) -> None:
    if "]: " in text or "\r" in text:
        return  # documented: a reference that comes later is applied when the answer is finished
    live = LiveMarkdown()
    for cut in sorted(cuts):
        live.render(text[:cut])
    assert "".join(live.render(text)) == html_of(text)


def test_blocks_that_cannot_change_any_more_are_not_rendered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    parse = markdown._PARSER.parse

    def counting(text: str, environment: object) -> object:
        parsed.append(text)
        return parse(text, environment)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(markdown._PARSER, "parse", counting)
    live = LiveMarkdown()
    live.render("one\n\ntwo")
    assert live.render("one\n\ntwo and more") == ["<p>one</p>\n", "<p>two and more</p>\n"]
    assert parsed[-1] == "two and more"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<b>x</b>", "<p>&lt;b&gt;x&lt;/b&gt;</p>"),
        ("[x](javascript:alert)", "<p>[x](javascript:alert)</p>"),
        ("![x](http://a/b.png)", 'href="http://a/b.png"'),
        ("[x](https://a)", 'rel="noopener noreferrer nofollow"'),
        ("~~x~~", "<s>x</s>"),
        ("a\nb", "a<br />"),
        ("|a|\n|:-:|\n|b|", '<td class="center">b</td>'),
        ("```c\nint a;\n```", '<span class="k">int</span>'),
        ("```nonsense\n<a>\n```", "&lt;a&gt;"),
        ("price: $5 and $6", "price: $5 and $6"),
        ("$a$", "<mi>a</mi>"),
        ("\\(a\\)", "<mi>a</mi>"),
        ("so\n\\[a\\]\nthen", '<div class="formula"'),
        ("$$\na\n$$", '<math display="block">'),
        ("> $$\n> a\n> $$", '<div class="formula"'),
        ("`$a$`", "<code>$a$</code>"),
    ],
)
def test_what_becomes_of(text: str, html: str) -> None:
    assert html in html_of(text)


BOMBS = {
    "quotes": ">" * 50_000,
    "lists": "- " * 50_000,
    "emphasis": "*a_ " * 30_000,
    "brackets": "[" * 50_000,
    "images": "![" * 50_000,
    "table": "|a" * 3000 + "\n" + "|-" * 3000 + "\n" + "|\n" * 3000,
    "formulas": "$\\frac{a}{b}$ " * 20_000,
    "formula openings": "\\(" * 50_000,
    "display openings": "\\[\n" * 50_000,
    "roots": "$" + "\\sqrt" * 390 + "$",
    "code": "```html\n" + "<a" * 9000 + "\n```",
    "references": "[a]: b\n" * 50_000,
    "headings": "#\n" * 100_000,
    "too long": "a " * 300_000,
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_is_given_up_in_time_and_shown_as_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is counted in questions for it: the clock goes on a millisecond with each."""
    now_s = 0.0

    def clock() -> float:
        nonlocal now_s
        now_s += 0.001
        return now_s

    monkeypatch.setattr(markdown.time, "monotonic", clock)
    html = html_of(BOMBS[name])
    assert now_s <= markdown.MAX_RENDER_S + 0.003
    assert len(html) <= markdown.MAX_HTML_CHARS * 2


def test_what_was_given_up_keeps_its_beginning() -> None:
    live = LiveMarkdown()
    live.render("*one*\n\ntwo")
    text = "*one*\n\n" + "two <i>" * 100_000
    assert live.render(text) == ["<p><em>one</em></p>\n", render_plain(text[7:])]
