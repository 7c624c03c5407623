"""A record as JSON, there and back. What is read was written by someone else and is checked like any foreign file.

The keys are the fields of the classes in `record.py`, under "schema" and "version". Nothing may be missing and nothing
may be there that we do not know: another version is refused before its fields are looked at.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pocketseek.apps.report.record import SCHEMA, VERSION, Record
from pocketseek.apps.report.record_bounds import bounds_of
from pocketseek.errors import FormatError, NotFoundError, UnsupportedError
from pocketseek.package.strict_json import JsonValue, check_free, load_object

_MAX_BYTES = 64_000_000  # a day of samples is 7 MB
_MAX_TEXT = 1000
_REMEDY = "use the .json file that `pocketseek bench --report` wrote"


def record_json(record: Record) -> bytes:
    document = {"schema": SCHEMA, "version": VERSION, **dataclasses.asdict(record)}
    return (json.dumps(document, allow_nan=False) + "\n").encode("ascii")


def read_record(path: Path) -> Record:
    """Raises NotFoundError, FormatError, UnsupportedError (a report of another version)."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NotFoundError(f"{str(path)!r:.200}: {error.strerror}; {_REMEDY}") from error
    return parse_record(data, str(path))


def parse_record(data: bytes, where: str) -> Record:
    try:
        document = load_object(data, where, max_bytes=_MAX_BYTES)
    except FormatError as error:
        raise FormatError(f"{where}: not a bench report; {_REMEDY}") from error
    if document.get("schema") != SCHEMA:
        raise FormatError(f"{where}: not a bench report; {_REMEDY}")
    version = document.get("version")
    if version != VERSION or isinstance(version, bool):
        raise UnsupportedError(
            f"{where}: a report of version {str(version)[:20]}, this program compares version {VERSION}; "
            "measure again with the same pocketseek"
        )
    check_free(document, where)
    fields = {key: value for key, value in document.items() if key not in ("schema", "version")}
    record = _object(Record, fields, where)
    assert isinstance(record, Record)  # as asked
    _check_columns(record, where)
    return record


def _object(kind: type[Any], value: JsonValue, where: str) -> Any:
    hints = get_type_hints(kind)
    if not isinstance(value, dict) or value.keys() != hints.keys():
        keys = value.keys() if isinstance(value, dict) else set[str]()
        raise _wrong(where, f"other fields than a report has ({', '.join(sorted(keys ^ hints.keys()))[:80]})")
    return kind(**{name: _value(hint, value[name], f"{where}: {name}") for name, hint in hints.items()})


def _value(hint: Any, value: JsonValue, where: str) -> Any:
    """The value as the annotation wants it. Annotations in record.py are the few kinds below."""
    if get_origin(hint) in (types.UnionType, Union):  # X | None
        return None if value is None else _value(get_args(hint)[0], value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _object(hint, value, where)
    if get_origin(hint) is tuple:
        return _items(get_args(hint)[0], value, where)
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
    elif hint in (int, float):
        if isinstance(value, int | float) and not isinstance(value, bool) and (hint is float or type(value) is int):
            return hint(_checked(value, where))
    elif hint is str:
        if isinstance(value, str) and len(value) <= _MAX_TEXT:
            return value
    elif type(value) is hint:  # bool
        return value
    raise _wrong(where, "a value of another kind than a report has")


def _checked(number: float, where: str) -> float:
    low, high = bounds_of(where.rpartition(": ")[2])
    if not low <= number <= high:
        raise _wrong(where, f"{number:.4g} is nothing that was measured ({low:g} to {high:g} can be)")
    return number


def _items(hint: Any, value: JsonValue, where: str) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _wrong(where, "no list")
    return tuple(_value(hint, item, where) for item in value)


def _check_columns(record: Record, where: str) -> None:
    if record.sustained is None:
        return
    samples = record.sustained.samples
    columns = [getattr(samples, field.name) for field in dataclasses.fields(samples)]
    if len({len(column) for column in columns}) != 1:
        raise _wrong(where, "columns of samples that are not equally long")
    times = samples.time_s
    if not times:
        raise _wrong(where, "a sustained load without samples")
    if any(not first < second for first, second in zip((0.0, *times), times, strict=False)):
        raise _wrong(where, "samples that are not in order of time")


def _wrong(where: str, problem: str) -> FormatError:
    return FormatError(f"{where}: {problem}; it is damaged or was changed: {_REMEDY}")
