"""`pocketseek update MODEL`: the version that its publisher offers now, by difference."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.console import confirm, format_bytes, is_interactive, note, print_json, print_text, progress_bar
from pocketseek.cli.guard.key_options import KeyCommand, KeyFile, KeyOptions, unlocked
from pocketseek.cli.guard.trust_choice import admission_of
from pocketseek.cli.messages import Words
from pocketseek.cli.models import update_messages
from pocketseek.cli.models.metered import check_metered
from pocketseek.cli.rates import parse_rate
from pocketseek.errors import DownloadError, StorageError, UsageError
from pocketseek.settings import Settings, read_network_settings, read_settings

if TYPE_CHECKING:
    from pocketseek.apps.repository.source import PackageSource
    from pocketseek.apps.repository.update_plan import UpdatePlan
    from pocketseek.apps.repository.update_work import Updated
    from pocketseek.package.sealing.key_slots import Secret


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
    key_file: KeyFile = None,
    key_command: KeyCommand = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Update a model to the version that is published now; only what changed is fetched. Asks first; a script says
    --yes. What was interrupted goes on with the same command. A sealed model stays sealed."""
    from pocketseek.apps.repository.open_source import Link, open_source
    from pocketseek.apps.repository.rate import RateLimit
    from pocketseek.apps.repository.source import DirectorySource
    from pocketseek.apps.repository.update import look, sign_anew
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    words = Words(settings.language)
    path = ModelStore(settings.models_dir).resolve(model)
    rate = None if limit_rate is None else RateLimit(limit_rate)
    admission = admission_of(settings, trust, allow_older=allow_older)
    where = _as_option(source)
    link = Link(read_network_settings(), rate=rate)
    with closing(open_source(source or _origin(path, model), link)) as opened:
        plan = look(path, opened, whole=whole, admit=admission.admit, models_dir=settings.models_dir)
        if check or (plan.is_up_to_date and plan.new_signature is None):
            _tell_check(model, path, plan, words, where, json=json)
            return
        if plan.is_up_to_date:
            sign_anew(path, plan.offer)
            admission.installed(path, "model-updated")
            _tell_check(model, path, replace(plan, new_signature=None), words, where, json=json, is_signed_anew=True)
            return
        if not json:
            _tell_available(model, path, plan, words)
        if not _agreed(words, model, yes=yes):
            if json:
                _tell_check(model, path, plan, words, where, json=True)
            else:
                print_text(words(update_messages.NOT_UPDATED))
            return
        if not isinstance(opened, DirectorySource):
            check_metered(words, plan.fetch_bytes, allowed=allow_metered)
        with unlocked(path, settings, KeyOptions(key_file, key_command)) as secret:
            allow = _allowance(words, opened, plan.fetch_bytes, yes=yes, allow_metered=allow_metered)
            done = _run(path, opened, plan, model, words, settings, secret, allow, whole=whole, keep=keep)
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
    return confirm(words(update_messages.CONFIRM_UPDATE), default=True)


def _allowance(
    words: Words, source: PackageSource, agreed_bytes: int, *, yes: bool, allow_metered: bool
) -> Callable[[int], None]:
    """For `update`: more than what was told is asked again. It may be more because a delta fails, or because the server
    tells another story by now."""
    from pocketseek.apps.repository.source import DirectorySource

    def allow(num_bytes: int) -> None:
        if num_bytes <= agreed_bytes or isinstance(source, DirectorySource):
            return
        sizes = {"size": format_bytes(num_bytes), "told": format_bytes(agreed_bytes)}
        if not yes and not confirm(words(update_messages.CONFIRM_MORE, **sizes)):
            raise UsageError(
                f"{sizes['size']} are to be fetched instead of {sizes['told']}; the same command asks again, and goes "
                "on with what arrived"
            )
        check_metered(words, num_bytes, allowed=allow_metered)

    return allow


