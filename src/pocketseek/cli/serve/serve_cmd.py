"""`pocketseek serve [MODEL...]`: the HTTP API, and the page, for programs and people."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.completion import complete_model
from pocketseek.cli.console import ShowProgress, progress_bar
from pocketseek.cli.guard.key_options import KeptSecrets, KeyCommand, KeyFile, KeyOptions, secret_for
from pocketseek.cli.guard.state_key import cache_key, state_key
from pocketseek.cli.messages import Words
from pocketseek.cli.run.engine_choice import EngineOptions, prepare_engine, tell_provider
from pocketseek.cli.run.heat_limit import LimitNote
from pocketseek.cli.run.model_choice import choose_model
from pocketseek.cli.run.upkeep import keeping_up
from pocketseek.cli.serve.announcement import announce, is_loopback
from pocketseek.cli.serve.notice import serving_notice
from pocketseek.errors import UnsupportedError, UsageError
from pocketseek.settings import Settings, read_network_settings, read_settings

if TYPE_CHECKING:
    from pocketseek.apps.access_tokens import TokenStore
    from pocketseek.apps.model_pool import ModelPool, OpenModel, ServedModel
    from pocketseek.runtime.engine import Engine

_EXTRA = (
    "starlette",
    "uvicorn",
    "wsproto",
    "msgspec",
    "segno",
    "markdown_it",
    "latex2mathml",
    "pygments",
    "python_multipart",
)
_log = logging.getLogger(__name__)

Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...",
        help="Models to serve, the first by default.",
        show_default="all installed",
        autocompletion=complete_model,
    ),
]
Host = Annotated[str, typer.Option("--host", help="Address to listen on; another than this machine's needs a token.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, max=256, help="Compute threads.", show_default="fast cores")
]
RequireToken = Annotated[bool, typer.Option("--require-token", help="Want a token on this machine, too.")]
AllowHost = Annotated[
    list[str] | None, typer.Option("--allow-host", metavar="NAME", help="A name under which it may be addressed.")
]
AllowOrigin = Annotated[
    list[str] | None,
    typer.Option("--allow-origin", metavar="ORIGIN", help="Let pages of this address call it: https://example.org"),
]
MaxRequests = Annotated[int, typer.Option("--max-requests", min=1, help="Requests that run or wait; others get 429.")]
MaxRunning = Annotated[int, typer.Option("--max-running", min=1, help="Answers written at the same time; others wait.")]
ShowQr = Annotated[
    bool | None,
    typer.Option("--qr/--no-qr", help="Show a QR code of the address.", show_default="where others reach it"),
]
ShutdownTime = Annotated[
    float, typer.Option("--shutdown-time", min=0, help="Seconds that answers have to end when it is stopped.")
]
LogPrompts = Annotated[bool, typer.Option("--log-prompts", help="Write down what is asked. Private texts, in clear.")]


def serve(
    models: Models = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    kv: options.Kv = None,
    memory: options.Memory = None,
    min_speed: options.MinSpeed = None,
    threads: Threads = None,
    temperature_limit: options.TemperatureLimit = None,
    engine: options.Engine = None,
    provider: options.Provider = None,
    key_file: KeyFile = None,
    key_command: KeyCommand = None,
    trust: options.Trust = None,
    require_token: RequireToken = False,
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
    max_requests: MaxRequests = 256,
    max_running: MaxRunning = 16,
    shutdown_time: ShutdownTime = 30.0,
    log_prompts: LogPrompts = False,
    qr: ShowQr = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Serve models over HTTP as OpenAI and DeepSeek do, until Ctrl-C. See docs/serve.md."""
    _require_libraries()
    from pocketseek.apps.access_tokens import TokenStore
    from pocketseek.apps.conversations import ConversationStore
    from pocketseek.apps.doc.model_identity import model_identity
    from pocketseek.apps.installed_adapters import InstalledAdapters
    from pocketseek.apps.kept_pages import PageEraser
    from pocketseek.apps.model_state import look_at_model
    from pocketseek.apps.model_updates import ModelUpdates
    from pocketseek.apps.repository.versions import VersionNotes
    from pocketseek.apps.serve.private_files import PrivateFiles
    from pocketseek.apps.serve.server import ApiServer, bind, run_server
    from pocketseek.apps.serve.services import ServeOptions, Services
    from pocketseek.apps.serve.voice.installed_voice import installed_voice
    from pocketseek.apps.serve.voice.priority import giving_way_to_voice
    from pocketseek.apps.voice.shared_room import SharedRoom, heat_share
    from pocketseek.package.store import ModelStore
    from pocketseek.package.trust.audit import AuditLog
    from pocketseek.package.trust.gatekeeper import Gatekeeper

    settings = read_settings()
    gate = Gatekeeper.of(settings)
    tokens = TokenStore(settings.tokens_path)
    serve_options = ServeOptions(
        host=host,
        allowed_hosts=(host, *(allow_host or ())),
        allowed_origins=tuple(allow_origin or ()),
        require_token=_needs_token(host, tokens, require_token),
        max_requests=max_requests,
        shutdown_s=shutdown_time,
        log_prompts=log_prompts,
    )
    served = _served_models(settings, models, yes=yes, trust=trust)
    engine_options = EngineOptions(engine, provider)
    secrets = {model.name: secret_for(model.path, settings, KeyOptions(key_file, key_command)) for model in served}
    kinds = {model.name: prepare_engine(settings, model.path, engine_options, quiet=json) for model in served}

    def identity_of(model: ServedModel) -> str:
        kind = kinds[model.base_name]
        setting = provider or settings.provider if kind == "onnx" else kv or settings.kv or "f16"
        base = model_identity(model.path, kind, f"{setting} {min_speed}")
        return model_identity(model.own_path, kind, base) if model.adapter else base

    words = Words(settings.language)
    limit_note = LimitNote(words)
    notes = VersionNotes()
    bars: list[ShowProgress] = []

    def tell_checking(done_bytes: int, total_bytes: int) -> None:
        """Of the first model, before the server runs."""
        for show in bars:
            show(words(messages.VERIFYING), done_bytes, total_bytes)

    data_key, pages_key = state_key(settings), cache_key(settings)  # asked for now, while somebody is there

    kept_keys, store = KeptSecrets(settings, KeyOptions(key_file, key_command)), ModelStore(settings.models_dir)
    adapters_of = InstalledAdapters(settings.models_dir).of
    for path in [part.path for part in store.list_parts()] + [
        adapter.own_path for model in served for adapter in adapters_of(model)
    ]:
        kept_keys(path)  # of sealed ones: asked now, nobody can be asked later
    voice = installed_voice(
        settings,
        kept_keys,
        SharedRoom(lambda: [engine.guests for engine in pool.loaded_engines().values()]),
        lambda: heat_share(pool.loaded_engines().values()),
    )

    def open_model(model: ServedModel, memory_bytes: int | None) -> Engine:
        from pocketseek.runtime.load import load

        notes.opening(model.path)
        opened = giving_way_to_voice(
            lambda: voice.makers.check(None),
            lambda: load(
                model.path,
                num_threads=threads,
                kv=kv,
                memory_bytes=memory_bytes,
                min_speed=min_speed,
                temperature_limit_c=temperature_limit,
                max_sequences=max_running,
                engine=kinds[model.name],
                provider=provider,
                secret=secrets[model.name],
                adapter_secret=kept_keys.at_hand,
                cache_key=pages_key,
                progress=tell_checking,
            ),
        )
        tell_provider(opened.provider_choice, words, engine_options)
        limit_note.see(opened.thermal_status())  # what is known later is in the log
        return opened

    def released(model: ServedModel, used: Engine) -> None:
        if used.statistics().load.num_tokens:
            notes.answered(model.path)

    erase = PageEraser(settings.prefix_dir)

    def changed(path: Path) -> None:
        """It was updated: what is asked next is answered by the new version."""
        for model in served:
            if model.path == path:
                pool.renew(model.name)

    pool = _pool(settings, served, open_model, memory, released, adapters_of)
    with closing(bind(host, port)) as listener, closing(pool):
        with progress_bar() as show:
            bars.append(show)
            with pool.using(pool.default_name):
                pass  # opened now, so that the first to ask does not wait for it
            bars.clear()
        with (
            closing(ConversationStore(settings.conversations_path, key=data_key, erase=erase)) as conversations,
            closing(PrivateFiles(settings.uploads_dir, key=data_key)) as files,
            closing(kept_keys),
            closing(voice),
            closing(
                ModelUpdates(
                    settings, read_network_settings, changed=changed, secret_of=lambda path: secrets.get(path.name)
                )
            ) as updates,
        ):
            services = Services(
                pool,
                tokens,
                serve_options,
                conversations=conversations,
                files=files,
                identity_of=identity_of,
                state_of=lambda model: look_at_model(gate, model.own_path),
                audit=AuditLog(settings.audit_path),
                voice=voice,
                updates=updates,
            )
            server = ApiServer(services)
            _start_log()
            show_qr = qr if qr is not None else not is_loopback(host)
            url = announce(serve_options, listener.getsockname()[1], pool, words, qr=show_qr, json=json)
            with (
                keeping_up(
                    settings,
                    lambda: [*(model.path for model in served), *(part.path for part in store.list_parts())],
                    is_idle=lambda: not services.admission.num_here,
                    report=_log.warning,
                    unlock=lambda path: secrets.get(path.name) or kept_keys.known(path),
                ),
                serving_notice(words, url, [model.name for model in served]),
            ):
                code = run_server(server, listener)
            services.refusals.close()
    if code:
        raise typer.Exit(code)


