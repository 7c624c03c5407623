"""`pocketseek export MODEL DST`: graphs for ONNX Runtime."""

from __future__ import annotations

import importlib.util
import json as json_text
import os
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pocketseek.cli import export_messages, options
from pocketseek.cli.console import format_bytes, print_json, print_text, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.cli.model_choice import choose_model
from pocketseek.cli.text_input import read_text_file
from pocketseek.errors import UnsupportedError, UsageError
from pocketseek.settings import Settings, read_settings

_LIBRARIES = ("onnx", "onnxruntime")


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="An installed model, a package, or a checkpoint as for convert.", show_default=False
        ),
    ],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The folder to make.", show_default=False)],
    quant: Annotated[Literal["int8-static"], typer.Option(help="How it is quantised.")] = "int8-static",
    format: Annotated[Literal["onnx", "ort"], typer.Option(help="Of the graphs.")] = "onnx",
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Text of the kind that the model will read.", show_default=False),
    ] = None,
    calibration_method: Annotated[
        Literal["minmax", "percentile", "entropy"], typer.Option(help="How ranges of activations are chosen.")
    ] = "minmax",
    calibration_tokens: Annotated[int, typer.Option(min=1024, help="How much of the texts.")] = 4096,
    percentile: Annotated[float, typer.Option(help="With --calibration-method percentile.")] = 99.99,
    activation_bits: Annotated[
        Literal["8", "16"], typer.Option(help="Of activations: 8 (16 where 8 would not do), or 16 everywhere.")
    ] = "8",
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Fixed shapes, as NPUs need them: tokens of a pass.", show_default=False)
    ] = None,
    context: Annotated[
        int | None, typer.Option(min=2, help="With --tokens: of the whole, cache included.", show_default=False)
    ] = None,
    opset: Annotated[int, typer.Option(help="Version of ONNX's operators.")] = 21,
    json: options.Json = False,
) -> None:
    """Export a model as ONNX graphs for NPUs. An interrupted export leaves nothing behind."""
    _require_libraries()
    from pocketseek.convert.static_export import StaticOptions, export_static

    if not calibrate:
        raise UsageError("int8-static needs text to find its ranges with; give --calibrate FILE, best several kinds")
    settings = read_settings()
    words = Words(settings.language)
    path = _located(settings, source)
    chosen = StaticOptions(
        bits=16 if activation_bits == "16" else 8,
        method=calibration_method,
        percentile=percentile,
        calibration_tokens=calibration_tokens,
        tokens=tokens,
        context=context,
        opset=opset,
    )
    texts = [read_text_file(file) for file in calibrate]
    with progress_bar("stages") as show:
        folder = export_static(
            path,
            destination,
            calibration=texts,
            options=chosen,
            format=format,
            progress=lambda _stage, done, total: show(words(export_messages.EXPORTING), done, total),
        )
    _report(folder, words, json=json)


def _require_libraries() -> None:
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise UnsupportedError(f"exporting needs {' and '.join(missing)}; install: pip install 'pocketseek[export]'")


def _located(settings: Settings, source: str) -> Path:
    """A checkpoint where there is one, else a package."""
    path = Path(source)
    is_checkpoint = path.suffix in (".gguf", ".safetensors") or (path / "config.json").is_file()
    if source and os.path.lexists(path) and is_checkpoint:
        return path
    return choose_model(settings, source)[1]


def _report(folder: Path, words: Words, *, json: bool) -> None:
    described: dict[str, Any] = json_text.loads((folder / "model.json").read_bytes())
    num_bytes = sum(file["num_bytes"] for file in described["files"].values())
    static = described["static"]
    if json:
        facts = {"name": described["name"], "path": str(folder), "num_bytes": num_bytes}
        print_json(facts | {"stages": [stage["file"] for stage in described["stages"]], "static": static})
        return
    values = {"path": shlex.quote(str(folder)), "size": format_bytes(num_bytes)}
    print_text(words(export_messages.EXPORTED, num_files=len(described["files"]) + 1, **values))
    if static["activation_bits"] == 8:
        attention, mlp = (sum(bits[half] == 16 for bits in static["layer_bits"]) for half in (0, 1))
        layers = len(static["layer_bits"])
        print_text(words(export_messages.STATIC_BITS, attention=attention, mlp=mlp, layers=layers))