def _run(
    path: Path,
    source: PackageSource,
    plan: UpdatePlan,
    model: str,
    words: Words,
    settings: Settings,
    secret: Secret | None,
    allow: Callable[[int], None],
    *,
    whole: bool,
    keep: bool,
) -> Updated:
    from pocketseek.apps.repository.update import update as run_update

    fetching, making = words(update_messages.UPDATING, name=model), words(update_messages.PUTTING_TOGETHER, name=model)
    try:
        with progress_bar("transfer") as show:
            is_fetching = False

            def fetched(done: int, total: int) -> None:
                nonlocal is_fetching
                is_fetching = done < total
                if is_fetching:
                    show(fetching, done, total)

            def made(done: int, total: int) -> None:
                if not is_fetching:  # one bar at a time: nobody waits for it before everything has arrived
                    show(making, done, total)

            def allow_more(num_bytes: int) -> None:
                with show.paused():
                    allow(num_bytes)

            return run_update(
                path,
                source,
                plan.offer,
                secret=secret,
                models_dir=settings.models_dir,
                whole=whole,
                keep_previous=keep,
                allow=allow_more,
                progress=fetched,
                made=made,
            )
    except (DownloadError, StorageError, KeyboardInterrupt):
        note(words(update_messages.KEPT_PARTS))
        raise


def _tell_available(model: str, path: Path, plan: UpdatePlan, words: Words) -> None:
    from pocketseek.apps.repository.versions import previous_version

    sizes = {
        "size": format_bytes(plan.fetch_bytes),
        "whole": format_bytes(plan.whole_bytes),
        "disk": format_bytes(plan.disk_bytes),
    }
    message = update_messages.AVAILABLE if plan.fetch_bytes else update_messages.AVAILABLE_AS_IS
    print_text(words(message, name=model, **sizes))
    before = previous_version(path)
    if before is not None and before.id == plan.new:
        print_text(words(update_messages.IS_THE_ONE_BEFORE, name=model))


def _as_option(source: str | None) -> str:
    """For the command that is named next. What may hold a password is not shown."""
    if source is None:
        return ""
    return " --from ADDRESS" if "://" in source and "@" in source else f" --from {shlex.quote(source)}"


def _tell_check(
    model: str, path: Path, plan: UpdatePlan, words: Words, where: str, *, json: bool, is_signed_anew: bool = False
) -> None:
    """where: `--from` as it was given."""
    if json:
        print_json(
            {
                "name": model,
                "up_to_date": plan.is_up_to_date,
                "updated": False,
                "new_signature": plan.new_signature is not None,
                "signed_anew": is_signed_anew,
                "old": plan.old,
                "new": plan.new,
                "fetch_bytes": plan.fetch_bytes,
                "whole_bytes": plan.whole_bytes,
                "disk_bytes": plan.disk_bytes,
            }
        )
    elif plan.is_up_to_date:
        print_text(words(update_messages.UP_TO_DATE, name=model))
        if plan.new_signature is not None:
            print_text(words(update_messages.NEW_SIGNATURE, name=model, where=where))
        if is_signed_anew:
            print_text(words(update_messages.SIGNED_ANEW))
    else:
        _tell_available(model, path, plan, words)
        print_text(words(update_messages.CHECK_NEXT, name=model, where=where))


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
                "num_local": done.num_local,
            }
        )
        return
    counts = {"size": format_bytes(done.fetched_bytes), "deltas": done.num_deltas, "whole": done.num_whole}
    print_text(words(update_messages.UPDATED, name=model, **counts))
    if done.num_local:
        local = {"local": done.num_local, "size": format_bytes(done.local_bytes)}
        print_text(words(update_messages.UPDATED_LOCAL, **local))
    if done.num_failed:
        print_text(words(update_messages.UPDATED_FAILED, name=model, failed=done.num_failed))
    print_text(words(update_messages.KEPT_UNTIL_UPDATE if keep else update_messages.KEPT_UNTIL_ANSWER, name=model))
