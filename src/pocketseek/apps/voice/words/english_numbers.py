"""Numbers in English words, American style without "and": 1,205 is "one thousand two hundred five".

Numbers come as their digits, not as floats: nothing is rounded. What has more digits than names exist for, or begins
with a needless zero as codes do, is read digit by digit.
"""

from __future__ import annotations

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905  as one reads them
_SCALES = ["", " thousand", " million", " billion", " trillion"]
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
MAX_DIGITS = 3 * len(_SCALES)


def digits(text: str) -> str:
    """ "007": "zero zero seven". What is no digit is left out."""
    return " ".join(_ONES[int(character)] for character in text if character.isdecimal())


def cardinal(text: str) -> str:
    """Of digits, read as a number."""
    if len(text) > MAX_DIGITS or (len(text) > 1 and text.startswith("0")):
        return digits(text)
    value = int(text)
    if value < 1000:
        return _below_thousand(value)
    groups: list[str] = []
    for scale in _SCALES:
        value, group = divmod(value, 1000)
        if group:
            groups.append(_below_thousand(group) + scale)
    return " ".join(reversed(groups))


def ordinal(text: str) -> str:
    """Of digits: "21" is "twenty-first"."""
    words = cardinal(text)
    cut = max(words.rfind(" "), words.rfind("-")) + 1
    last = words[cut:]
    if last in _ORDINALS:
        return words[:cut] + _ORDINALS[last]
    return words[:-1] + "ieth" if words.endswith("y") else words + "th"


def decimal(text: str) -> str:
    """Of "12.50" or "12": "twelve point five zero". Versions: "3.11.2" is "three point eleven point two"."""
    first, *rest = text.split(".")
    if len(rest) == 1:
        return f"{cardinal(first)} point {digits(rest[0])}"
    return " point ".join(cardinal(part) for part in (first, *rest))


def year(text: str) -> str:
    """Of four digits: "1969" is "nineteen sixty-nine", "2005" is "two thousand five"."""
    century, rest = text[:2], text[2:]
    if text[1:3] == "00" or text.startswith("0"):
        return cardinal(text)
    if rest == "00":
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' + cardinal(rest[1]) if rest[0] == '0' else cardinal(rest)}"


def decade(text: str) -> str:
    """Of four digits ending in 0, or of two: "1990" is "nineteen nineties"."""
    words = year(text) if len(text) == 4 else cardinal(text)
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _below_thousand(value: int) -> str:
    hundreds, rest = divmod(value, 100)
    words = [f"{_ONES[hundreds]} hundred"] if hundreds else []
    if rest or not hundreds:
        words.append(_below_hundred(rest))
    return " ".join(words)


def _below_hundred(value: int) -> str:
    if value < 20:
        return _ONES[value]
    tens, ones = divmod(value, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
