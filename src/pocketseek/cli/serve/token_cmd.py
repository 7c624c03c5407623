"""`pocketseek token create|list|revoke`: who may use the server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.completion import complete_model, complete_token
from pocketseek.cli.console import note, print_exact, print_json, print_table, print_text
from pocketseek.cli.messages import Words
from pocketseek.cli.serve import token_messages
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.apps.access_tokens import AccessToken, TokenStore

app = typer.Typer(help="Access tokens of the server: create, list, revoke.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose token it is, in your words.", show_default=False)]
KnownName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Whose token it is, as list shows.", show_default=False, autocompletion=complete_token
    ),
]
PerMinute = Annotated[
    int | None, typer.Option("--requests-per-minute", min=1, help="Requests that may begin in a minute.")
]
Concurrent = Annotated[int | None, typer.Option("--concurrent", min=1, help="Requests at a time.")]
ForModels = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="MODEL", help="Only for this model; may be repeated.", autocompletion=complete_model
    ),
]
MayUpdate = Annotated[
    bool, typer.Option("--may-update", help="It may look for updates of models, and install them, in the page.")
]


@app.command("create")
def create(
    name: Name,
    requests_per_minute: PerMinute = None,
    concurrent: Concurrent = None,
    model: ForModels = None,
    may_update: MayUpdate = False,
    json: options.Json = False,
) -> None:
    """Make a token and show it, once."""
    from pocketseek.apps.access_tokens import TokenLimits

    limits = TokenLimits(requests_per_minute, concurrent, tuple(model or ()), may_update)
    token, secret = _store().create(name, limits)
    _write_down("token-created", name)
    if json:
        print_json(_facts(token) | {"token": secret})
        return
    print_text(_words()(token_messages.TOKEN_CREATED, name=name))
    print_exact(secret)
    if limits.models:
        _warn(limits.models)


def _warn(models: tuple[str, ...]) -> None:
    from pocketseek.package.store import ModelStore

    store = ModelStore(read_settings().models_dir)
    if missing := [model for model in models if not store.is_installed(model)]:
        note(_words()(token_messages.NOT_INSTALLED, models=", ".join(missing)))
    note(_words()(token_messages.ONLY_WHERE_WANTED))


@app.command("list")
def list_tokens(json: options.Json = False) -> None:
    """Show who has a token, and its limits."""
    tokens = _store().list()
    words = _words()
    if json:
        print_json({"tokens": [_facts(token) for token in tokens]})
    elif not tokens:
        print_text(words(token_messages.NO_TOKENS))
    else:
        columns = (
            messages.COLUMN_NAME,
            token_messages.COLUMN_CREATED,
            token_messages.COLUMN_PER_MINUTE,
            token_messages.COLUMN_CONCURRENT,
            token_messages.COLUMN_MODELS,
            token_messages.COLUMN_MAY_UPDATE,
        )
        print_table([words(column) for column in columns], [_row(token, words) for token in tokens], essential=(0,))


@app.command("revoke")
def revoke(name: KnownName, json: options.Json = False) -> None:
    """End a token. A running server refuses it from the next request on."""
    _store().revoke(name)
    _write_down("token-revoked", name)
    if json:
        print_json({"revoked": name})
    else:
        print_text(_words()(token_messages.TOKEN_REVOKED, name=name))


def _store() -> TokenStore:
    from pocketseek.apps.access_tokens import TokenStore

    return TokenStore(read_settings().tokens_path)


def _write_down(event: str, name: str) -> None:
    from pocketseek.package.trust.audit import AuditLog

    AuditLog(read_settings().audit_path).write(event, token=name)


def _words() -> Words:
    return Words(read_settings().language)


def _row(token: AccessToken, words: Words) -> list[str]:
    limits = token.limits
    created = time.strftime("%Y-%m-%d %H:%M", time.localtime(token.created_s))
    numbers = (str(number) if number is not None else "-" for number in (limits.requests_per_minute, limits.concurrent))
    updates = words(token_messages.MAY_UPDATE) if limits.may_update else "-"
    return [token.name, created, *numbers, ", ".join(limits.models) or "-", updates]


def _facts(token: AccessToken) -> dict[str, object]:
    return {
        "name": token.name,
        "created": token.created_s,
        "requests_per_minute": token.limits.requests_per_minute,
        "concurrent": token.limits.concurrent,
        "models": list(token.limits.models),
        "may_update": token.limits.may_update,
    }
