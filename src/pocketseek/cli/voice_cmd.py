"""`pocketseek voice ...`: talk with a model. Each command is in a module of its own."""

from __future__ import annotations

import typer

from pocketseek.cli import voice_bench_cmd, voice_listen_cmd, voice_setup_cmd
from pocketseek.cli.key_options import HOW_MODELS_OPEN

app = typer.Typer(help="Talk with a model: speech in, speech out, offline.", no_args_is_help=True)

app.command("listen", epilog=HOW_MODELS_OPEN)(voice_listen_cmd.listen)
app.command("setup")(voice_setup_cmd.setup)
app.command("bench", epilog=HOW_MODELS_OPEN)(voice_bench_cmd.bench)
