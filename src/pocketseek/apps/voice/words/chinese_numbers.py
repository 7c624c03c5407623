"""Numbers in Chinese characters, as they are said in Mandarin: 10,500 is 一万零五百, 2,000 is 两千.

Numbers come as their digits, not as floats: nothing is rounded. What has more digits than names exist for, or begins
with a needless zero as codes do, is read digit by digit.
"""

from __future__ import annotations

_DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千")
_SCALES = ("", "万", "亿", "万亿")
MAX_DIGITS = 4 * len(_SCALES)


def digits(text: str) -> str:
    """ "2026": 二零二六. What is no digit is left out."""
    return "".join(_DIGITS[int(character)] for character in text if character.isdecimal())


def telephone(text: str) -> str:
    """As `digits`, with 幺 for one, which cannot be mistaken for 七."""
    return digits(text).replace("一", "幺")


def cardinal(text: str) -> str:
    """Of digits, read as a number."""
    if len(text) > MAX_DIGITS or (len(text) > 1 and text.startswith("0")):
        return digits(text)
    if int(text) == 0:
        return "零"
    words = ""
    groups = _groups(int(text))
    for scale in reversed(range(len(groups))):
        group = groups[scale]
        if not group:
            continue
        is_gap = bool(words) and (group < 1000 or groups[scale + 1] == 0)
        name = _SCALES[scale]
        if scale == 3 and groups[2]:  # 一万两千亿: the 亿 is said once
            name = "万"
        words += ("零" if is_gap else "") + _below_ten_thousand(group) + name
    return _as_said(words)


def decimal(text: str) -> str:
    """Of "12.50" or "12": 十二点五零. Of "3.11.2": 三点一一点二, as versions are read."""
    first, *rest = text.split(".")
    return "点".join((cardinal(first), *(digits(part) for part in rest)))


def quantity(text: str) -> str:
    """A number before a measure word: 2 is 两."""
    return "两" if text == "2" else decimal(text)


def _groups(value: int) -> list[int]:
    """By four digits, the lowest first."""
    groups: list[int] = []
    while value:
        value, group = divmod(value, 10_000)
        groups.append(group)
    return groups


def _below_ten_thousand(value: int) -> str:
    words = ""
    is_gap = False
    for place in reversed(range(4)):
        digit = value // 10**place % 10
        if digit:
            words += ("零" if is_gap else "") + _DIGITS[digit] + _PLACES[place]
        is_gap = bool(words) and not digit
        if is_gap and value % 10**place == 0:
            break
    return words


def _as_said(words: str) -> str:
    """十 for 一十 at the beginning, 两 for 二 before 千, 万 and 亿."""
    if words.startswith("一十"):
        words = words[1:]
    if words[0] == "二" and words[1:2] in ("千", "万", "亿"):
        words = "两" + words[1:]
    for scale in "万亿":
        words = words.replace(f"{scale}二千", f"{scale}两千")
    return words
