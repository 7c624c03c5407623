"""`pocketseek doc ...`: documents, whole and offline. Each command is in a module of its own."""

from __future__ import annotations

import typer

from pocketseek.cli import doc_ask_cmd, doc_collection_cmd, doc_jobs_cmd, doc_summarize_cmd
from pocketseek.cli.state_key import HOW_DATA_OPENS

app = typer.Typer(help="Documents: summarise whole files, keep them, find, ask; offline.", no_args_is_help=True)

app.command("summarize", epilog=HOW_DATA_OPENS)(doc_summarize_cmd.summarize)
app.command("jobs", epilog=HOW_DATA_OPENS)(doc_jobs_cmd.jobs)
app.command("ask", epilog=HOW_DATA_OPENS)(doc_ask_cmd.ask)
app.command("add", epilog=HOW_DATA_OPENS)(doc_collection_cmd.add)
app.command("list", epilog=HOW_DATA_OPENS)(doc_collection_cmd.list_documents)
app.command("remove", epilog=HOW_DATA_OPENS)(doc_collection_cmd.remove)
app.command("search", epilog=HOW_DATA_OPENS)(doc_collection_cmd.search)
