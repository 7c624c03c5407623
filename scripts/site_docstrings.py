"""For mkdocstrings: in a docstring, names of arguments or fields with a colon begin an item of a list, and what is
raised is a paragraph of its own."""

from __future__ import annotations

import re
from typing import Any

import griffe

ITEM = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*)(?:\([\w, ]*\))?: \S")


class Listed(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            names = {one.name.lstrip("*") for one in obj.parameters} if obj.is_function else set(obj.members)
            obj.docstring.value = listed(obj.docstring.value, names)


def listed(text: str, names: set[str]) -> str:
    def on_its_own_line(found: re.Match[str]) -> str:
        return "\n" + found[1] if set(found[2].split(", ")) <= names else found[0]

    text = re.sub(rf"(?<=[.)]) ({ITEM.pattern})", on_its_own_line, text)
    lines: list[str] = []
    is_list = False
    for line in text.splitlines():
        found = ITEM.match(line)
        is_item = found is not None and set(found[1].split(", ")) <= names
        if line.startswith("Raises ") or (is_item and not is_list):
            lines.append("")
        is_list = is_item or (is_list and line != "" and not line.startswith("Raises "))
        lines.append(f"- {line}" if is_item else line)
    return "\n".join(lines)
