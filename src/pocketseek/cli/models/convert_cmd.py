"""`pocketseek convert SRC [DST]`: a checkpoint becomes a package."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pocketseek.cli import options
from pocketseek.cli.console import (
    ShowProgress,
    format_bytes,
    note,
    print_json,
    print_text,
    progress_bar,
)
from pocketseek.cli.messages import Words
from pocketseek.cli.models import convert_messages
from pocketseek.cli.models.quality_view import quality_lines
from pocketseek.cli.sizes import parse_size
from pocketseek.cli.text_input import read_text_file
from pocketseek.errors import NotFoundError, UsageError
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.convert.unfinished import GoingOn

_REASONS = {
    "version": convert_messages.REFUSED_VERSION,
    "source": convert_messages.REFUSED_SOURCE,
    "settings": convert_messages.REFUSED_SETTINGS,
    "damaged": convert_messages.REFUSED_DAMAGED,
}
_LABELS = {"check": convert_messages.CHECKING, "sensitivity": convert_messages.FINDING_SENSITIVITY}
_ADDRESS = re.compile("(?:https?|hf|s3):/")  # one slash: Path took the other
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]*[\w-](?<!\.gguf)(?<!\.safetensors)")


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
        Literal["q4", "q4-pure", "q8", "keep"] | None,
        typer.Option(help="Bits of the weights; default: keep for GGUF, q4 for safetensors.", show_default=False),
    ] = None,
    target_size: Annotated[
        int | None,
        typer.Option(
            parser=parse_size,
            metavar="SIZE",
            help="In place of --quant: the whole package within this (1.0GB, 90MB), bits where they matter most; "
            "best with --calibrate.",
            show_default=False,
        ),
    ] = None,
    bits: Annotated[
        float | None,
        typer.Option(help="The same by bits for each weight, say 4.5.", show_default=False),
    ] = None,
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Text of the kind that the model will read (several times): four bits lose much less. Takes longer.",
            show_default=False,
        ),
    ] = None,
    calibration_tokens: Annotated[int, typer.Option(min=1024, help="With --calibrate: how much of the texts.")] = 16384,
    check: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Text that is not among --calibrate (several times, a file for each kind): what is lost on it is "
            "measured and kept in the package.",
            show_default=False,
        ),
    ] = None,
    check_tokens: Annotated[int, typer.Option(min=64, help="With --check: tokens of each text.")] = 2048,
    name: Annotated[
        str | None, typer.Option(help="Name of the model; default: from the source.", show_default=False)
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Do not go on with an interrupted conversion; begin anew.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Convert a GGUF or safetensors checkpoint and install it. The same command again goes on with an interrupted
    conversion if that takes long (--calibrate, --target-size, --bits); others leave nothing behind."""
    from pocketseek.convert.pipeline import convert_checkpoint
    from pocketseek.package.manifest import read_manifest
    from pocketseek.package.store import ModelStore
    from pocketseek.package.trust.audit import AuditLog

    if destination is not None and not str(destination):
        raise UsageError("the destination is empty; give a path or leave it out")
    _refuse_address(source)
    settings = read_settings()
    words = Words(settings.language)
    ModelStore(settings.models_dir).clean()  # what killed conversions left takes the space that this one needs
    with ExitStack() as bars:
        show = _Bars(words, bars)
        path = convert_checkpoint(
            source,
            destination,
            quant=quant,
            target_bytes=target_size,
            bits=bits,
            calibration=[_calibration_text(path) for path in calibrate or ()],
            calibration_tokens=calibration_tokens,
            checks=_checks(check or ()),
            check_tokens=check_tokens,
            name=name,
            models_dir=settings.models_dir,
            progress=show,
            fresh=fresh,
            tell_going_on=lambda going_on: show.note(going_on_line(going_on, words)),
        )
    manifest = read_manifest(path)
    if destination is None:
        AuditLog(settings.audit_path).note("model-installed", model=path.name)
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
        message = convert_messages.INSTALLED if destination is None else convert_messages.WRITTEN
        values = {"name": manifest.name} if destination is None else {}
        print_text(words(message, path=shlex.quote(str(path)), size=format_bytes(manifest.num_bytes), **values))
        told = quality_lines(manifest.quality, words) if sys.stdout.isatty() else []
        calibration: Any = manifest.quality.get("calibration")
        if calibration and not (told and calibration["matrices"]):
            note(_calibrated(calibration, words))
        for line in told:
            print_text(line)


def _calibration_text(path: Path) -> str:
    """With the file's name in what is refused."""
    from pocketseek.convert.calibration_text import check_is_text

    text = read_text_file(path)
    if not text.strip():
        raise UsageError(f"{path} is empty; leave it out, or give a file with text")
    check_is_text(text, str(path))
    return text


def _checks(paths: Sequence[Path]) -> dict[str, str]:
    """By the names of the files, as the results are told."""
    if len({path.stem for path in paths}) < len(paths):
        raise UsageError("two texts to check with have the same name; rename one, since results are told by name")
    return {path.stem: read_text_file(path) for path in paths}


class _Bars:
    """One bar after the other: what is converted is counted in bytes, what is measured in layers."""

    def __init__(self, words: Words, bars: ExitStack) -> None:
        self._words = words
        self._bars = bars
        self._unit = ""
        self._show: ShowProgress | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        unit = "layers" if stage in _LABELS else "bytes"
        if self._show is None or unit != self._unit:
            self._bars.close()
            self._unit, self._show = unit, self._bars.enter_context(progress_bar(unit))
        self._show(self._words(_LABELS.get(stage, convert_messages.CONVERTING)), done, total)

    def note(self, text: str) -> None:
        """A line between the bars."""
        self._bars.close()
        self._show = None
        note(text)


def going_on_line(going_on: GoingOn, words: Words) -> str:
    """One line."""
    total, done, measured = going_on.num_layers, going_on.num_done, going_on.num_measured
    if going_on.is_kept:
        return words(convert_messages.KEPT)
    if going_on.refused is not None:
        return words(convert_messages.BEGINNING_ANEW, reason=words(_REASONS[going_on.refused]))
    if done is not None and done == total:
        return words(convert_messages.GOING_ON_ALL, total=total)
    if done:
        return words(convert_messages.GOING_ON_LAYERS, done=done, total=total)
    if measured is not None and done is None:
        return words(convert_messages.GOING_ON_MEASURED, done=measured, total=total)
    return words(convert_messages.GOING_ON_BEGINNING)


def _calibrated(calibration: Any, words: Words) -> str:
    """What was used, and for what."""
    if not calibration["matrices"]:
        return words(convert_messages.NOT_CALIBRATED)
    return words(convert_messages.CALIBRATED, tokens=calibration["tokens"], matrices=calibration["matrices"])


def _refuse_address(source: Path) -> None:
    """What looks like a web address or the name of a repository, and is no path here."""
    text = _ADDRESS.sub(r"\g<0>/", str(source))
    if not os.path.lexists(source) and (_ADDRESS.match(text) or _REPOSITORY.fullmatch(text)):
        is_file = text.endswith((".gguf", ".safetensors"))
        remedy = "fetch the file first, then convert it" if is_file else "`pocketseek pull` fetches and converts it"
        raise NotFoundError(f"{text} does not exist here, and convert takes what is here; {remedy}")
