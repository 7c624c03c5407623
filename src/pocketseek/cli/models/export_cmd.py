"""`pocketseek export MODEL DST`: graphs for ONNX Runtime."""

from __future__ import annotations

import json as json_text
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pocketseek.cli import options
from pocketseek.cli.completion import complete_model
from pocketseek.cli.console import format_bytes, print_json, print_text, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.cli.models import export_messages
from pocketseek.cli.run.model_choice import choose_model
from pocketseek.cli.text_input import read_text_file
from pocketseek.errors import UsageError
from pocketseek.settings import Settings, read_settings


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="An installed model, a package, or a checkpoint as for convert.",
            show_default=False,
            autocompletion=complete_model,
        ),
    ],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The folder to make.", show_default=False)],
    quant: Annotated[
        Literal["int4", "int8", "f16", "int8-static"] | None,
        typer.Option(
            help="int4: the weights of the package as they are, in 4 and 8 bits; int8: all in 8; f16: in float16; "
            "int8-static: activations as well, for NPUs.",
            show_default="int4; with --calibrate int8-static",
        ),
    ] = None,
    format: Annotated[Literal["onnx", "ort"], typer.Option(help="Of the graphs.")] = "onnx",
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="For int8-static: text of the kind that the model will read.", show_default=False
        ),
    ] = None,
    calibration_method: Annotated[
        Literal["minmax", "percentile", "entropy"] | None,
        typer.Option(help="How ranges of activations are chosen.", show_default="minmax"),
    ] = None,
    calibration_tokens: Annotated[
        int | None, typer.Option(min=1024, help="How much of the texts.", show_default="4096")
    ] = None,
    percentile: Annotated[
        float | None, typer.Option(help="With --calibration-method percentile.", show_default="99.99")
    ] = None,
    activation_bits: Annotated[
        Literal["8", "16"] | None,
        typer.Option(help="Of activations: 8 (16 where 8 would not do), or 16 everywhere.", show_default="8"),
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Fixed shapes, as NPUs need them: tokens of a pass.", show_default=False)
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Most tokens of a conversation; with --tokens the fixed size, cache included.",
            show_default=False,
        ),
    ] = None,
    opset: Annotated[int, typer.Option(help="Version of ONNX's operators.")] = 21,
    trust: options.Trust = None,
    json: options.Json = False,
) -> None:
    """Export a model as ONNX graphs for ONNX Runtime. An interrupted export leaves nothing behind."""
    from pocketseek.convert.export_package import require_libraries

    require_libraries()
    settings = read_settings()
    words = Words(settings.language)
    quant = quant or ("int8-static" if calibrate else "int4")
    typed = {
        "calibrate": calibrate,
        "calibration_method": calibration_method,
        "calibration_tokens": calibration_tokens,
        "percentile": percentile,
        "activation_bits": activation_bits,
        "tokens": tokens,
    }
    if quant != "int8-static":
        _refuse_static_options(quant, typed)
        _export_package(settings, source, destination, quant, format, opset, context, trust, json=json)
        return
    from pocketseek.convert.static_export import StaticOptions, export_static
    from pocketseek.runtime.onnx.opening import refuse_sealed

    if not calibrate:
        raise UsageError("int8-static needs text to find its ranges with; give --calibrate FILE, best several kinds")
    if percentile is not None and calibration_method != "percentile":
        raise UsageError("--percentile goes with --calibration-method percentile; give both or leave it out")
    path = _located(settings, source, trust)
    refuse_sealed(path)
    usual = StaticOptions()
    chosen = StaticOptions(
        bits=16 if activation_bits == "16" else 8,
        method=calibration_method or usual.method,
        percentile=usual.percentile if percentile is None else percentile,
        calibration_tokens=calibration_tokens or usual.calibration_tokens,
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


def _refuse_static_options(quant: str, typed: Mapping[str, object]) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in typed.items() if value is not None]
    if given:
        go, them = ("goes", "it") if len(given) == 1 else ("go", "them")
        raise UsageError(
            f"{quant} keeps activations in float; {' and '.join(given)} {go} with --quant int8-static: leave {them} out"
        )


def _export_package(
    settings: Settings,
    source: str,
    destination: Path,
    quant: Literal["int4", "int8", "f16"],
    format: Literal["onnx", "ort"],
    opset: int,
    context: int | None,
    trust: str | None,
    *,
    json: bool,
) -> None:
    from pocketseek.convert.export_package import export_package
    from pocketseek.runtime.onnx.opening import refuse_sealed

    words = Words(settings.language)
    if _is_checkpoint(source):
        raise UsageError(
            f"{source} is a checkpoint; make a package of it first: pocketseek convert {shlex.quote(source)}"
        )
    path = _package(settings, source, trust)
    refuse_sealed(path)
    with progress_bar("layers") as show:
        folder = export_package(
            path,
            destination,
            quant=quant,
            format=format,
            opset=opset,
            context=context,
            progress=lambda _stage, done, total: show(words(export_messages.EXPORTING), done, total),
        )
    _report(folder, words, json=json)


def _is_checkpoint(source: str) -> bool:
    path = Path(source)
    is_one = path.suffix in (".gguf", ".safetensors") or (path / "config.json").is_file()
    return bool(source) and os.path.lexists(path) and is_one


def _package(settings: Settings, source: str, trust: str | None) -> Path:
    """Raises TrustError for one that may not be used: its export is not signed, so nobody would ask again."""
    from pocketseek.package.trust.gatekeeper import Gatekeeper

    path = choose_model(settings, source, trust=trust)[1]
    Gatekeeper.of(settings).check(path)
    return path


def _located(settings: Settings, source: str, trust: str | None) -> Path:
    """A checkpoint where there is one, else a package."""
    if not _is_checkpoint(source):
        return _package(settings, source, trust)
    if trust is not None:
        raise UsageError("a checkpoint is not signed; leave out --trust")
    return Path(source)


def _report(folder: Path, words: Words, *, json: bool) -> None:
    described: dict[str, Any] = json_text.loads((folder / "model.json").read_bytes())
    num_bytes = sum(file["num_bytes"] for file in described["files"].values())
    static = described.get("static")
    if json:
        facts = {"name": described["name"], "path": str(folder), "num_bytes": num_bytes, "quant": described["quant"]}
        print_json(facts | {"stages": [stage["file"] for stage in described["stages"]], "static": static})
        return
    values = {"path": shlex.quote(str(folder)), "size": format_bytes(num_bytes)}
    print_text(words(export_messages.EXPORTED, num_files=len(described["files"]) + 1, **values))
    if static is not None and static["activation_bits"] == 8:
        attention, mlp = (sum(bits[half] == 16 for bits in static["layer_bits"]) for half in (0, 1))
        layers = len(static["layer_bits"])
        print_text(words(export_messages.STATIC_BITS, attention=attention, mlp=mlp, layers=layers))
