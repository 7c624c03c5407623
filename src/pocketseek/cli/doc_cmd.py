"""`pocketseek doc ...`: documents, whole and offline. Each command is in a module of its own."""

from __future__ import annotations

import typer

from pocketseek.cli import doc_jobs_cmd, doc_summarize_cmd

app = typer.Typer(help="Documents: summaries of whole files, offline.", no_args_is_help=True)

app.command("summarize")(doc_summarize_cmd.summarize)
app.command("jobs")(doc_jobs_cmd.jobs)
