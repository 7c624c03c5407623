"""The `pocketseek` program: which commands there are, and how errors end.

This is the only place that catches PocketseekError: one line on standard error, `pocketseek: error: what; remedy`, and
the class's exit code. Output that cannot be written is a StorageError. Ctrl-C ends with 130, SIGTERM with 143, SIGHUP
with 129; if the reader of the output went away (`| head`), the end is quiet and 141.
Command modules import what is heavy inside their functions, so that `pocketseek --help` stays fast.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated

import typer
from typer.core import TyperGroup

from pocketseek import __version__
from pocketseek.apps.data_directory import mend_modes
from pocketseek.cli import completion_cmd
from pocketseek.cli.adapt import adapt_cmd
from pocketseek.cli.bench import bench_cmd, eval_cmd
from pocketseek.cli.chat import chat_cmd, generate_cmd
from pocketseek.cli.command_tree import Commands, dress, program
from pocketseek.cli.completion_cmd import complete_line
from pocketseek.cli.console import note
from pocketseek.cli.device import device_cmd, doctor_cmd
from pocketseek.cli.doc import doc_cmd
from pocketseek.cli.edges import as_storage_error, ending_signals, prepare_streams, settle_streams
from pocketseek.cli.guard import audit_cmd, keygen_cmd, passwd_cmd, seal_cmd, sign_cmd, trust_cmd, unseal_cmd
from pocketseek.cli.guard.key_options import HOW_MODELS_OPEN
from pocketseek.cli.guard.state_key import HOW_DATA_OPENS
from pocketseek.cli.habits import translate
from pocketseek.cli.models import (
    convert_cmd,
    diff_cmd,
    export_cmd,
    inspect_cmd,
    models_cmd,
    pull_cmd,
    remove_cmd,
    rollback_cmd,
    update_cmd,
    verify_cmd,
)
from pocketseek.cli.serve import serve_cmd, token_cmd
from pocketseek.cli.start import start_cmd
from pocketseek.cli.voice import voice_cmd
from pocketseek.errors import PocketseekError, StorageError
from pocketseek.settings import is_completing, read_settings

PROGRAM = "pocketseek"
USAGE_EXIT_CODE = 2
INTERRUPTED_EXIT_CODE = 130
BROKEN_PIPE_EXIT_CODE = 141

app = typer.Typer(
    name=PROGRAM,
    cls=Commands,
    help="DeepSeek-family language models on a phone or PC, offline.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("chat", epilog=HOW_DATA_OPENS)(chat_cmd.chat)
app.command("generate", epilog=HOW_MODELS_OPEN)(generate_cmd.generate)
app.command("pull", epilog=HOW_MODELS_OPEN)(pull_cmd.pull)
app.command("convert")(convert_cmd.convert)
app.command("export")(export_cmd.export)
app.command("models")(models_cmd.models)
app.command("inspect")(inspect_cmd.inspect)
app.command("verify", epilog=HOW_MODELS_OPEN)(verify_cmd.verify)
app.command("remove")(remove_cmd.remove)
app.command("seal")(seal_cmd.seal)
app.command("unseal")(unseal_cmd.unseal)
app.command("passwd")(passwd_cmd.passwd)
app.command("diff", epilog=HOW_MODELS_OPEN)(diff_cmd.diff)
app.command("update", epilog=HOW_MODELS_OPEN)(update_cmd.update)
app.command("rollback")(rollback_cmd.rollback)
app.command("eval", epilog=HOW_MODELS_OPEN)(eval_cmd.evaluate)
app.command("bench", epilog=HOW_MODELS_OPEN)(bench_cmd.bench)
app.command("serve", epilog=HOW_DATA_OPENS)(serve_cmd.serve)
app.add_typer(token_cmd.app, name="token")
app.command("keygen")(keygen_cmd.keygen)
app.command("sign")(sign_cmd.sign)
app.add_typer(trust_cmd.app, name="trust")
app.add_typer(audit_cmd.app, name="audit")
app.add_typer(adapt_cmd.app, name="adapt")
app.add_typer(doc_cmd.app, name="doc")
app.add_typer(voice_cmd.app, name="voice")
app.command("device")(device_cmd.device)
app.command("doctor")(doctor_cmd.doctor)
app.command("completion")(completion_cmd.completion)
dress(app)


@app.callback()
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit
    _keep_private(context)
    if context.invoked_subcommand is None:
        if start_cmd.start():
            print(context.get_help(), end="")
    else:
        return
    raise typer.Exit


def _keep_private(context: typer.Context) -> None:
    """Nobody else reads the data directory, neither what was there before nor what a command makes."""
    home = read_settings([]).home
    mend_modes(home)
    context.call_on_close(lambda: mend_modes(home))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. arguments: by default those of the process."""
    has_output = prepare_streams()
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if not has_output:
            return _fail("standard output is closed; send it to a file or a terminal", StorageError.exit_code)
        return _ended(words)
    finally:
        settle_streams()


def _ended(words: list[str]) -> int:
    try:
        with ending_signals():
            words = translate(words, commands_of(app))
            code = _run(words)
            sys.stdout.flush()
    except PocketseekError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        problem = error.format_message().rstrip(".").replace("Value error, ", "")  # what a library puts before it
        if not problem:  # a group without a command, whose help has just been printed
            return USAGE_EXIT_CODE
        see = "; see" if not problem.endswith("?") else " See"
        return _fail(f"{problem}{see} `{_helpful_command(words)}`", USAGE_EXIT_CODE)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED_EXIT_CODE
    except BrokenPipeError:
        return BROKEN_PIPE_EXIT_CODE
    except OSError as error:
        return _fail(str(as_storage_error(error)), StorageError.exit_code)
    return code


def commands_of(app: typer.Typer) -> Mapping[str, object]:
    command = program(app)
    return command.commands if isinstance(command, TyperGroup) else {}


def _run(arguments: list[str]) -> int:
    """Typer's own `main` would print errors its own way, so the two steps inside it are taken here."""
    if is_completing():
        complete_line(app)
    command = program(app)
    try:
        with command.make_context(PROGRAM, arguments) as context:
            command.invoke(context)
    except typer.Exit as leave:
        return leave.exit_code
    return 0


def _helpful_command(words: list[str]) -> str:
    """Where the mistake is explained: the help of the command that was meant, or of the program."""
    meant: list[str] = []
    command: object = program(app)
    for word in words:
        command = command.commands.get(word) if isinstance(command, TyperGroup) else None
        if command is None:
            break
        meant.append(word)
    return " ".join([PROGRAM, *meant, "--help"])


def _fail(message: str, exit_code: int) -> int:
    one_line = " ".join(message.split())
    with suppress(OSError):  # nowhere left to say it
        note(f"{PROGRAM}: error: {one_line}")
    return exit_code
