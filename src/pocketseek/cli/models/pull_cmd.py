"""`pocketseek pull REPO|URL|DIR`: a model from elsewhere, installed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pocketseek.cli import options
from pocketseek.cli.completion import complete_source
from pocketseek.cli.console import format_bytes, note, print_json, print_text, progress_bar
from pocketseek.cli.guard.key_options import KeyCommand, KeyFile, KeyOptions, unlocked
from pocketseek.cli.guard.trust_choice import admission_of
from pocketseek.cli.messages import Words
from pocketseek.cli.models import pull_messages, update_messages
from pocketseek.cli.models.metered import check_metered
from pocketseek.cli.models.replace_choice import allow_replacing
from pocketseek.cli.rates import parse_rate
from pocketseek.settings import Settings, read_network_settings, read_settings

if TYPE_CHECKING:
    from pocketseek.apps.repository.admission import Admit
    from pocketseek.apps.repository.pull import Consent, Pulled
    from pocketseek.package.sealing.key_slots import Secret

_LABELS = {"download": pull_messages.DOWNLOADING, "convert": pull_messages.CONVERTING}


def pull(
    address: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="OWNER/NAME of a model hub, a name that `device --models` lists, the address of a package's folder "
            "(https://...), or a folder.",
            show_default=False,
            autocompletion=complete_source,
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="What it is called here; default: as there.", show_default=False)
    ] = None,
    quant: Annotated[
        Literal["q4", "q4-pure", "q8", "keep"] | None,
        typer.Option(help="Of what has to be converted; default as for convert.", show_default=False),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="NAME", help="Which of several GGUF files.", show_default=False)
    ] = None,
    limit_rate: Annotated[
        int | None,
        typer.Option(
            parser=parse_rate, metavar="RATE", help="Fetch no faster than this (2MB/s, 500kB/s).", show_default=False
        ),
    ] = None,
    connections: Annotated[int, typer.Option(min=1, max=16, help="Files fetched at the same time.")] = 4,
    keep_download: Annotated[
        bool, typer.Option("--keep-download", help="Keep what was downloaded when it is converted.")
    ] = False,
    allow_metered: options.AllowMetered = False,
    trust: options.Trust = None,
    allow_older: options.AllowOlder = False,
    key_file: KeyFile = None,
    key_command: KeyCommand = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Fetch a model and install it. Packages of pocketseek's are installed as they are published, checkpoints (GGUF,
    safetensors) are converted. The same command again goes on with an interrupted download. Over an installed model, a
    package is an update, which `rollback` takes back, and a sealed one stays sealed."""
    from pocketseek.apps.repository.open_source import Link
    from pocketseek.apps.repository.pull import PullOptions
    from pocketseek.apps.repository.pull import pull as pull_model
    from pocketseek.apps.repository.rate import RateLimit
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    words = Words(settings.language)
    rate = None if limit_rate is None else RateLimit(limit_rate)
    admission = admission_of(settings, trust, allow_older=allow_older)
    ModelStore(settings.models_dir).clean()  # what killed writers left takes the space that this one needs
    with progress_bar("transfer") as show:
        pulled = pull_model(
            address,
            Link(read_network_settings(), connections, rate),
            models_dir=settings.models_dir,
            downloads_dir=settings.home / "downloads",
            options=PullOptions(name, quant, file, keep_download),
            consent=replace(
                _consent(settings, words, admission.admit, show.paused, allow_metered=allow_metered, yes=yes),
                unlocked=lambda path: _unlocked(path, settings, KeyOptions(key_file, key_command), show.paused),
            ),
            progress=lambda phase, done, total: show(words(_LABELS[phase]), done, total),
        )
    admission.installed(pulled.path, "model-installed")
    if json:
        print_json(_facts(pulled))
        return
    print_text(_said(pulled, words))
    if pulled.has_previous:
        print_text(words(update_messages.KEPT_UNTIL_ANSWER, name=pulled.name))
    if pulled.kept is not None:
        note(words(pull_messages.DOWNLOAD_KEPT, path=shlex.quote(str(pulled.kept))))


@contextmanager
def _unlocked(
    path: Path, settings: Settings, key: KeyOptions, paused: Callable[[], AbstractContextManager[None]]
) -> Iterator[Secret | None]:
    """The bar may be there already: what is here is checked first."""
    with ExitStack() as secrets:
        with paused():
            secret = secrets.enter_context(unlocked(path, settings, key))
        yield secret


def _consent(
    settings: Settings,
    words: Words,
    admit: Admit,
    paused: Callable[[], AbstractContextManager[None]],
    *,
    allow_metered: bool,
    yes: bool,
) -> Consent:
    """paused: the bar, for a question that comes when some of it has been fetched (a delta that failed)."""
    from pocketseek.apps.repository.pull import Consent

    def allow_fetching(num_bytes: int) -> None:
        with paused():
            check_metered(words, num_bytes, allowed=allow_metered)

    return Consent(allow_fetching, lambda replacing: allow_replacing(replacing, settings, words, yes=yes), admit)


def _facts(pulled: Pulled) -> dict[str, object]:
    return {
        "name": pulled.name,
        "path": str(pulled.path),
        "address": pulled.address,
        "num_bytes": pulled.num_bytes,
        "fetched_bytes": pulled.fetched_bytes,
        "local_bytes": pulled.local_bytes,
        "converted": pulled.is_converted,
        "previous_kept": pulled.has_previous,
        "kept_download": None if pulled.kept is None else str(pulled.kept),
    }


def _said(pulled: Pulled, words: Words) -> str:
    path = shlex.quote(str(pulled.path))
    if not (pulled.fetched_bytes or pulled.local_bytes or pulled.is_converted or pulled.has_previous):
        return words(pull_messages.UP_TO_DATE, name=pulled.name, path=path)
    message = pull_messages.PULLED_SHARED if pulled.local_bytes else pull_messages.PULLED
    local = {"local": format_bytes(pulled.local_bytes)} if pulled.local_bytes else {}
    return words(
        message,
        name=pulled.name,
        path=path,
        size=format_bytes(pulled.num_bytes),
        fetched=format_bytes(pulled.fetched_bytes),
        **local,
    )
