"""`pocketseek doc`: documents, whole and offline."""

from __future__ import annotations

import typer

from pocketseek.cli import doc_ask_cmd, doc_collection_cmd

app = typer.Typer(help="Documents: keep, find, ask.", no_args_is_help=True)
app.command("ask")(doc_ask_cmd.ask)
app.command("add")(doc_collection_cmd.add)
app.command("list")(doc_collection_cmd.list_documents)
app.command("remove")(doc_collection_cmd.remove)
app.command("search")(doc_collection_cmd.search)
