"""JSON of unknown origin, read with bounds: depth and number of values are checked before the parser sees the text.

Without the bounds a few megabytes of brackets overflow the parser's stack or grow twentyfold in memory. Also refused,
since later code would trip over them: names given twice in one object, NaN and infinity, text that is not UTF-8, lone
surrogates.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np

from pocketseek.convert.sources.byte_file import read_small
from pocketseek.errors import FormatError

MAX_DEPTH = 32
MAX_VALUES = 4_000_000

# A string, or what is left of one at the end of the text; possessive, so that hostile text cannot make it backtrack.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_NOT_STRUCTURE = bytes(set(range(256)) - set(b"[]{},"))
_NOT_BRACKETS = b","
_MAX_REASON_CHARS = 120


def read_json_object(path: Path, limit_bytes: int, max_depth: int = MAX_DEPTH) -> dict[str, object]:
    """The JSON object in a file. Raises NotFoundError, StorageError or FormatError."""
    try:
        return parse_json_object(read_small(path, limit_bytes), max_depth)
    except ValueError as error:
        raise FormatError(f"{path} is not what it should be: {error}; download it again") from error


def parse_json_object(data: bytes, max_depth: int = MAX_DEPTH) -> dict[str, object]:
    """Parse one JSON object. Raises ValueError with a short reason, nothing else."""
    _check_structure(data, max_depth)
    try:
        text = data.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=_unique_names, parse_constant=_refuse_constant, parse_float=_finite_float
        )
        if "\\u" in text:  # only escapes can smuggle in a lone surrogate, which no later step could write out again
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except ValueError as error:  # JSON errors, Unicode errors and numbers of too many digits are all ValueErrors
        raise ValueError(_one_line(error)) from error
    if not isinstance(value, dict):
        raise ValueError("the JSON text is not an object")
    return value


def _check_structure(data: bytes, max_depth: int) -> None:
    structure = _STRING.sub(b"", data).translate(None, _NOT_STRUCTURE)
    if len(structure) > MAX_VALUES:
        raise ValueError(f"the JSON text has more than {MAX_VALUES} brackets and commas")
    brackets = np.frombuffer(structure.translate(None, _NOT_BRACKETS), np.uint8)
    is_opening = (brackets == ord("[")) | (brackets == ord("{"))
    depth = np.cumsum(np.where(is_opening, 1, -1))
    if depth.size and depth.max() > max_depth:
        raise ValueError(f"the JSON text is nested deeper than {max_depth} levels")


def _unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a name is given twice in one JSON object")
    return unique


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number in the JSON text is out of range")
    return value


def _one_line(error: ValueError) -> str:
    if isinstance(error, UnicodeError):
        return "the JSON text is not valid Unicode"
    return " ".join(str(error).split())[:_MAX_REASON_CHARS]
