"""`pocketseek adapt ...`: adapters and smaller students. Each command is in a module of its own."""

from __future__ import annotations

import typer

from pocketseek.cli import adapt_distill_cmd, adapt_train_cmd

app = typer.Typer(help="Adapters: train them, and make smaller students.", no_args_is_help=True)

app.command("train")(adapt_train_cmd.train)
app.command("distill")(adapt_distill_cmd.distill)
