"""`pocketseek audit [verify]`: what was done on this device, and whether the log of it is whole."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.console import print_json, print_table, print_text
from pocketseek.cli.guard import trust_messages as messages
from pocketseek.cli.messages import Words
from pocketseek.errors import IntegrityError, UsageError
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.package.trust.audit import AuditLog
    from pocketseek.package.trust.audit_chain import Event

app = typer.Typer(help="The audit log: show it, verify it.")

Last = Annotated[int, typer.Option("--last", min=1, help="How many of the latest events.")]
Head = Annotated[
    str | None, typer.Option("--head", metavar="HASH", help="A head that you noted: it must be there still.")
]


@app.callback(invoke_without_command=True)
def show(context: typer.Context, last: Last = 50, json: options.Json = False) -> None:
    """Show the latest events: models opened, installed, removed, signed; keys, tokens, refusals."""
    if context.invoked_subcommand is not None:
        return
    words = Words(read_settings().language)
    events = list(_log().events())[-last:]
    if json:
        print_json({"events": [_facts(event) for event in events]})
    elif not events:
        print_text(words(messages.AUDIT_EMPTY))
    else:
        columns = (messages.COLUMN_WHEN, messages.COLUMN_EVENT, messages.COLUMN_ABOUT)
        print_table([words(column) for column in columns], [_row(event) for event in events], essential=(0, 1))


@app.command("verify")
def verify(head: Head = None, json: options.Json = False) -> None:
    """Check the chain of the log. Exit code 6: lines were changed, removed, put in, moved or cut off."""
    from pocketseek.package.paths import SHA256_PATTERN

    words = Words(read_settings().language)
    if head is not None and not SHA256_PATTERN.fullmatch(head):
        raise UsageError(f"{head[:80]!r} is no head; it is the 64 digits that `audit verify` showed")
    report = _log().verify(head)
    if json:
        values = {"lines": report.num_lines, "first": report.first, "head": report.head}
        print_json({"ok": not report.problems, **values, "problems": list(report.problems)})
    elif not report.problems:
        print_text(words(messages.AUDIT_GOOD, lines=report.num_lines, first=report.first, head=report.head))
        print_text(words(messages.AUDIT_HINT))
    else:
        print_text(words(messages.AUDIT_BAD))
        for found in report.found:
            print_text(f"  {words(messages.AUDIT_PROBLEMS[found.kind], **found.values)}")
    if report.problems:
        raise typer.Exit(IntegrityError.exit_code)


def _log() -> AuditLog:
    from pocketseek.package.trust.audit import AuditLog

    return AuditLog(read_settings().audit_path)


def _row(event: Event) -> tuple[str, ...]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time_s))
    about = "  ".join(f"{name}={value}" for name, value in event.fields.items() if value is not None)
    return when, event.name, about


def _facts(event: Event) -> dict[str, object]:
    return {"n": event.number, "time": event.time_s, "event": event.name, **event.fields}