def missing_libraries() -> list[str]:
    """Of those that serving needs."""
    return [name for name in _EXTRA if find_spec(name) is None]


def _require_libraries() -> None:
    """Raises UnsupportedError."""
    if missing := missing_libraries():
        raise UnsupportedError(
            f"the server needs libraries that are not here ({', '.join(missing)}); pip install 'pocketseek[serve]'"
        )


def _needs_token(host: str, tokens: TokenStore, wanted: bool) -> bool:
    """Raises UsageError where a token is needed and there is none."""
    needed = wanted or not is_loopback(host)
    if needed and not tokens.list():
        where = "with --require-token" if is_loopback(host) else f"on {host}, where others can reach it,"
        raise UsageError(f"serving {where} needs an access token; make one with `pocketseek token create NAME`")
    return needed


def _served_models(
    settings: Settings, names: Sequence[str] | None, *, yes: bool, trust: str | None
) -> list[ServedModel]:
    """Those that were named, or all that are installed, or the demo model."""
    from pocketseek.apps.library import served_model
    from pocketseek.package.store import ModelStore

    installed = [model.name for model in ModelStore(settings.models_dir).list()]
    wanted: list[str] | list[None] = list(names or ()) or installed or [None]
    if trust is not None and len(wanted) > 1:
        raise UsageError("--trust is the key of one model; name the one to serve, or use `pocketseek trust accept`")
    chosen = dict(choose_model(settings, name, yes=yes, may_be_onnx=True, trust=trust) for name in wanted)
    return [served_model(Path(name).name or name, path) for name, path in chosen.items()]


def _pool(
    settings: Settings,
    served: Sequence[ServedModel],
    open_model: OpenModel,
    memory_bytes: int | None,
    released: Callable[[ServedModel, Engine], None],
    adapters_of: Callable[[ServedModel], list[ServedModel]],
) -> ModelPool:
    from pocketseek.apps.model_pool import ModelPool
    from pocketseek.device.probe import check_device
    from pocketseek.runtime.opening import available_bytes

    return ModelPool(
        served,
        open_model,
        memory_bytes=memory_bytes,
        released=released,
        adapters_of=adapters_of,
        free_bytes=lambda: available_bytes(check_device(data_dir=settings.home)),
    )


def _start_log() -> None:
    """To standard error: who asked for what kind of thing and when, see docs/serve-api.md."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("pocketseek").setLevel(logging.INFO)
