"""`pocketseek adapt add|list|remove|merge`: adapters (LoRA) of installed models; `train` and `distill` have modules of
their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.adapt import adapt_messages, distill_cmd, federate_cmd, train_cmd
from pocketseek.cli.adapt.adapter_install import install_adapter, place_for
from pocketseek.cli.console import format_bytes, note, print_json, print_table, print_text, progress_bar
from pocketseek.cli.guard.seal_view import is_sealed
from pocketseek.cli.messages import Words
from pocketseek.cli.models.remove_cmd import remove as remove_installed
from pocketseek.errors import UsageError
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.package.store import InstalledModel, ModelStore

app = typer.Typer(
    help="Adapters (LoRA): add, list, remove, merge, train, alone or together; distill.", no_args_is_help=True
)
app.command("train")(train_cmd.train)
app.command("distill")(distill_cmd.distill)
app.add_typer(federate_cmd.app, name="federate")

Base = Annotated[
    str, typer.Argument(metavar="MODEL", help="The model that it is for: a name, or a path.", show_default=False)
]
Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="What PEFT's save_pretrained wrote.", show_default=False)
]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What it is called here.", show_default="the folder's name")
]
AdapterName = Annotated[str, typer.Argument(metavar="NAME", help="Name of an adapter.", show_default=False)]
Replace = Annotated[bool, typer.Option("--replace", help="Take the place of an adapter of that name.")]


@app.command("add")
def add(model: Base, folder: Folder, name: Name = None, replace: Replace = False, json: options.Json = False) -> None:
    """Install an adapter in PEFT's format for a model, which stays as it is."""
    from pocketseek.convert.provenance import sanitised
    from pocketseek.package.manifest import read_manifest
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    store = ModelStore(settings.models_dir)
    base = store.resolve(model)
    called = name if name is not None else sanitised(folder.resolve().name) or "adapter"
    destination = place_for(store, called, replace=replace)
    error = install_adapter(settings, folder, base, destination)
    manifest = read_manifest(destination)
    rank = manifest.recipe.get("rank")
    if json:
        print_json(
            {
                "name": called,
                "path": str(destination),
                "base": manifest.adapter.name if manifest.adapter is not None else "",
                "rank": rank,
                "num_bytes": manifest.num_bytes,
                "relative_error": error,
            }
        )
        return
    base_name = manifest.adapter.name if manifest.adapter is not None else base.name
    words = Words(settings.language)
    size = format_bytes(manifest.num_bytes)
    print_text(words(adapt_messages.ADDED, name=called, base=base_name, rank=rank, size=size))


@app.command("list")
def list_adapters(json: options.Json = False) -> None:
    """Show the adapters, and which models they are for."""
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    words = Words(settings.language)
    store = ModelStore(settings.models_dir)
    adapters = store.list_adapters()
    if json:
        print_json({"adapters": [_facts(adapter) for adapter in adapters]})
        return
    if not adapters:
        print_text(words(adapt_messages.NO_ADAPTERS))
        return
    columns = (
        messages.COLUMN_NAME,
        adapt_messages.COLUMN_BASE,
        adapt_messages.COLUMN_RANK,
        adapt_messages.COLUMN_TARGETS,
        messages.COLUMN_SIZE,
    )
    print_table([words(column) for column in columns], [_row(adapter) for adapter in adapters], essential=(0, 1))
    for adapter in adapters:
        _tell_base(store, adapter, words)


def _tell_base(store: ModelStore, adapter: InstalledModel, words: Words) -> None:
    """If it is not there as it was."""
    from pocketseek.package.manifest import read_manifest_bytes, version_id

    base = adapter.manifest.adapter
    if base is None:
        return
    if not store.is_installed(base.name):
        note(words(adapt_messages.BASE_MISSING, name=adapter.name, base=base.name))
    elif version_id(read_manifest_bytes(store.resolve(base.name))) != base.manifest_sha256:
        note(words(adapt_messages.BASE_CHANGED, name=adapter.name, base=base.name))


@app.command("remove")
def remove(name: AdapterName, yes: options.Yes = False, json: options.Json = False) -> None:
    """Delete an adapter. Asks first; a script says --yes."""
    from pocketseek.package.store import ModelStore

    store = ModelStore(read_settings().models_dir)
    store.resolve_adapter(name)
    if all(adapter.name != name for adapter in store.list_adapters()):
        raise UsageError(f"{name[:120]} is not an adapter; `pocketseek remove` deletes models")
    remove_installed(name, yes=yes, json=json)


@app.command("merge")
def merge(
    model: Base,
    adapter: AdapterName,
    destination: Annotated[
        Path | None,
        typer.Argument(metavar="[DST]", help="Folder to create.", show_default="among the installed models"),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What it is called.", show_default="MODEL-NAME")
    ] = None,
    json: options.Json = False,
) -> None:
    """Write a model and an adapter as one new package; both stay as they are."""
    from pocketseek.adapt.merge import merge_adapter
    from pocketseek.convert.provenance import sanitised
    from pocketseek.package.manifest import read_manifest
    from pocketseek.package.paths import check_model_name
    from pocketseek.package.store import ModelStore
    from pocketseek.package.trust.audit import AuditLog
    from pocketseek.package.trust.gatekeeper import Gatekeeper

    settings = read_settings()
    words = Words(settings.language)
    store = ModelStore(settings.models_dir)
    base, change = store.resolve(model), store.resolve_adapter(adapter)
    usual = (destination is not None and sanitised(destination.resolve().name)) or f"{base.name}-{change.name}"
    called = check_model_name(name if name is not None else usual)
    target = destination if destination is not None else store.path_for_new(called)
    with progress_bar() as show:
        error = merge_adapter(
            base,
            change,
            target,
            name=called,
            progress=lambda done, total: show(words(adapt_messages.MERGING), done, total),
            admit=Gatekeeper.of(settings).admit,
        )
    if destination is None:
        AuditLog(settings.audit_path).note("model-installed", model=called)
    num_bytes = read_manifest(target).num_bytes
    if json:
        facts = {"name": called, "path": str(target), "base": base.name, "adapter": change.name}
        print_json({**facts, "num_bytes": num_bytes, "relative_error": error})
        return
    said = {"path": target, "base": base.name, "adapter": change.name, "size": format_bytes(num_bytes)}
    print_text(words(adapt_messages.MERGED, **said, error=error))


def _targets(adapter: InstalledModel) -> list[str]:
    from pocketseek.package.adapter_layout import ADAPTER_TARGETS

    there = {tensor.name.split(".")[2] for tensor in adapter.manifest.tensors if tensor.name.startswith("layer.")}
    return [target for target in ADAPTER_TARGETS if target in there]


def _facts(adapter: InstalledModel) -> dict[str, object]:
    base = adapter.manifest.adapter
    return {
        "name": adapter.name,
        "path": str(adapter.path),
        "base": base.name if base is not None else "",
        "rank": adapter.manifest.recipe.get("rank"),
        "targets": _targets(adapter),
        "num_bytes": adapter.num_bytes,
        "sealed": is_sealed(adapter.path),
        "version": adapter.manifest.version,
    }


def _row(adapter: InstalledModel) -> tuple[str, ...]:
    base = adapter.manifest.adapter
    return (
        adapter.name,
        base.name if base is not None else "",
        str(adapter.manifest.recipe.get("rank", "")),
        " ".join(_targets(adapter)),
        format_bytes(adapter.num_bytes),
    )
