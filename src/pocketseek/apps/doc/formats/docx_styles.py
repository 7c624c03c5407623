"""What the styles and numberings of a DOCX say about a paragraph: heading level, list depth, the printed number.

style id -> outline level, numbering (looked up along basedOn)
(numId, ilvl) -> format and text of the number, "%1.%2"
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pocketseek.apps.doc.formats.safe_xml import Element, names

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MAX_LEVEL = 9
_MAX_BASES = 20
_ROMAN = (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x")
_ROMAN_BELOW_TEN = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
_CHINESE = "零一二三四五六七八九"
_CHINESE_FORMATS = names("chineseCounting chineseCountingThousand ideographDigital taiwaneseCountingThousand")


@dataclass(frozen=True)
class Numbering:
    num_id: str
    level: int


@dataclass(frozen=True)
class ParagraphStyle:
    """outline: 0 for the highest heading, None for text. is_caption, is_code: by the style's name."""

    outline: int | None = None
    numbering: Numbering | None = None
    is_caption: bool = False
    is_code: bool = False


@dataclass(frozen=True)
class _LevelFormat:
    format: str
    text: str
    start: int


class Styles:
    def __init__(self, root: Element | None) -> None:
        elements = root.iter(f"{W}style") if root is not None else ()
        self._elements = {element.get(f"{W}styleId") or "": element for element in elements}
        self._known: dict[str, ParagraphStyle] = {}

    def of(self, style_id: str | None) -> ParagraphStyle:
        if style_id is None:
            return ParagraphStyle()
        if style_id not in self._known:
            self._known[style_id] = self._looked_up(style_id)
        return self._known[style_id]

    def _looked_up(self, style_id: str) -> ParagraphStyle:
        outline, numbering, names = None, None, list[str]()
        next_id: str | None = style_id
        for _ in range(_MAX_BASES):
            element = self._elements.get(next_id or "")
            if element is None:
                break
            names.append(_value(element, "name").lower())
            properties = element.find(f"{W}pPr")
            outline = outline_level(properties) if outline is None else outline
            numbering = numbering_of(properties) if numbering is None else numbering
            next_id = _value(element, "basedOn") or None
        if outline is None:
            outline = _outline_by_name(names or [style_id.lower()])
        is_code = any(part in name for name in names[:2] for part in ("code", "preformatted", "verbatim", "macro text"))
        return ParagraphStyle(outline, numbering, any("caption" in name for name in names), is_code)


def _outline_by_name(names: list[str]) -> int | None:
    for name in names:
        if name == "title":
            return 0
        head, _, level = name.replace("heading", "heading ").rpartition(" ")
        if head.strip() == "heading" and level.isdigit() and 1 <= int(level) <= MAX_LEVEL:
            return int(level) - 1
    return None


def _value(element: Element | None, name: str) -> str:
    found = element.find(f"{W}{name}") if element is not None else None
    return (found.get(f"{W}val") or "") if found is not None else ""


def outline_level(properties: Element | None) -> int | None:
    value = _value(properties, "outlineLvl")
    return int(value) if value.isdigit() and int(value) < MAX_LEVEL else None


def numbering_of(properties: Element | None) -> Numbering | None:
    """numId 0 takes the numbering of the style away; it counts as one that prints nothing."""
    found = properties.find(f"{W}numPr") if properties is not None else None
    if found is None:
        return None
    level = _value(found, "ilvl")
    return Numbering(_value(found, "numId"), min(int(level), MAX_LEVEL - 1) if level.isdigit() else 0)


@dataclass
class Numbers:
    """Counts the numbered paragraphs as they come."""

    root: Element | None
    _formats: dict[str, dict[int, _LevelFormat]] = field(default_factory=dict)
    _counts: dict[str, list[int]] = field(default_factory=dict)
    _abstract_of: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.root is None:
            return
        for abstract in self.root.iter(f"{W}abstractNum"):
            levels = {int(level.get(f"{W}ilvl") or 0): _level_format(level) for level in abstract.iter(f"{W}lvl")}
            self._formats[abstract.get(f"{W}abstractNumId") or ""] = levels
        for number in self.root.iter(f"{W}num"):
            self._abstract_of[number.get(f"{W}numId") or ""] = _value(number, "abstractNumId")

    def is_list(self, numbering: Numbering) -> bool:
        return numbering.num_id in self._abstract_of

    def label(self, numbering: Numbering) -> str:
        """What is printed before the paragraph; "" for bullets."""
        formats = self._formats.get(self._abstract_of.get(numbering.num_id, ""), {})
        counts = self._counts.setdefault(numbering.num_id, [0] * MAX_LEVEL)
        own = formats.get(numbering.level, _LevelFormat("bullet", "", 1))
        counts[numbering.level] = counts[numbering.level] + 1 if counts[numbering.level] else own.start
        counts[numbering.level + 1 :] = [0] * (MAX_LEVEL - numbering.level - 1)
        if own.format in ("bullet", "none"):
            return ""
        text = own.text
        for level in range(numbering.level + 1):
            shape = formats.get(level, own)
            text = text.replace(f"%{level + 1}", _number_text(counts[level] or shape.start, shape.format))
        return text.strip()


def _level_format(level: Element) -> _LevelFormat:
    start = _value(level, "start")
    return _LevelFormat(
        _value(level, "numFmt") or "decimal", _value(level, "lvlText"), int(start) if start.isdigit() else 1
    )


def _number_text(number: int, form: str) -> str:
    if form in ("lowerLetter", "upperLetter"):
        letter = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 % 5 + 1)
        return letter.upper() if form == "upperLetter" else letter
    if form in ("lowerRoman", "upperRoman") and 0 < number < 4000:
        roman = _roman(number)
        return roman.upper() if form == "upperRoman" else roman
    if form in _CHINESE_FORMATS and 0 < number < 100:
        return _chinese(number)
    return str(number)


def _roman(number: int) -> str:
    text = ""
    for value, letters in _ROMAN:
        text += letters * (number // value)
        number %= value
    return text + _ROMAN_BELOW_TEN[number]


def _chinese(number: int) -> str:
    tens, ones = divmod(number, 10)
    head = ("" if tens == 1 else _CHINESE[tens]) + "十" if tens else ""
    return head + (_CHINESE[ones] if ones or not tens else "")
