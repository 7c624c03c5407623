"""Written text without what only an eye can use: markdown, HTML, links, code, tables, emoji, footnote marks.

    "## **Yes**, see [the page](https://x.org) 🎉"  ->  "Yes, see the page"

Takes a clause (clauses.py) at a time, whose emphasis may begin in one clause and end in another. What stands in code or
in a table is not read out: a few words say where it can be read.
"""

from __future__ import annotations

import html
import re
import unicodedata

from pocketseek.apps.voice.words.formula_words import formula_words

_BLOCKS = (
    (("```", "~~~"), {"en": "The code is on the screen.", "zh": "代码请看屏幕。"}),
    (("|",), {"en": "The table is on the screen.", "zh": "表格请看屏幕。"}),
    (("$$", "\\["), {"en": "The formula is on the screen.", "zh": "公式请看屏幕。"}),
)
_LINK = {"en": "a link", "zh": "链接"}
_THINKING = re.compile(r"<think>.*?(?:</think>|$)|^.*?</think>", re.DOTALL)
_IMAGE_OR_LINK = re.compile(r"!?\[([^\]\n]*)\](?:\([^)\n]*\)|\[[^\]\n]*\])")
_FOOTNOTE = re.compile(r"\[\^?\d+(?:[,–-]\d+)*\]|【[^】]*†[^】]*】")
_ADDRESS = re.compile(r"<?\b(?:https?://|www\.)[^\s<>()。，；！？、“”]+[^\s<>().,;:!?。，；！？、“”'\"]>?")
_CODE = re.compile(r"``([^\n]+?)``|`([^`\n]*)`")
_FORMULA = re.compile(r"\\\((.+?)\\\)|\\\[(.+?)\\\]|\$(?![\s\d])([^$\n]*?[^$\s])\$(?!\d)")
_BREAK = re.compile(r"<br\s*/?>|</p>|</li>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>\n]*>|<!--.*?-->")
_RULE = re.compile(r"^\s*(?:[-*_=]\s*){3,}$", re.MULTILINE)
_LINE_START = re.compile(r"^[ \t]*(?:(?:#{1,6}|[>*+•·▪◦-])[ \t]+)*(?:\[[ xX]\][ \t]+)?", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t]*(\d{1,3})[.)][ \t]+", re.MULTILINE)
_LATEX = re.compile(r"\\[A-Za-z]+\s*\{[^{}\n]*\}(?:\s*\{[^{}\n]*\})?")
_LINE_END = re.compile(r"[ \t]*\n\s*")
_EMPHASIS = re.compile(r"\*\*\*|\*\*|__|~~|==|(?<![\s*])\*(?![\w*])|(?<![\w*])\*(?![\s*])|(?<!\w)_|_(?!\w)")
_KEYCAP = re.compile("([0-9#*])\ufe0f?\u20e3")
_PAUSE_MARKS = ".,;:!?。，、；：！？…"
_PICTURES = {"So", "Sk", "Cs", "Co", "Cn", "Cf", "Cc"}  # categories of Unicode
_SAID_SYMBOLS = "°℃℉™©®№`^"  # of these categories, but for those who know words for them
_ARROW = re.compile(r"\s*(?:->|=>|[←-⇿⟵-⟿➔-➾])\s*")


def plain(text: str, language: str) -> str:
    """language: of the few words that are put in place of what is not read; "en" or "zh"."""
    text = _THINKING.sub("", text)
    for openings, words in _BLOCKS:
        if text.lstrip().startswith(openings):
            return words[language]
    text = _code_and_formulas(text)
    text = _IMAGE_OR_LINK.sub(r"\1", text)
    text = _FOOTNOTE.sub("", text)
    text = _ADDRESS.sub(_LINK[language], text)
    text = _TAG.sub("", _BREAK.sub("\n", text))
    text = html.unescape(text)
    text = _LINE_START.sub("", _RULE.sub("", text))
    text = _EMPHASIS.sub("", text)
    text = _NUMBERED.sub(r"\1，" if language == "zh" else r"\1, ", text)
    return _joined_lines(_without_pictures(text), language)


def _code_and_formulas(text: str) -> str:
    text = _FORMULA.sub(lambda found: formula_words(found[1] or found[2] or found[3]), text)
    text = _LATEX.sub(lambda found: formula_words(found[0]), text)
    return _CODE.sub(lambda found: (found[1] or found[2] or "").replace("_", " "), text)


def _without_pictures(text: str) -> str:
    text = _ARROW.sub(", ", _KEYCAP.sub(r"\1", text))
    return "".join(
        character
        for character in text
        if character in _SAID_SYMBOLS or character.isspace() or unicodedata.category(character) not in _PICTURES
    ).replace("\ufe0f", "")


def _joined_lines(text: str, language: str) -> str:
    """Lines become one, with a pause between them."""
    lines = [" ".join(line.split()) for line in _LINE_END.split(text.strip())]
    pause = "，" if language == "zh" else ","
    joined = ""
    for line in filter(None, lines):
        if joined:
            joined += " " if joined[-1] in _PAUSE_MARKS else pause + " "
        joined += line
    return joined
