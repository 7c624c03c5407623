"""The filters a chat template may use, and what has to be checked before the dangerous ones run.

An allow-list: Jinja2's filters without those for HTML and Python source, and `tojson` as Hugging Face defines it (not
escaped for HTML). DEEP filters write a value out or compare its parts, CONSTANT ones take the same time whatever its
size, all others look at it once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from jinja2.filters import FILTERS

from pocketseek.text.template_meter import LimitError, Meter

MAX_INDENT = 64
MAX_GROUPS = 10_000
MAX_DIGITS = 64

_CONSTANT = "attr count d default first last length"
_SHALLOW = (
    "abs batch capitalize float int items list lower map reject rejectattr replace reverse round safe select "
    "selectattr slice title trim truncate upper wordcount"
)
_DEEP = "center dictsort e escape format groupby indent join max min sort string sum tojson unique"

DEEP_FILTERS = frozenset(_DEEP.split())
CONSTANT_FILTERS = frozenset(_CONSTANT.split())

Values = list[Any]
Named = Mapping[str, Any]


def allowed_filters() -> dict[str, Callable[..., Any]]:
    """By name, as Jinja2 defines them, not yet charged."""
    filters = {name: FILTERS[name] for name in f"{_CONSTANT} {_SHALLOW} {_DEEP}".split()}
    return filters | {"tojson": to_json}


def to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def check_filter(name: str, meter: Meter, values: Values, named: Named) -> None:
    """Before a filter runs on `values` (the filtered one first). Raises LimitError; may replace values[0] by a list."""
    check = _CHECKS.get(name)
    if check is not None and values:
        check(meter, values, named)


def _argument(values: Values, named: Named, place: int, name: str, default: Any) -> Any:
    return values[place] if len(values) > place else named.get(name, default)


def _check_center(meter: Meter, values: Values, named: Named) -> None:
    meter.padding(_argument(values, named, 1, "width", 80))


def _check_format(meter: Meter, values: Values, named: Named) -> None:
    meter.formatted(str(values[0]), [*values[1:], *named.values()])


def _check_indent(meter: Meter, values: Values, named: Named) -> None:
    width = _argument(values, named, 1, "width", 4)
    if isinstance(width, int) and width > MAX_INDENT:
        raise LimitError(f"it indents by more than {MAX_INDENT}")
    size = len(width) if isinstance(width, str) else MAX_INDENT
    meter.spend(size * (str(values[0]).count("\n") + 1))


def _check_join(meter: Meter, values: Values, named: Named) -> None:
    values[0] = list(meter.each(values[0]))
    meter.joined(str(_argument(values, named, 1, "d", "")), values[0])


def _check_replace(meter: Meter, values: Values, named: Named) -> None:
    old, new = _argument(values, named, 1, "old", ""), _argument(values, named, 2, "new", "")
    meter.replacement(str(values[0]), old, new)


def _check_groups(meter: Meter, values: Values, named: Named) -> None:
    number = _argument(values, named, 1, "linecount", named.get("slices", 0))
    if not isinstance(number, int) or number > MAX_GROUPS:
        raise LimitError(f"it cuts a list into groups of or by more than {MAX_GROUPS}")
    meter.spend(number)


def _check_round(meter: Meter, values: Values, named: Named) -> None:
    digits = _argument(values, named, 1, "precision", 0)
    if not isinstance(digits, int) or abs(digits) > MAX_DIGITS:
        raise LimitError(f"it rounds to more than {MAX_DIGITS} digits")


def _check_sum(meter: Meter, values: Values, named: Named) -> None:
    if not isinstance(_argument(values, named, 2, "start", 0), int | float):
        raise LimitError("it adds up something other than numbers")


def _check_to_json(meter: Meter, values: Values, named: Named) -> None:
    indent = _argument(values, named, 2, "indent", None)
    if indent is None:
        return
    if not isinstance(indent, int) or indent > MAX_INDENT:
        raise LimitError(f"it indents by more than {MAX_INDENT}")
    for _ in range(max(indent, 0)):  # each level of nesting adds this much white space to every line
        meter.deep(values[0])


_CHECKS: Mapping[str, Callable[[Meter, Values, Named], None]] = {
    "batch": _check_groups,
    "center": _check_center,
    "format": _check_format,
    "indent": _check_indent,
    "join": _check_join,
    "replace": _check_replace,
    "round": _check_round,
    "slice": _check_groups,
    "sum": _check_sum,
    "tojson": _check_to_json,
}
