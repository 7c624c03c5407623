"""Which files the stages of a model are opened from: its own, or those of its prepared copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pocketseek.runtime.onnx.model_files import OnnxModel
from pocketseek.runtime.onnx.prepared import PreparedCopies


@dataclass(frozen=True)
class StageFiles:
    """prepared: the folder of the copy that they are, optimised before, so that opening only has to map it."""

    paths: tuple[Path, ...]
    prepared: Path | None = None


def originals(model: OnnxModel) -> StageFiles:
    return StageFiles(tuple(stage.path for stage in model.stages))


def files_for(model: OnnxModel, copies: PreparedCopies | None, prepare: Callable[[Path, Path], None]) -> StageFiles:
    """The model's own files, or those of its prepared copy, made now if need be. prepare(source, copy) writes one."""
    own = originals(model)
    if copies is None or any(path.suffix == ".ort" for path in own.paths):
        return own

    def make(folder: Path) -> None:
        for number, path in enumerate(own.paths):
            prepare(path, folder / _copy_name(number))

    place = copies.find_or_make(model.weight_files, make)
    if place is None:
        return own
    return StageFiles(tuple(place / _copy_name(number) for number in range(len(own.paths))), place)


def _copy_name(number: int) -> str:
    return f"stage-{number:03}.onnx"
