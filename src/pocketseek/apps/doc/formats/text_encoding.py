"""Bytes of a text file -> characters: byte order marks, UTF-8, UTF-16 and the older Chinese and Western encodings.

Which of the older ones it is decide the characters that come out: common ones, or strange ones.
"""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_EAST_ASIAN = ("gb18030", "big5", "euc_jp", "shift_jis", "euc_kr")
_COMMON = frozenset(
    "的一是不了在人有我他这這个個们們中来來上大为為和国國地到以说說时時要就出会會可也你对對生能而子那得于於着著下自之年过過发發后後作里用道行所然家种種事成方多经經么麼去法学學如都同现現当當没沒动動面起看定天分还還进進好小部其些主样樣理心她本前开開但因只从從想实實日军者意无無力它与與长長把机機十民第公此已工使情明性知全三又关關点點正业業外将將两兩高间間由问問很最重并物手应應战戰向头頭文体體政美相见見被利什二等产產或新己制身果加西斯月话話合回特代内信表化老给給世位次度门門任常先海通教儿兒原东東声聲提立及比员員解水名真论論处處走义義各入几口认認条條平系气氣题題活尔爾更别別打女变變四神总總何电電数數安少报報才结結反受目太量再感建务務做接必场場件计計管期市直德资資命山金指克许許统統区區保至队隊形社便空决決治展马馬科司五基眼书書非则則听聽白却卻界达達光放强強即像难難且权權思王象完设設式色路记記南品住告类類求据據程北边邊死张張该該交规規万萬取拉格望觉覺术術领領共确確传傳师師观觀清今切院让讓识識候带帶导導争爭运運，。、：；！？（）《》“”「」のはをにがでとたしますれ이가을는의에다"
)
_CONTROLS = frozenset(chr(code) for code in range(32)) - frozenset("\t\n\r\x0c\x1b\x08")
_MAX_CONTROLS = 0.01


def decode_text(data: bytes) -> str | None:
    """None: no text. A cut-off last character is forgiven."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    text = (_utf_16_without_mark(data) if b"\x00" in data else None) or _decoded(data, "utf-8") or _older(data)
    if text is None or sum(character in _CONTROLS for character in text) > _MAX_CONTROLS * len(text):
        return None
    return text


def decode_start(start: bytes) -> str | None:
    """The same for the first bytes of a file, which may end in the middle of a character."""
    return decode_text(start)


def _decoded(data: bytes, encoding: str) -> str | None:
    """Strict, but for what is missing at the very end."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        return decoder.decode(data, final=False)
    except UnicodeDecodeError:
        return None


def _utf_16_without_mark(data: bytes) -> str | None:
    """Western letters and spaces leave every second byte zero."""
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = data[first::2].count(0), data[1 - first :: 2].count(0)
        if zeros * 10 >= len(data) and others * 20 <= zeros:
            return _decoded(data, encoding)
    return None


def _older(data: bytes) -> str | None:
    if b"\x00" in data:
        return None
    readings = [text for encoding in _EAST_ASIAN if (text := _decoded(data, encoding)) is not None]
    best = max(readings, key=_share_common, default="")
    if _share_common(best) >= 0.2:
        return best
    return data.decode("cp1252", "replace")


def _share_common(text: str) -> float:
    """Of the characters outside ASCII, how many are among the commonest."""
    strange = [character for character in text if character > "\x7f"]
    return sum(character in _COMMON for character in strange) / len(strange) if strange else 0.0
