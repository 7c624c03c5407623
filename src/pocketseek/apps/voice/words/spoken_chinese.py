"""Chinese as it is read aloud: numbers, dates, times, money, units and signs in characters.

    "2026-11-27 下午3:05，10-20km，涨了12.5%"
    -> "二零二六年十一月二十七日下午三点零五分，十到二十公里，涨了百分之十二点五"

Rules are tried in one order over the whole text, the special ones first. Letters stay, and so do figures that belong to
a word in letters (GPT-4): those are read as English, see spoken_text.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pocketseek.apps.voice.words import chinese_numbers as numbers
from pocketseek.apps.voice.words.chinese_words import CURRENCIES, MEASURE_WORDS, SIGNS, UNITS, VULGAR_FRACTIONS

_NUM = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)*)"
_BEFORE = r"(?<![A-Za-z0-9.\-_/])"  # the number is no part of a word in letters, nor of a longer one
_AFTER = r"(?![A-Za-z0-9]|[.]\d)"
_LETTER = "[A-Z]"  # 5G, 3D
_UNIT = rf"(?P<unit>{'|'.join(sorted(map(re.escape, UNITS), key=len, reverse=True))})(?![A-Za-z0-9²³])"
_CURRENCY = f"[{''.join(CURRENCIES)}]"
_SCALE = "(?P<scale>[千百十]?[万亿]?)"
_CODES = "(?P<code>USD|EUR|GBP|CNY|RMB|JPY)"
_CODE_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£", "CNY": "¥", "RMB": "¥", "JPY": "日元"}

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def in_chinese(text: str) -> str:
    """Figures that belong to no word in letters become characters."""
    for pattern, say in _RULES:
        text = pattern.sub(say, text)
    return text


def _number(text: str) -> str:
    return numbers.decimal(text.replace(",", ""))


def _quantity(text: str) -> str:
    return numbers.quantity(text.replace(",", ""))


def _date(found: re.Match[str]) -> str:
    year, month, day = found[1], int(found[2]), int(found[3])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return found[0]
    return f"{numbers.digits(year)}年{numbers.cardinal(str(month))}月{numbers.cardinal(str(day))}日"


def _time(found: re.Match[str]) -> str:
    hour, minute, second = int(found[1]), found[2], found[3]
    if hour > 24 or int(minute) > 59:
        return found[0]
    words = numbers.quantity(str(hour)) + "点"
    if minute != "00" or second:
        words += ("零" if minute[0] == "0" and minute != "00" else "") + numbers.cardinal(str(int(minute))) + "分"
    return words + (numbers.cardinal(str(int(second))) + "秒" if second else "")


def _money(found: re.Match[str]) -> str:
    parts = found.groupdict()
    sign = parts.get("sign") or _CODE_SIGNS[parts["code"]]
    scale = parts.get("scale") or ""
    amount = _quantity(found["amount"])
    return f"{amount}{scale}{CURRENCIES.get(sign, sign)}"


def _range(found: re.Match[str]) -> str:
    first, last = found[1], found[2]
    if re.fullmatch(r"(?:1[1-9]|20)\d\d", first) and re.match("年", found.string[found.end() :]):
        return f"{numbers.digits(first)}到{last}"
    return f"{first}到{last}"


def _unit(found: re.Match[str]) -> str:
    return _quantity(found[1]) + UNITS[found["unit"]]


def _measure(found: re.Match[str]) -> str:
    return _quantity(found[1]) + found[2]


def _percent(found: re.Match[str]) -> str:
    return ("负" if found[1] else "") + ("千" if found[3] == "‰" else "百") + f"分之{_number(found[2])}"


def _rule(pattern: str, say: Callable[[re.Match[str]], str] | str) -> Rule:
    return re.compile(pattern), (say if callable(say) else lambda found: found.expand(say))


_RULES: tuple[Rule, ...] = (
    _rule(r"(?<![\d.,])1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?![\d.,])", lambda found: numbers.telephone(found[0])),
    _rule(r"(?<![\d.,])0\d{2,3}-\d{7,8}(?!\d)", lambda found: numbers.telephone(found[0])),
    _rule(rf"{_BEFORE}(\d{{4}})[-/.](\d{{1,2}})[-/.](\d{{1,2}})(?![\d.-])", _date),
    _rule(rf"{_BEFORE}(\d{{1,2}})[:：](\d\d)(?:[:：](\d\d))?(?!\d)", _time),
    _rule(rf"{_BEFORE}({_NUM}%?)\s?[-–—~～]\s?({_NUM})(?![\d-])", _range),
    _rule(r"(?<![\d.])((?:1[1-9]|20)\d\d)(?=\s?年)\s?", lambda found: numbers.digits(found[1])),
    _rule(r"(?<![\d.])(\d0)(?=年代)", lambda found: numbers.digits(found[1])),
    _rule(rf"(?P<sign>{_CURRENCY})\s?(?P<amount>{_NUM})\s?{_SCALE}(?:美?元)?", _money),
    _rule(rf"{_BEFORE}(?P<amount>{_NUM})\s?{_SCALE}\s?{_CODES}\b", _money),
    _rule(rf"{_CODES}\s?(?P<amount>{_NUM})\s?{_SCALE}", _money),
    _rule(rf"([-−])?({_NUM})\s?([%‰])", _percent),
    _rule(rf"(\d+)?([{''.join(VULGAR_FRACTIONS)}])", lambda found: _vulgar(found)),
    _rule(
        rf"{_BEFORE}(\d{{1,4}})/(\d{{1,4}})(?![\d/])",
        lambda found: f"{numbers.cardinal(found[2])}分之{numbers.cardinal(found[1])}",
    ),
    _rule(r"(?<![A-Za-z0-9.\-_/)）])[-−](?=\d)", "负"),
    _rule(rf"(?<![A-Za-z_.-])({_NUM})\s?{_UNIT}", _unit),
    _rule(rf"{_BEFORE}(\d+)[:：](\d+)(?!\d)", lambda found: f"{_number(found[1])}比{_number(found[2])}"),
    _rule(rf"(?<![A-Za-z0-9._第-])({_NUM})\s?({'|'.join(MEASURE_WORDS)})", _measure),
    _rule(r"(?<=[\d)）])\s?[*xX×]\s?(?=[\d(（])", "乘以"),
    _rule(r"(?<=\d)\s-\s(?=\d)", "减"),
    _rule(r"\s?\^\{?(\d+)\}?", lambda found: f"的{numbers.cardinal(found[1])}次方"),
    _rule(r"(?<=\w)([²³])", lambda found: "的平方" if found[1] == "²" else "的立方"),
    _rule(rf"(?<![A-Za-z0-9._-])({_NUM})(?={_LETTER}?{_AFTER})", lambda found: _number(found[1])),
    _rule(rf"(?<![A-Za-z][._-])(?<![A-Za-z0-9]){_NUM}{_AFTER}", lambda found: _number(found[0])),
    _rule("|".join(map(re.escape, SIGNS)), lambda found: SIGNS[found[0]]),
    _rule(r"(?<=[\u3400-\u9fff，。！？、；：])\s+(?=[\u3400-\u9fff，。！？、；：])", ""),
)


def _vulgar(found: re.Match[str]) -> str:
    above, below = VULGAR_FRACTIONS[found[2]]
    return (f"{numbers.cardinal(found[1])}又" if found[1] else "") + f"{below}分之{above}"
