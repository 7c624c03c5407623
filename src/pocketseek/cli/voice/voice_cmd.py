"""`pocketseek voice ...`: talk with a model. Each command is in a module of its own."""

from __future__ import annotations

import typer

from pocketseek.cli.guard.key_options import HOW_MODELS_OPEN
from pocketseek.cli.voice import bench_cmd, listen_cmd, setup_cmd

app = typer.Typer(help="Talk with a model: speech in, speech out, offline.", no_args_is_help=True)

app.command("listen", epilog=HOW_MODELS_OPEN)(listen_cmd.listen)
app.command("setup")(setup_cmd.setup)
app.command("bench", epilog=HOW_MODELS_OPEN)(bench_cmd.bench)
