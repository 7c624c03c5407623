"""English as it is read aloud: numbers, dates, times, money, units, signs and abbreviations in words.

    "On 2026-11-27 at 3:05 pm, 10-20 km cost $1.50"
    -> "On November twenty-seventh, twenty twenty-six at three oh five p m, ten to twenty kilometers cost one dollar
        and fifty cents"

Rules are tried in one order over the whole text, the special ones first; what a rule has put in words no later one
changes. Where writing has two readings the commoner one is taken: 3/4 is three quarters, 2/11/2026 is in February.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pocketseek.apps.voice.words import english_numbers as numbers
from pocketseek.apps.voice.words.english_words import (
    ABBREVIATIONS,
    CURRENCIES,
    DENOMINATORS,
    MONTH_NAMES,
    MULTIPLES,
    SIGNS,
    UNITS,
    VULGAR_FRACTIONS,
)

_NUM = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)*)"
_BEFORE = r"(?<![\w.])"  # a number or word begins here
_DAY = r"(?P<day>[12]?\d|3[01])"
_MONTH = rf"(?P<month>{'|'.join(f'{name}|{name[:3]}' for name in MONTH_NAMES)}|Sept)\b\.?"
_YEAR = r"(?P<year>1[1-9]\d\d|20\d\d)(?!\d|\.\d|,\d)"
_UNIT = rf"(?P<unit>{'|'.join(sorted(map(re.escape, UNITS), key=len, reverse=True))})(?![A-Za-z0-9²³])"
_MULTIPLE = r"(?:\s?(?P<multiple>thousand|million|billion|trillion|[kKMB]|bn)\b)?"
_CURRENCY = f"(?P<currency>(?:US|C|A|HK)?\\$|[{''.join(set(CURRENCIES) - {'$'})}])"
_CODES = "(?P<code>USD|EUR|GBP|CNY|RMB|JPY|INR)"
_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?"
_BEFORE_YEAR = (
    r"\b((?i:in|since|from|until|till|by|of|year|before|after|around|circa|and|to|between|spring|summer|autumn|fall|"
    r"winter))"
)
_CODE_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£", "CNY": "元", "RMB": "元", "JPY": "¥", "INR": "₹"}

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def in_english(text: str) -> str:
    """What may be left in figures: nothing. Letters, punctuation and spaces stay."""
    for pattern, say in _RULES:
        text = pattern.sub(say, text)
    return re.sub(r"\s+([.,;:!?])", r"\1", " ".join(text.split()))


def _number(text: str) -> str:
    return numbers.decimal(text.replace(",", ""))


def _is_one(text: str) -> bool:
    return text == "1"


def _telephone(found: re.Match[str]) -> str:
    groups = re.findall(r"\d+", found[0])
    return ("plus " if found[0].startswith("+") else "") + ", ".join(map(numbers.digits, groups))


def _date(month: str, day: str | None, year: str | None) -> str:
    words = month + (f" {numbers.ordinal(day)}" if day else "")
    return words + (f"{',' if day else ''} {numbers.year(year)}" if year else "")


def _named_date(found: re.Match[str]) -> str:
    parts = found.groupdict()
    return _date(_month_name(parts["month"]), parts.get("day"), parts.get("year"))


def _day_first(found: re.Match[str]) -> str:
    """ "The 21st of May" keeps its order, "21 May" is read as "May 21"."""
    if not found["ending"]:
        return _named_date(found)
    month = _date(_month_name(found["month"]), None, None)
    year = f", {numbers.year(found['year'])}" if found["year"] else ""
    return f"{numbers.ordinal(found['day'])} of {month}{year}"


def _month_name(written: str) -> str:
    return next(name for name in MONTH_NAMES if name.startswith(written.rstrip(".")[:3]))


def _figure_date(year: str, month: str, day: str, whole: str) -> str:
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return whole
    return _date(MONTH_NAMES[int(month) - 1], str(int(day)), year)


def _slash_date(found: re.Match[str]) -> str:
    month, day, year = found[1], found[2], found[3]
    if int(month) > 12:
        month, day = day, month
    return _figure_date(year, month, day, found[0])


def _time(found: re.Match[str]) -> str:
    hour, minute, second = int(found["hour"]), found["minute"], found["second"]
    half = (found["half"] or "").lower().replace(".", "")
    if hour > 24 or int(minute) > 59:
        return found[0]
    words = numbers.cardinal(str(hour))
    if minute == "00":
        words += "" if half else (" hundred" if hour > 12 else " o'clock")
    else:
        words += f" {'oh ' + numbers.cardinal(minute[1]) if minute[0] == '0' else numbers.cardinal(minute)}"
    if second:
        words += f" and {_plural(str(int(second)), 'second')}"
    return words + (f" {half[0]} m" if half else "")


def _hour(found: re.Match[str]) -> str:
    return f"{numbers.cardinal(found[1])} {found[2].lower()} m"


def _plural(number: str, unit: str) -> str:
    return f"{_number(number)} {unit if _is_one(number) else unit + 's'}"


def _money(found: re.Match[str]) -> str:
    parts = found.groupdict()
    sign = parts.get("currency") or _CODE_SIGNS[parts["code"]]
    one, many, cent, cents = CURRENCIES[sign[-1]]
    amount, multiple = found["amount"].replace(",", ""), parts.get("multiple")
    if multiple:
        return f"{_number(amount)} {MULTIPLES.get(multiple, multiple)} {many}"
    whole, _, rest = amount.partition(".")
    if len(rest) != 2 or not cent:
        return f"{_number(amount)} {one if _is_one(amount) else many}"
    small = f"{_number(str(int(rest)))} {cent if int(rest) == 1 else cents}"
    if int(rest) and not int(whole):
        return small
    words = f"{_number(whole)} {one if _is_one(whole) else many}"
    return f"{words} and {small}" if int(rest) else words


def _range(found: re.Match[str]) -> str:
    first, last = found[1], found[2]
    if all(re.fullmatch(r"1[1-9]\d\d|20\d\d", year) for year in (first, last)):
        return f"{numbers.year(first)} to {numbers.year(last)}"
    return f"{first} to {last}"


def _fraction(found: re.Match[str]) -> str:
    whole, above, below = found[1], found[2], found[3]
    if (above, below) == ("24", "7"):
        return "twenty-four seven"
    if below not in DENOMINATORS:
        return found[0] if found["unit"] else f"{numbers.cardinal(above)} over {numbers.cardinal(below)}"
    one, many = DENOMINATORS[below]
    unit, units = UNITS.get(found["unit"], ("", ""))
    if whole:
        part = f"a {one}" if above == "1" else f"{numbers.cardinal(above)} {many}"
        return f"{numbers.cardinal(whole)} and {part} {units}".rstrip()
    words = f"{numbers.cardinal(above)} {one if above == '1' else many}"
    return f"{words} of {'an' if unit.startswith(('o', 'hour')) else 'a'} {unit}" if unit else words


def _unit(found: re.Match[str]) -> str:
    one, many = UNITS[found["unit"]]
    return f"{_number(found[1])} {one if _is_one(found[1]) else many}"


def _words(table: dict[str, str]) -> Rule:
    """Entries that end in a letter or full stop end there; the case of what is written does not matter."""
    entries = sorted(map(re.escape, table), key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w.])(?:{'|'.join(entries)})(?![A-Za-z])", re.IGNORECASE)
    return pattern, lambda found: table[found[0].lower()]


def _rule(pattern: str, say: Callable[[re.Match[str]], str] | str) -> Rule:
    return re.compile(pattern), (say if callable(say) else lambda found: found.expand(say))


_RULES: tuple[Rule, ...] = (
    _rule(rf"{_BEFORE}(?:\+\d[\d ()-]{{6,}}\d|\(?\d{{3}}\)?[- ]\d{{3}}-\d{{4}})(?!\w)", _telephone),
    _rule(r"(?<=[\w.+-])@(?=\w)", " at "),
    _rule(
        rf"{_BEFORE}(\d{{4}})[-/.](\d{{1,2}})[-/.](\d{{1,2}})(?![\w])",
        lambda found: _figure_date(found[1], found[2], found[3], found[0]),
    ),
    _rule(rf"{_BEFORE}(\d{{1,2}})/(\d{{1,2}})/(\d{{4}})(?!\w)", _slash_date),
    _rule(rf"\b{_MONTH} {_DAY}(?:st|nd|rd|th)?(?!\d|[.,:]\d)(?:,? {_YEAR})?", _named_date),
    _rule(rf"{_BEFORE}{_DAY}(?P<ending>st|nd|rd|th)?(?: of)? {_MONTH}(?:,? {_YEAR})?", _day_first),
    _rule(rf"\b{_MONTH},? {_YEAR}", _named_date),
    _rule(rf"{_BEFORE}{_CLOCK}(?:\s?(?P<half>[aApP]\.?[mM])\b\.?)?(?![\d:])", _time),
    _rule(rf"{_BEFORE}(1[0-2]|[1-9])\s?([aApP])\.?[mM]\b\.?", _hour),
    _words(ABBREVIATIONS),
    _rule(r"\b[Nn]os?\.\s?(?=\d)", "number "),
    _rule(r"#(?=\d)", "number "),
    _rule(rf"(?<![\w./-])({_NUM})\s?[–—~-]\s?({_NUM})(?![\w/]*-\d)(?!\.\d)", lambda found: _spaced_range(found)),
    _rule(rf"(?<=\d)\s?[–—-]\s?(?={_CURRENCY}\d)", " to "),
    _rule(rf"{_CURRENCY}\s?(?P<amount>{_NUM}){_MULTIPLE}", _money),
    _rule(rf"(?<![\w.])(?P<amount>{_NUM})\s?(?P<currency>[€£¥元])", _money),
    _rule(rf"(?<![\w.])(?P<amount>{_NUM}){_MULTIPLE}\s?{_CODES}\b", _money),
    _rule(rf"\b{_CODES}\s?(?P<amount>{_NUM}){_MULTIPLE}", _money),
    _rule(rf"{_BEFORE}(?:'|’)?(\d0|1[1-9]\d0|20\d0)(?:'|’)?s\b", lambda found: numbers.decade(found[1])),
    _rule(rf"{_BEFORE_YEAR} {_YEAR}(?![\w%]|\s?{_UNIT})", lambda found: f"{found[1]} {numbers.year(found['year'])}"),
    _rule(rf"{_BEFORE}{_YEAR}(?= (?:AD|BC|BCE|CE)\b)", lambda found: numbers.year(found["year"])),
    _rule(rf"(\d+)?([{''.join(VULGAR_FRACTIONS)}])", lambda found: _vulgar(found)),
    _rule(rf"(?<![\d/.])(?:(\d+) )?(\d{{1,3}})/(\d{{1,3}})(?![\d/]|\.\d)(?:\s?{_UNIT})?", _fraction),
    _rule(r"\s?\^\{?([-−]?\d+)\}?", lambda found: _power(found[1])),
    _rule(r"(?<![\w)])[-−](?=\d)", "minus "),
    _rule(rf"({_NUM})\s?%", lambda found: f"{_number(found[1])} percent"),
    _rule(rf"({_NUM})\s?{_UNIT}", _unit),
    _rule(r"(\d+)(?:st|nd|rd|th)\b", lambda found: numbers.ordinal(found[1])),
    _rule(r"(?<=\w)[²³]", lambda found: _power(found[0])),
    _rule(r"\b([CF])#(?!\w)", r"\1 sharp"),
    _rule(r"(\d)\s?-\s(?=\d)", r"\1 minus "),
    _rule(r"(?<=[\d)])\s?[*xX](?=\s?[\d(])", " times "),
    _rule(r"(\d+):(\d+)(?![\d:])", r"\1 to \2"),
    _rule(r"(?<=[A-Za-z])-(?=\d)", " "),
    _rule(_NUM, lambda found: _spaced(found)),
    _rule(r"(?<=\w)/(?=\w)", " or "),
    _rule("|".join(map(re.escape, SIGNS)), lambda found: SIGNS[found[0]]),
)


def _spaced(found: re.Match[str]) -> str:
    """Of "H2O"."""
    return f" {_number(found[0])}" + (" " if found.string[found.end() : found.end() + 1].isalpha() else "")


def _spaced_range(found: re.Match[str]) -> str:
    """ "5 - 3" is a difference, "5-3" and "5 – 3" are ranges."""
    return f"{found[1]} minus {found[2]}" if " - " in found[0] else _range(found)


def _vulgar(found: re.Match[str]) -> str:
    one = VULGAR_FRACTIONS[found[2]]
    if not found[1]:
        return one
    return f"{_number(found[1])} and {one.replace('one ', 'a ')}"


def _power(exponent: str) -> str:
    known = {"2": " squared", "3": " cubed", "²": " squared", "³": " cubed"}
    if exponent in known:
        return known[exponent]
    sign = "minus " if exponent[0] in "-−" else ""
    return f" to the power of {sign}{numbers.cardinal(exponent.lstrip('-−'))}"
