"""How the findings of `pocketseek doctor` look: beside each other, or below each other on a phone."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pocketseek.cli.console import print_text, safe_text, wrapped
from pocketseek.cli.device import doctor_messages as says
from pocketseek.cli.device.doctor_check import Check
from pocketseek.cli.messages import Words

_STYLES = {"ok": "green", "! ": "bold yellow", "!!": "bold red"}
_NARROW = 60
_MARK_COLUMNS = 3


def show_checks(checks: Sequence[Check], words: Words) -> None:
    if not sys.stdout.isatty():
        for check in checks:
            print(f"{check.name}\t{check.mark}\t{check.detail}")
    else:
        _show_grid(checks)
    problems = sum(not check.ok for check in checks)
    warnings = sum(check.ok and check.warning for check in checks)
    if problems or warnings:
        print_text(words(says.FOUND, problems=problems, warnings=warnings))
    if not problems:
        print_text(words(says.OK))


def _show_grid(checks: Sequence[Check]) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    is_narrow = console.width < _NARROW
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    if not is_narrow:
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    names = 0 if is_narrow else max(cell_len(check.name) for check in checks) + 1
    for check in checks:
        mark, name = Text(check.mark, style=_STYLES[check.mark]), Text(safe_text(check.name), style="bold")
        detail = Text(wrapped(safe_text(check.detail), console.width - names - _MARK_COLUMNS))
        table.add_row(mark, name + Text("\n") + detail) if is_narrow else table.add_row(mark, name, detail)
    console.print(table)
    print_text("")
