"""`pocketseek pull REPO|URL|DIR`: a model from elsewhere, installed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pocketseek.cli import options, pull_messages
from pocketseek.cli.console import format_bytes, is_interactive, note, print_json, print_text, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.cli.metered import check_metered
from pocketseek.cli.rates import parse_rate
from pocketseek.cli.trust_choice import admission_of
from pocketseek.errors import UsageError
from pocketseek.settings import read_network_settings, read_settings

if TYPE_CHECKING:
    from pocketseek.apps.repository.admission import Admit
    from pocketseek.apps.repository.pull import Consent, Pulled

_LABELS = {"download": pull_messages.DOWNLOADING, "convert": pull_messages.CONVERTING}


def pull(
    address: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="OWNER/NAME of a model hub, a name that `device --models` lists, the address of a package's folder "
            "(https://...), or a folder.",
            show_default=False,
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
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Fetch a model and install it. Packages of pocketseek's are installed as they are published, checkpoints (GGUF,
    safetensors) are converted. The same command again goes on with an interrupted download."""
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
            consent=_consent(words, admission.admit, allow_metered=allow_metered, yes=yes),
            progress=lambda phase, done, total: show(words(_LABELS[phase]), done, total),
        )
    admission.installed(pulled.path, "model-installed")
    if json:
        print_json(_facts(pulled))
        return
    print_text(_said(pulled, words))
    if pulled.kept is not None:
        note(words(pull_messages.DOWNLOAD_KEPT, path=shlex.quote(str(pulled.kept))))


def _consent(words: Words, admit: Admit, *, allow_metered: bool, yes: bool) -> Consent:
    from pocketseek.apps.repository.pull import Consent

    def allow_fetching(num_bytes: int) -> None:
        check_metered(words, num_bytes, allowed=allow_metered)

    def allow_replacing(name: str) -> None:
        if yes:
            return
        if not is_interactive():
            raise UsageError(
                f"{name} is installed with other content; add --yes to replace it, or choose another --name"
            )
        if not typer.confirm(words(pull_messages.CONFIRM_REPLACE, name=name), err=True):
            raise UsageError(f"{name} was left as it is; choose another --name to have both")

    return Consent(allow_fetching, allow_replacing, admit)


def _facts(pulled: Pulled) -> dict[str, object]:
    return {
        "name": pulled.name,
        "path": str(pulled.path),
        "address": pulled.address,
        "num_bytes": pulled.num_bytes,
        "fetched_bytes": pulled.fetched_bytes,
        "local_bytes": pulled.local_bytes,
        "converted": pulled.is_converted,
        "kept_download": None if pulled.kept is None else str(pulled.kept),
    }


def _said(pulled: Pulled, words: Words) -> str:
    path = shlex.quote(str(pulled.path))
    if not pulled.fetched_bytes and not pulled.local_bytes and not pulled.is_converted:
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
