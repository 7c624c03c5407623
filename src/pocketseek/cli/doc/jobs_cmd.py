"""`pocketseek doc jobs`: summaries that are kept, finished or not."""

from __future__ import annotations

import json as json_format
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.console import note, print_json, print_table, print_text
from pocketseek.cli.doc import doc_messages
from pocketseek.cli.guard.state_key import state_key
from pocketseek.cli.messages import Words
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.apps.doc.jobs import Job, JobInfo


def jobs(
    remove: Annotated[
        list[str] | None,
        typer.Option(
            "--remove",
            metavar="JOB",
            help="Remove one, by the beginning of its id; may be repeated.",
            show_default=False,
        ),
    ] = None,
    remove_all: Annotated[bool, typer.Option("--remove-all", help="Remove all of them.")] = False,
    json: options.Json = False,
) -> None:
    """Show the summaries that are kept in the data directory, or remove them without trace."""
    from pocketseek.apps.doc.jobs import JobStore

    settings = read_settings()
    words = Words(settings.language)
    with closing(JobStore(settings.summaries_path, key=state_key(settings))) as store:
        found = store.list() if remove_all else [store.find(beginning) for beginning in remove or ()]
        for job in found:
            store.remove(job.id)
        kept = store.list()
    if json:
        print_json({"jobs": [_facts(job) for job in kept], "removed": [job.id for job in found]})
    elif remove or remove_all:
        print_text(words(doc_messages.JOB_REMOVED, count=len(found)))
    elif not kept:
        print_text(words(doc_messages.NO_JOBS))
    else:
        columns = (
            doc_messages.COLUMN_JOB,
            doc_messages.COLUMN_TITLE,
            doc_messages.COLUMN_STATE,
            doc_messages.COLUMN_MODEL,
            doc_messages.COLUMN_USED,
        )
        print_table([words(column) for column in columns], [_row(job, words) for job in kept], essential=(0, 1))


def _row(job: JobInfo, words: Words) -> list[str]:
    state = words(doc_messages.JOB_DONE)
    if not job.is_done:
        state = words(doc_messages.JOB_BEGUN, answers=job.num_answers, chunks=job.num_chunks)
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.used_s))
    return [job.id, job.title, state, job.model, used]


def _facts(job: JobInfo) -> dict[str, object]:
    return {
        "job": job.id,
        "path": job.path,
        "title": job.title,
        "model": job.model,
        "options": json_format.loads(job.options_json),
        "chunks": job.num_chunks,
        "answers": job.num_answers,
        "done": job.is_done,
        "created": job.created_s,
        "last_used": job.used_s,
    }


@contextmanager
def stoppable(job: Job, words: Words) -> Iterator[None]:
    """Says how to go on with a job when somebody ends the program."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        note(words(doc_messages.STOPPED, count=job.num_answers()))
        raise
