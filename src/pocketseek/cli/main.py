"""The `pocketseek` program: which commands there are, and how errors end.

This is the only place that catches PocketseekError: one line on standard error, `pocketseek: error: what; remedy`, and
the class's exit code. Ctrl-C ends with 130; if the reader of the output went away (`| head`), the end is quiet and 141.
Command modules import what is heavy inside their functions, so that `pocketseek --help` stays fast.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from pocketseek import __version__
from pocketseek.cli import (
    bench_cmd,
    chat_cmd,
    convert_cmd,
    device_cmd,
    doctor_cmd,
    eval_cmd,
    generate_cmd,
    inspect_cmd,
    models_cmd,
    remove_cmd,
    start_cmd,
    verify_cmd,
)
from pocketseek.errors import PocketseekError

PROGRAM = "pocketseek"
USAGE_EXIT_CODE = 2
INTERRUPTED_EXIT_CODE = 130
BROKEN_PIPE_EXIT_CODE = 141

app = typer.Typer(
    name=PROGRAM,
    help="DeepSeek-family language models on a phone or PC, offline.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("chat")(chat_cmd.chat)
app.command("generate")(generate_cmd.generate)
app.command("convert")(convert_cmd.convert)
app.command("models")(models_cmd.models)
app.command("inspect")(inspect_cmd.inspect)
app.command("verify")(verify_cmd.verify)
app.command("remove")(remove_cmd.remove)
app.command("eval")(eval_cmd.evaluate)
app.command("bench")(bench_cmd.bench)
app.command("device")(device_cmd.device)
app.command("doctor")(doctor_cmd.doctor)


@app.callback()
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        print(f"{PROGRAM} {__version__}")
    elif context.invoked_subcommand is None:
        start_cmd.start()
    else:
        return
    raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. arguments: by default those of the process."""
    _accept_any_text()
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = _run(words)
        sys.stdout.flush()
    except PocketseekError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        return _fail(f"{error.format_message().rstrip('.')}; see `{_helpful_command(words)}`", USAGE_EXIT_CODE)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED_EXIT_CODE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit has somewhere to go
        return BROKEN_PIPE_EXIT_CODE
    return code


def _run(arguments: list[str]) -> int:
    """Typer's own `main` would print errors its own way, so the two steps inside it are taken here."""
    command = get_command(app)
    try:
        with command.make_context(PROGRAM, arguments) as context:
            command.invoke(context)
    except typer.Exit as leave:
        return leave.exit_code
    return 0


def _helpful_command(words: list[str]) -> str:
    """Where the mistake is explained: the help of the command that was meant, or of the program."""
    known = {command.name for command in app.registered_commands}
    return " ".join([PROGRAM, *(word for word in words[:1] if word in known), "--help"])


def _fail(message: str, exit_code: int) -> int:
    one_line = " ".join(message.split())
    print(f"{PROGRAM}: error: {one_line}", file=sys.stderr)
    return exit_code


def _accept_any_text() -> None:
    """A path in another encoding, or a terminal without Unicode, must not turn an answer into a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
