"""`pocketseek convert SRC [DST]`: a checkpoint becomes a package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.console import format_bytes, print_json, print_text, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.errors import UsageError
from pocketseek.settings import read_settings


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC", help="A .gguf file, a .safetensors file, or a folder of them.", show_default=False
        ),
    ],
    destination: Annotated[
        Path | None,
        typer.Argument(metavar="DST", help="Where the package goes; by default it is installed.", show_default=False),
    ] = None,
    quant: Annotated[
        Literal["q4", "q8", "keep"] | None,
        typer.Option(help="Bits of the weights; default: keep for GGUF, q4 for safetensors.", show_default=False),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model; default: from the source.", show_default=False)
    ] = None,
    json: options.Json = False,
) -> None:
    """Convert a GGUF or safetensors checkpoint and install it. An interrupted conversion leaves nothing behind."""
    from pocketseek.convert.pipeline import convert_checkpoint
    from pocketseek.package.manifest import read_manifest
    from pocketseek.package.store import ModelStore

    if destination is not None and not str(destination):
        raise UsageError("the destination is empty; give a path or leave it out")
    settings = read_settings()
    words = Words(settings.language)
    ModelStore(settings.models_dir).clean()  # what killed conversions left takes the space that this one needs
    with progress_bar() as show:
        path = convert_checkpoint(
            source,
            destination,
            quant=quant,
            name=name,
            models_dir=settings.models_dir,
            progress=lambda stage, done, total: show(words(messages.CONVERTING), done, total),
        )
    manifest = read_manifest(path)
    if json:
        print_json(
            {
                "name": manifest.name,
                "path": str(path),
                "num_bytes": manifest.num_bytes,
                "recipe": dict(manifest.recipe),
                "quality": dict(manifest.quality),
            }
        )
    else:
        size = format_bytes(manifest.num_bytes)
        print_text(words(messages.INSTALLED, name=manifest.name, size=size, path=path))
