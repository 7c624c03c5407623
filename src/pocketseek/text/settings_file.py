"""TextSettings as the package file `text.json`: canonical JSON (sorted keys, UTF-8, a newline at the end).

Reading is strict: every field, no others, exact types. Whatever the bytes are, the result is a TextSettings or a
FormatError in one line.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields

from pocketseek.errors import FormatError
from pocketseek.types import TextSettings

MAX_BYTES = 64 * 1024
MAX_EOS_IDS = 64
MAX_TOKEN_CHARS = 4096
_MAX_ID = 2**31 - 1
_VERSION = 1
_TEXT_FIELDS = ("bos_token", "eos_token", "reasoning_start", "reasoning_end")


def render_text_settings(settings: TextSettings) -> bytes:
    """The bytes of text.json; `parse_text_settings` gives the same settings back."""
    values = asdict(settings) | {"version": _VERSION}
    return (json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n").encode("utf-8")


def parse_text_settings(data: bytes) -> TextSettings:
    """Read text.json. Raises FormatError."""
    values = _object(data)
    expected = {field.name for field in fields(TextSettings)} | {"version"}
    if values.keys() != expected:
        odd = min(values.keys() ^ expected)
        raise _wrong(f"the field {odd[:80]!r} is {'unknown' if odd in values else 'missing'}")
    if values["version"] != _VERSION or isinstance(values["version"], bool):
        raise _wrong("it was written by another version")
    texts = {name: _token(values[name], name) for name in _TEXT_FIELDS}
    if bool(texts["reasoning_start"]) != bool(texts["reasoning_end"]):
        raise _wrong("it has one of the two reasoning tags")
    bos_id, add_bos = values["bos_id"], values["add_bos"]
    if not isinstance(add_bos, bool):
        raise _wrong("add_bos is neither true nor false")
    return TextSettings(
        bos_id=None if bos_id is None else _id(bos_id, "bos_id"),
        eos_ids=_ids(values["eos_ids"]),
        add_bos=add_bos,
        bos_token=texts["bos_token"],
        eos_token=texts["eos_token"],
        reasoning_start=texts["reasoning_start"],
        reasoning_end=texts["reasoning_end"],
    )


def _object(data: bytes) -> dict[str, object]:
    if len(data) > MAX_BYTES:
        raise _wrong(f"it has more than {MAX_BYTES} bytes")
    try:
        values = json.loads(data.decode("utf-8"), object_pairs_hook=_unique_keys)
    except RecursionError as error:
        raise _wrong("it is nested too deeply") from error
    except ValueError as error:  # not UTF-8, not JSON, a key given twice, a number of thousands of digits
        raise _wrong("it is not valid JSON") from error
    if not isinstance(values, dict):
        raise _wrong("it is not an object")
    return values


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is given twice")
    return values


def _ids(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > MAX_EOS_IDS:
        raise _wrong(f"eos_ids is not a list of at most {MAX_EOS_IDS} ids")
    return tuple(_id(item, "eos_ids") for item in value)


def _id(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_ID:
        raise _wrong(f"{name} holds something that is not a token id")
    return value


def _token(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TOKEN_CHARS:
        raise _wrong(f"{name} is not text of at most {MAX_TOKEN_CHARS} characters")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise _wrong(f"{name} is not valid Unicode")
    return value


def _wrong(problem: str) -> FormatError:
    return FormatError(f"text.json is not valid: {problem}; convert or download the model again")
