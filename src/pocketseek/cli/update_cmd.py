"""`pocketseek update MODEL`: the version that its publisher offers now, by difference."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options, update_messages
from pocketseek.cli.console import format_bytes, is_interactive, note, print_json, print_text, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.cli.metered import check_metered
from pocketseek.cli.rates import parse_rate
from pocketseek.cli.trust_choice import admission_of
from pocketseek.errors import DownloadError, StorageError, UsageError
from pocketseek.settings import read_network_settings, read_settings

if TYPE_CHECKING:
    from pocketseek.apps.repository.source import PackageSource
    from pocketseek.apps.repository.update import Updated
    from pocketseek.apps.repository.update_plan import UpdatePlan


def update(
    model: options.ModelName,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="SOURCE", help="Where it is published: a folder or an address.", show_default="as pulled"
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only tell whether there is one, and its size.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="Fetch what changed whole, not by difference.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the version before until the next update.")] = False,
    limit_rate: Annotated[
        int | None,
        typer.Option(
            parser=parse_rate, metavar="RATE", help="Fetch no faster than this (2MB/s, 500kB/s).", show_default=False
        ),
    ] = None,
    allow_metered: options.AllowMetered = False,
    trust: options.Trust = None,
    allow_older: options.AllowOlder = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Update a model to the version that is published now; only what changed is fetched. Asks first; a script says
    --yes. What was interrupted goes on with the same command."""
    from pocketseek.apps.repository.open_source import Link, open_source
    from pocketseek.apps.repository.rate import RateLimit
    from pocketseek.apps.repository.source import DirectorySource
    from pocketseek.apps.repository.update import look
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    words = Words(settings.language)
    path = ModelStore(settings.models_dir).resolve(model)
    rate = None if limit_rate is None else RateLimit(limit_rate)
    admission = admission_of(settings, trust, allow_older=allow_older)
    link = Link(read_network_settings(), rate=rate)
    with closing(open_source(source or _origin(path, model), link)) as opened:
        plan = look(path, opened, whole=whole, admit=admission.admit)
        if check or plan.is_up_to_date:
            _tell_check(model, plan, words, json=json)
            return
        if not json:
            print_text(_available(model, plan, words))
        if not _agreed(words, model, yes=yes):
            if json:
                _tell_check(model, plan, words, json=True)
            else:
                print_text(words(update_messages.NOT_UPDATED))
            return
        if not isinstance(opened, DirectorySource):
            check_metered(words, plan.fetch_bytes, allowed=allow_metered)
        done = _run(path, opened, plan, model, words, whole=whole, keep=keep)
    admission.installed(path, "model-updated")
    _tell_done(model, done, words, keep=keep, json=json)


def _origin(path: Path, model: str) -> str:
    from pocketseek.package.origin import read_origin

    origin = read_origin(path)
    if origin is None:
        raise UsageError(f"nobody knows where {model} was published; say it with --from FOLDER or --from ADDRESS")
    return origin.address


def _agreed(words: Words, model: str, *, yes: bool) -> bool:
    if yes:
        return True
    if not is_interactive():
        raise UsageError(f"updating {model} needs a confirmation; add --yes")
    return typer.confirm(words(update_messages.CONFIRM_UPDATE), default=True, err=True)


def _run(
    path: Path, source: PackageSource, plan: UpdatePlan, model: str, words: Words, *, whole: bool, keep: bool
) -> Updated:
    from pocketseek.apps.repository.update import update as run_update

    label = words(update_messages.UPDATING, name=model)
    try:
        with progress_bar("transfer") as show:
            return run_update(
                path,
                source,
                plan.offer,
                whole=whole,
                keep_previous=keep,
                progress=lambda done, total: show(label, done, total),
            )
    except (DownloadError, StorageError, KeyboardInterrupt):
        note(words(update_messages.KEPT_PARTS))
        raise


def _available(model: str, plan: UpdatePlan, words: Words) -> str:
    sizes = {
        "size": format_bytes(plan.fetch_bytes),
        "whole": format_bytes(plan.whole_bytes),
        "disk": format_bytes(plan.disk_bytes),
    }
    return words(update_messages.AVAILABLE, name=model, **sizes)


def _tell_check(model: str, plan: UpdatePlan, words: Words, *, json: bool) -> None:
    if json:
        print_json(
            {
                "name": model,
                "up_to_date": plan.is_up_to_date,
                "updated": False,
                "old": plan.old,
                "new": plan.new,
                "fetch_bytes": plan.fetch_bytes,
                "whole_bytes": plan.whole_bytes,
                "disk_bytes": plan.disk_bytes,
            }
        )
    elif plan.is_up_to_date:
        print_text(words(update_messages.UP_TO_DATE, name=model))
    else:
        print_text(_available(model, plan, words))
        print_text(words(update_messages.CHECK_NEXT, name=model))


def _tell_done(model: str, done: Updated, words: Words, *, keep: bool, json: bool) -> None:
    if json:
        print_json(
            {
                "name": model,
                "up_to_date": True,
                "updated": True,
                "old": done.old,
                "new": done.new,
                "fetched_bytes": done.fetched_bytes,
                "num_deltas": done.num_deltas,
                "num_whole": done.num_whole,
                "num_failed": done.num_failed,
            }
        )
        return
    counts = {"size": format_bytes(done.fetched_bytes), "deltas": done.num_deltas, "whole": done.num_whole}
    print_text(words(update_messages.UPDATED, name=model, **counts))
    if done.num_failed:
        print_text(words(update_messages.UPDATED_FAILED, name=model, failed=done.num_failed))
    print_text(words(update_messages.KEPT_UNTIL_UPDATE if keep else update_messages.KEPT_UNTIL_ANSWER, name=model))
