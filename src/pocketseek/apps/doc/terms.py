"""Words of a text as the index has them, and the words of a question that are worth looking for.

    "Upgrading the packages"   -> upgrad the packag           small letters, no accents, lightly stemmed
    "软件包的依赖"             -> 软件 件包 包的 的依 依赖 赖   overlapping pairs, and the last character alone

Pairs need no dictionary of words. A single character is found as the beginning of a pair, which is why the last one of
a run stands alone too. Kana and Hangul are cut in pairs like Chinese.

VERSION changes whenever the same text gives other terms: an index made by another version is made anew.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

VERSION = 2

_PAIRED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_MARKS = "\u0300-\u036f"
_RUN = re.compile(f"([{_PAIRED}]+)|((?:[^\\W_{_PAIRED}][{_MARKS}]*)+)")
_IS_PAIRED = re.compile(f"[{_PAIRED}]")
_MAX_WORD_CHARS = 64  # the rest of a longer one (base64, a hash) is not looked for

_STOP_TEXT = """
a about above after all also am an and any are as at be been before being below between both but by can could did
do does doing done down during each either else etc few for from further get given gives had has have having he her
here hers him his how i if in into is it its itself just let made make makes many may me might mine more most much
must my need needs no nor not now of off on once one only or other our out over own please say says shall she should
so some such tell than that the their them then there these they this those through to too under until up upon us
use used using very was we what when where whether which while who whom whose why will with within without
would you your document text book explain explained describe described mean means d don ll m re s t ve
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())
_ASKING = re.compile(
    "来自哪里|来自哪儿|[从在到去]哪里来?|[从在到去]哪儿来?|某一?个|某些|为什么|什么时候|什么样|什么|怎么样|怎么办|怎么|怎样|如何|哪一个|哪些|哪个|哪里|哪儿|哪种|是否|能否|可否|有没有|是不是|能不能|"
    "可不可以|可以|应该|需要|多少|几个|请问|请|告诉我|介绍一下|一下|这个|那个|这些|那些|我们|你们|他们|它们|我的|你的|文中|本文|"
    "怎么说|是说|说到|文档里?中?|之间|以及|关于|哪|谁|我|你|它|吗|呢|吧|啊|(?<!目)的(?!确)|(?<!为)了(?!解)|(?<!但)是(?!非)"
)


class Term(NamedTuple):
    """What text[start:stop] is called in the index."""

    text: str
    start: int
    stop: int


def terms_of(text: str) -> list[Term]:
    """All of a text, in order."""
    found: list[Term] = []
    for run in _RUN.finditer(text):
        begin = run.start()
        if run[1] is None:
            found.append(Term(_word_term(run[2][:_MAX_WORD_CHARS]), begin, run.end()))
            continue
        pairs = run[1]
        found += (Term(pairs[at : at + 2], begin + at, begin + min(at + 2, len(pairs))) for at in range(len(pairs)))
    return found


def index_text(text: str) -> str:
    """For an index that cuts at spaces."""
    return " ".join(term.text for term in terms_of(text))


def wanted_terms(question: str) -> list[str]:
    """What to look for: each term once, in the question's order, without the words that only ask.

    A question of nothing but such words is looked for as it is.
    """
    cleaned = _ASKING.sub(" ", question)
    found = [term.text for term in _query_terms(cleaned) if not _is_stop_word(cleaned, term)]
    longer = [term for term in found if not is_beginning(term)]  # a character between two that only ask is no word
    return list(dict.fromkeys(longer or found or (term.text for term in _query_terms(question))))


def is_beginning(wanted: str) -> bool:
    """Whether a wanted term stands for all terms that begin with it: a single Chinese character."""
    return len(wanted) == 1 and is_paired(wanted)


def is_paired(term: str) -> bool:
    """Whether it is a pair of Chinese characters, or the last one of a run."""
    return _IS_PAIRED.match(term) is not None


def _query_terms(text: str) -> list[Term]:
    """Without the last characters of runs, except where the run has no other."""
    terms = terms_of(text)
    return [
        term
        for number, term in enumerate(terms)
        if not is_beginning(term.text) or number == 0 or terms[number - 1].stop != term.stop
    ]


def _is_stop_word(text: str, term: Term) -> bool:
    return text[term.start : term.stop].lower() in _STOP_WORDS


@lru_cache(maxsize=50_000)
def _word_term(word: str) -> str:
    folded = word.lower()
    if not folded.isascii():
        letters = unicodedata.normalize("NFKD", folded.casefold())
        folded = "".join(letter for letter in letters if not unicodedata.combining(letter)) or folded
    return _stem(folded) if folded.isascii() and folded.isalpha() else folded


def _stem(word: str) -> str:
    """Of an English word: installs, installed, installing, installation -> install; -ize is -ise. Other languages lose
    little."""
    stem = _without_ending(word) if len(word) >= 4 else word
    return stem[:-1] + "s" if stem.endswith(("iz", "yz")) else stem


def _without_ending(word: str) -> str:
    word = _without_plural(word)
    if word.endswith("ied") and len(word) > 4:
        return word[:-3] + "y"
    for ending in ("ation", "ing", "ed", "ly"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= 3 and any(vowel in rest for vowel in "aeiouy"):
            return _without_double(rest)
    return word[:-1] if word.endswith("e") else word


def _without_plural(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_double(rest: str) -> str:
    return rest[:-1] if rest[-1] == rest[-2] and rest[-1] not in "aeiolsz" else rest
