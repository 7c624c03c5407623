"""`pocketseek completion SHELL`: what makes the shell complete commands, options and names of models."""

from __future__ import annotations

from typing import Annotated, Literal, NoReturn

import typer

from pocketseek.cli.command_tree import program
from pocketseek.settings import COMPLETE_VARIABLE

_ZSH_USE = "compdef _pocketseek_completion pocketseek"
_ZSH_INIT = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }"  # a zsh without a set-up has none


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Whose lines to print.", show_default=False)],
) -> None:
    """Print what makes a shell complete commands, options and names of models; it belongs into its start-up file.
    For zsh: `pocketseek completion zsh >> ~/.zshrc`; for fish: into ~/.config/fish/completions/pocketseek.fish."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # not among its documented names

    script = get_completion_script(prog_name="pocketseek", complete_var=COMPLETE_VARIABLE, shell=shell)
    print(script.replace(_ZSH_USE, f"{_ZSH_INIT}\n{_ZSH_USE}") if shell == "zsh" else script)


def complete_line(app: typer.Typer) -> NoReturn:
    """Print what the line that the shell tells of in the environment could go on with. Ends the program."""
    from typer.completion import completion_init  # type: ignore[attr-defined]  # as above

    completion_init()
    program(app)._main_shell_completion({}, "pocketseek", COMPLETE_VARIABLE)
    raise SystemExit(0)
