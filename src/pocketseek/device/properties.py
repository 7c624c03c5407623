"""Android's system properties, all at once: through Android's own getprop, else from the build.prop files.

Below another root nothing is run, since it would tell this machine's properties, and could be anything: there what
getprop said is read from getprop.txt, if somebody saved it. A property that two files give is the first one's, in the
order of _FILES. Elsewhere than on Android there are none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pocketseek.device.known import Known
from pocketseek.device.programs import run_program
from pocketseek.device.reading import is_here, read_text

_GETPROP = "system/bin/getprop"
_SAVED = "getprop.txt"
_FILES = (
    *("system/build.prop", "vendor/build.prop", "product/etc/build.prop", "product/build.prop"),
    *("odm/etc/build.prop", "system_ext/etc/build.prop", "vendor/default.prop", "default.prop"),
)
_LINE = re.compile(r"\[([^\]\n]{1,128})\]: \[(.*)\]")

Run = Callable[[Sequence[str]], str | None]


class Properties:
    """What was found; `known` gives a property with its source."""

    def __init__(self, found: Mapping[str, Known[str]]) -> None:
        self._found = found

    def get(self, name: str) -> str | None:
        known = self._found.get(name)
        return known.value if known else None

    def known(self, *names: str) -> Known[str] | None:
        """The first of the names that is set."""
        return next((self._found[name] for name in names if name in self._found), None)

    def __bool__(self) -> bool:
        return bool(self._found)


def read_properties(root: Path, run: Run = run_program) -> Properties:
    listed = (_run_getprop(root, run) if is_here(root) else read_text(root / _SAVED)) or ""
    found = {
        match[1]: Known(match[2], f"getprop {match[1]}")
        for line in listed.splitlines()
        if (match := _LINE.fullmatch(line.strip())) and match[2].strip()
    }
    return Properties(found or _read_files(root))


def _run_getprop(root: Path, run: Run) -> str | None:
    program = root / _GETPROP
    return run([str(program)]) if os.access(program, os.X_OK) else None


def _read_files(root: Path) -> dict[str, Known[str]]:
    found: dict[str, Known[str]] = {}
    for name in _FILES:
        for line in (read_text(root / name) or "").splitlines():
            key, sign, value = (part.strip() for part in line.partition("="))
            if sign and value and not key.startswith("#"):
                found.setdefault(key, Known(value, f"/{name}: {key}"))
    return found
