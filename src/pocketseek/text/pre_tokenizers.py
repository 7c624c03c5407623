"""How text is cut into words before byte-level BPE merges them, by the name GGUF gives it (`tokenizer.ggml.pre`).

Each entry is the `pre_tokenizer` (and `normalizer`) object of a `tokenizer.json`. They follow the published
`tokenizer.json` of the models the names come from; where llama.cpp differs from those (it leaves out Qwen's NFC
normalisation), the model's own file wins, since the model was trained on what it does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pocketseek.errors import UnsupportedError

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_NEWLINE = r"[\r\n]"
_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
# DeepSeek's own list of letters with case, in hexadecimal: as characters, some of them do not survive editors.
_DEEPSEEK_LETTERS_HEX = (
    "b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f 386 388-38a 38c 38e-3a1 3a3-3f5 "
    "3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a "
    "1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe "
    "1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113 2115 2119-211d "
    "2124 2126 2128 212a-212d 212f-2134 2139 213c-213f 2145-2149 214e 2183 2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee "
    "2cf2 2cf3 a640-a66d a680-a69b a722-a76f a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a "
    "ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df 1e900-1e943 "
)
_DEEPSEEK_SIGNS = "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
# The original is \s+$, which tries every suffix of a run of spaces and so takes quadratic time; this matches the same.
_SPACES_AT_END = r"(?<!\s)\s+$"
_DEEPSEEK_V3_WORDS = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

JsonObject = dict[str, object]


@dataclass(frozen=True)
class PreTokenizer:
    """What a name in GGUF stands for.

    ignore_merges: a word that is a token is taken whole. add_bos: what absence of the flag means in GGUF.
    """

    steps: tuple[JsonObject, ...]
    normalizer: JsonObject | None = None
    ignore_merges: bool = False
    add_bos: bool = False

    @property
    def json(self) -> JsonObject:
        return {"type": "Sequence", "pretokenizers": list(self.steps)}


def _characters(hex_ranges: str) -> str:
    """The inside of a character class: "41-5a b5" becomes "A-Zµ"."""
    return re.sub("[0-9a-f]+", lambda code: chr(int(code[0], 16)), hex_ranges).replace(" ", "")


def _split(pattern: str) -> JsonObject:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def byte_level(*, use_regex: bool) -> JsonObject:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


_DIGITS: JsonObject = {"type": "Digits", "individual_digits": True}
_BYTES = byte_level(use_regex=False)
_GPT2_BYTES = byte_level(use_regex=True)

_QWEN = PreTokenizer((_split(_QWEN2), _BYTES), normalizer={"type": "NFC"})
_LLAMA = PreTokenizer((_split(_LLAMA3), _BYTES), ignore_merges=True, add_bos=True)

_BY_NAME: dict[str, PreTokenizer] = {
    "gpt-2": PreTokenizer((_GPT2_BYTES,)),
    "smollm": PreTokenizer((_DIGITS, _GPT2_BYTES)),
    "qwen2": _QWEN,
    "deepseek-r1-qwen": _QWEN,
    "llama-bpe": _LLAMA,
    "llama3": _LLAMA,
    "llama-v3": _LLAMA,
    "deepseek-llm": PreTokenizer(
        (
            _split(_NEWLINE),
            _split(rf"\s?[A-Za-z{_characters(_DEEPSEEK_LETTERS_HEX)}]+"),
            _split(_DEEPSEEK_SIGNS),
            _split(_SPACES_AT_END),
            _split(_CJK),
            _DIGITS,
            _BYTES,
        )
    ),
    "deepseek-coder": PreTokenizer(
        (_split(_NEWLINE), _split(r"\s?\p{L}+"), _split(r"\s?\p{P}+"), _split(_CJK), _DIGITS, _BYTES)
    ),
    "deepseek-v3": PreTokenizer(
        (
            _split(r"\p{N}{1,3}"),
            _split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
            _split(_DEEPSEEK_V3_WORDS),
            _BYTES,
        )
    ),
    # What llama.cpp does with files from before the name was recorded.
    "default": PreTokenizer(
        (
            _split(r"[\p{P}\$\+<=>\^~\|]+"),
            _split(_GPT2),
            _split(r"\p{N}+"),
            _split("[0-9][0-9][0-9]"),
            _BYTES,
        )
    ),
}


def pre_tokenizer(name: str) -> PreTokenizer:
    """The pre-tokenizer of this name. Raises UnsupportedError that names it."""
    try:
        return _BY_NAME[name]
    except KeyError:
        known = ", ".join(sorted(_BY_NAME))
        raise UnsupportedError(
            f"the GGUF's pre-tokenizer {name[:80]!r} is not supported; known are {known}: "
            "convert the model's Hugging Face checkpoint, which brings its own tokenizer.json"
        ) from None
