"""`pocketseek doc ...`: documents, whole and offline. Each command is in a module of its own."""

from __future__ import annotations

import typer

from pocketseek.cli import doc_ask_cmd, doc_collection_cmd, doc_jobs_cmd, doc_summarize_cmd

app = typer.Typer(help="Documents: summarise whole files, keep them, find, ask; offline.", no_args_is_help=True)

app.command("summarize")(doc_summarize_cmd.summarize)
app.command("jobs")(doc_jobs_cmd.jobs)
app.command("ask")(doc_ask_cmd.ask)
app.command("add")(doc_collection_cmd.add)
app.command("list")(doc_collection_cmd.list_documents)
app.command("remove")(doc_collection_cmd.remove)
app.command("search")(doc_collection_cmd.search)
