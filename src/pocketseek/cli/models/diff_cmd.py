"""`pocketseek diff OLD NEW`: what an update from one version to another takes, and the deltas for it."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.completion import complete_installed
from pocketseek.cli.console import format_bytes, print_json, print_table, print_text, progress_bar
from pocketseek.cli.guard.key_options import KeyCommand, KeyFile, KeyOptions, unlocked
from pocketseek.cli.messages import Words
from pocketseek.cli.models import update_messages
from pocketseek.errors import UsageError
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.apps.repository.difference import Difference, StageDifference

_ModelOrPath = Annotated[
    str,
    typer.Argument(
        help="Name of an installed model or path of a package.", show_default=False, autocompletion=complete_installed
    ),
]


def diff(
    old: _ModelOrPath,
    new: _ModelOrPath,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write the deltas into DIR/deltas.", show_default=False)
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Write them beside NEW, which is to be published.")
    ] = False,
    key_file: KeyFile = None,
    key_command: KeyCommand = None,
    json: options.Json = False,
) -> None:
    """Show how many bytes travel from one version of a model to another, stage by stage. With --publish or --out leave
    what `update` fetches: deltas for the chunks that changed."""
    from pocketseek.apps.repository.difference import compare
    from pocketseek.package.store import ModelStore

    if publish and out is not None:
        raise UsageError("--publish writes beside NEW and --out elsewhere; leave out one of them")
    settings = read_settings()
    words = Words(settings.language)
    store = ModelStore(settings.models_dir)
    old_dir, new_dir = store.resolve(old), store.resolve(new)
    folder = new_dir if publish else out
    label = words(update_messages.COMPARING)
    with ExitStack() as secrets:
        key = KeyOptions(key_file, key_command)
        old_secret, new_secret = (secrets.enter_context(unlocked(path, settings, key)) for path in (old_dir, new_dir))
        show = secrets.enter_context(progress_bar())
        found = compare(
            old_dir,
            new_dir,
            out=folder,
            progress=lambda done, total: show(label, done, total),
            old_secret=old_secret,
            new_secret=new_secret,
        )
    if json:
        print_json(_facts(found, folder))
        return
    _print(found, words)
    if folder is not None:
        print_text(words(update_messages.DIFF_WRITTEN, folder=folder / "deltas"))


def _facts(found: Difference, folder: Path | None) -> dict[str, object]:
    return {
        "old": found.old,
        "new": found.new,
        "sent_bytes": found.sent_bytes,
        "whole_bytes": found.whole_bytes,
        "manifest_bytes": found.manifest_bytes,
        "index_bytes": found.index_bytes,
        "files": dataclasses.asdict(found.files),
        "stages": [dataclasses.asdict(stage) for stage in found.stages],
        "deltas": None if folder is None else str(folder / "deltas"),
    }


def _print(found: Difference, words: Words) -> None:
    if found.old == found.new:
        print_text(words(update_messages.DIFF_SAME))
        return
    columns = (
        update_messages.COLUMN_STAGE,
        update_messages.COLUMN_WHOLE,
        update_messages.COLUMN_SENT,
        update_messages.COLUMN_CHUNKS,
    )
    rows = [_row(stage.stage, stage, words) for stage in found.stages]
    rows.append(_row(words(update_messages.ROW_FILES), found.files, words))
    manifest = format_bytes(found.manifest_bytes)
    both = format_bytes(found.manifest_bytes + found.index_bytes)
    rows.append((words(update_messages.ROW_MANIFEST), manifest, both, ""))
    rows.append((words(update_messages.ROW_ALL), format_bytes(found.whole_bytes), _sent(found), ""))
    print_table([words(column) for column in columns], rows)


def _row(name: str, stage: StageDifference, words: Words) -> tuple[str, str, str, str]:
    counts = {"same": stage.num_same, "deltas": stage.num_deltas, "whole": stage.num_whole}
    return (
        name,
        format_bytes(stage.whole_bytes),
        format_bytes(stage.sent_bytes),
        words(update_messages.CHUNKS, **counts),
    )


def _sent(found: Difference) -> str:
    return f"{format_bytes(found.sent_bytes)} ({100 * found.sent_bytes / found.whole_bytes:.2f} %)"
