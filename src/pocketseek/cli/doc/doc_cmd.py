"""`pocketseek doc ...`: documents, whole and offline. Each command is in a module of its own."""

from __future__ import annotations

import typer

from pocketseek.cli.doc import ask_cmd, collection_cmd, jobs_cmd, summarize_cmd
from pocketseek.cli.guard.state_key import HOW_DATA_OPENS

app = typer.Typer(help="Documents: summarise whole files, keep them, find, ask; offline.", no_args_is_help=True)

app.command("summarize", epilog=HOW_DATA_OPENS)(summarize_cmd.summarize)
app.command("jobs", epilog=HOW_DATA_OPENS)(jobs_cmd.jobs)
app.command("ask", epilog=HOW_DATA_OPENS)(ask_cmd.ask)
app.command("add", epilog=HOW_DATA_OPENS)(collection_cmd.add)
app.command("list", epilog=HOW_DATA_OPENS)(collection_cmd.list_documents)
app.command("remove", epilog=HOW_DATA_OPENS)(collection_cmd.remove)
app.command("search", epilog=HOW_DATA_OPENS)(collection_cmd.search)
