"""From the MODEL a user typed (or did not) to a package and its engine; installs the demo model if that is meant."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketseek.cli import messages
from pocketseek.cli.console import confirm, is_interactive, progress_bar
from pocketseek.cli.guard.key_options import NO_KEY, KeyOptions, secret_for
from pocketseek.cli.guard.state_key import cache_key
from pocketseek.cli.guard.trust_choice import settle_trust
from pocketseek.cli.messages import Words
from pocketseek.cli.run import demo_messages
from pocketseek.cli.run.engine_choice import NO_OPTIONS, EngineOptions, check_adapter, prepare_engine, tell_provider
from pocketseek.errors import FormatError, NotFoundError, StorageError, UsageError
from pocketseek.settings import Settings
from pocketseek.types import SamplingParams

if TYPE_CHECKING:
    from pocketseek.runtime.engine import Engine

_PHASES = {
    "download": demo_messages.DOWNLOADING,
    "unpack": demo_messages.UNPACKING,
    "convert": demo_messages.CONVERTING,
}


def choose_model(
    settings: Settings,
    model: str | None,
    *,
    yes: bool = False,
    may_be_onnx: bool = False,
    trust: str | None = None,
) -> tuple[str, Path]:
    """(name, package). Without a name: the only installed model, or the demo model if the user agrees.

    may_be_onnx: or an ONNX model by path. trust: fingerprint of a key that is to be trusted, see trust_choice.py.

    Asked for by name, `demo` is installed without a question unless a person is there to answer it.
    """
    from pocketseek.apps.demo_model import DEMO_NAME
    from pocketseek.apps.library import default_model, locate
    from pocketseek.package.store import ModelStore
    from pocketseek.runtime.onnx.model_files import is_onnx_model

    words = Words(settings.language)
    store = ModelStore(settings.models_dir)
    name = model if model is not None else default_model(store)
    if name is None:
        if not yes and not is_interactive():
            raise NotFoundError("no model is installed; name one: `pocketseek chat demo` installs the demo model")
        name = DEMO_NAME
    if may_be_onnx and not store.is_installed(name) and is_onnx_model(Path(name).expanduser()):
        path = Path(name).expanduser()
        if trust is not None:
            raise UsageError("an ONNX model cannot be signed; leave out --trust")
        return path.resolve().stem, path
    path = locate(store, name, lambda: _install_demo(settings, words, yes=yes))
    _refuse_adapter(name, path)
    settle_trust(settings, path, trust)
    return name, path


def _refuse_adapter(name: str, path: Path) -> None:
    """What else may be wrong with the package is told by whoever opens it."""
    from pocketseek.package.adapter_layout import refuse_adapter
    from pocketseek.package.manifest import Manifest, read_manifest

    manifest: Manifest | None = None
    with suppress(FormatError, NotFoundError, StorageError):
        manifest = read_manifest(path)
    if manifest is not None:
        refuse_adapter(manifest, name, f"use it with that model: --adapter {name}")


def _install_demo(settings: Settings, words: Words, *, yes: bool) -> Path:
    from pocketseek.apps.demo_model import DEMO_NAME, install_demo
    from pocketseek.package.trust.audit import AuditLog

    if not yes and is_interactive() and not confirm(words(demo_messages.CONFIRM), default=True):
        raise NotFoundError("no model was installed; `pocketseek convert FILE` installs a model file you have")
    with progress_bar() as show:
        path = install_demo(
            settings.models_dir,
            progress=lambda phase, done, total: show(words(_PHASES[phase]), done, total),
        )
    AuditLog(settings.audit_path).note("model-installed", model=DEMO_NAME)
    return path


def open_engine(
    settings: Settings,
    path: Path,
    *,
    kv: str | None = None,
    kv_bytes: int | None = None,
    memory_bytes: int | None = None,
    prefix_cache: bool = True,
    prefix_on_disk: bool = True,
    speculation: bool = True,
    temperature_limit_c: float | None = None,
    engine: EngineOptions = NO_OPTIONS,
    key: KeyOptions = NO_KEY,
    adapter: str | None = None,
    quiet: bool = False,
) -> Engine:
    """The engine for a package, with a bar while its bytes are checked (before the first use, or after a change), or
    for an ONNX model. prefix_on_disk: False leaves nothing of what the model was given on disk. key: of a sealed one; a
    person is asked for a passphrase. quiet: say nothing of who computes."""
    from pocketseek.runtime.load import load

    check_adapter(settings, path, engine, adapter)
    kind = prepare_engine(settings, path, engine, quiet=quiet)
    words = Words(settings.language)
    label = words(messages.VERIFYING)
    secret = secret_for(path, settings, key)
    for adapter_path in adapter_paths(settings, adapter):
        secret = secret or secret_for(adapter_path, settings, key)
    with progress_bar() as show, closing(secret) if secret is not None else nullcontext():
        opened = load(
            path,
            kv=kv,
            kv_bytes=kv_bytes,
            memory_bytes=memory_bytes,
            prefix_cache=prefix_cache,
            prefix_store_bytes=None if prefix_on_disk else 0,
            speculation=speculation,
            temperature_limit_c=temperature_limit_c,
            engine=kind,
            provider=engine.provider,
            secret=secret,
            adapter=adapter,
            cache_key=cache_key(settings),
            progress=lambda done, total: show(label, done, total),
        )
    tell_provider(opened.provider_choice, words, engine, quiet=quiet)
    return opened


def adapter_paths(settings: Settings, adapter: str | None) -> list[Path]:
    """Of the one that was named. Raises NotFoundError."""
    from pocketseek.package.store import ModelStore

    return [] if adapter is None else [ModelStore(settings.models_dir).resolve_adapter(adapter)]


def sampling_params(path: Path, **chosen: float | None) -> SamplingParams:
    """The package's recommended sampling with what the user chose instead; None: not chosen.

    Raises UsageError, which names the option.
    """
    from pocketseek.apps.library import recommended_sampling

    return _with_chosen(recommended_sampling(path), chosen)


def opened_sampling(engine: Engine, **chosen: float | None) -> SamplingParams:
    """The same once the model is open: what a sealed one recommends is not known before."""
    return _with_chosen(engine.recommended_sampling, chosen)


def _with_chosen(recommended: SamplingParams, chosen: Mapping[str, float | None]) -> SamplingParams:
    from pocketseek.runtime.sampling import validate_sampling

    given: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    sampling = replace(recommended, **given)
    try:
        validate_sampling(sampling)
    except UsageError as error:
        name, _, rest = str(error).partition(" ")
        if name not in given:
            raise
        raise UsageError(f"--{name.replace('_', '-')} {rest}") from error
    return sampling
