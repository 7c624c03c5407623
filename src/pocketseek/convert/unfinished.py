"""Conversions that can be gone on with: what is kept after each layer, and when it may be used.

Worth it are those that take long: with calibration texts, or with a size in place of a format. The package writer keeps
finished stages and the state beside them (package/journal.py); here is what that state says: the costs that were
measured (sensitivity_state.py), the losses of the matrices written, how far calibration is, and the text's hidden
states before the next layer. Going on gives the same package, byte for byte, as never having been interrupted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

import pocketseek
from pocketseek.convert.calibrated_layers import CalibratedLayers, CalibrationState
from pocketseek.convert.encode import Loss
from pocketseek.convert.layer_math import Floats
from pocketseek.convert.mixed_recipe import MixedTarget, windows_to_measure
from pocketseek.convert.provenance import describe_weights
from pocketseek.convert.sensitivity import FORMATS
from pocketseek.convert.sensitivity_state import Measured
from pocketseek.convert.sources.base import Source
from pocketseek.package.journal import Refusal, ResumeKey
from pocketseek.package.manifest import JsonValue
from pocketseek.package.strict_json import Fields, format_error
from pocketseek.package.writer import PackageWriter
from pocketseek.types import ModelConfig

_STATE_VERSION = 3  # goes up when other code would go on in another way than the code that began
_STATE_BYTES = 4 << 20
_WHERE = "what an interrupted conversion left"
_CALIBRATION = frozenset({"next_layer", "num_matrices", "error", "norm", "worst"})


@dataclass(frozen=True)
class GoingOn:
    """What is to be told about an interruption.

    num_measured, num_done: of num_layers, whose costs were measured and that were written before; None: nothing of it
    needs to be done (costs), or nothing was (layers). refused: something is there and cannot be used, and why.
    is_kept: this run was interrupted itself, and the next one goes on.
    """

    num_layers: int
    num_measured: int | None = None
    num_done: int | None = None
    refused: Refusal | None = None
    is_kept: bool = False


TellGoingOn = Callable[[GoingOn], None]


@dataclass(frozen=True)
class StagesDone:
    """stages in order; losses: (tensor, format, loss) of the matrices in them, in order."""

    stages: tuple[str, ...] = ()
    losses: tuple[tuple[str, str, Loss], ...] = ()


def resume_key(
    source: Source, files: Mapping[str, bytes], asked: str | MixedTarget, windows: NDArray[np.int32] | None
) -> ResumeKey:
    """All that the tensors of the package depend on. A checkpoint file is the same if its size and its time are."""
    text = None if windows is None else hashlib.sha256(repr(windows.shape).encode() + windows.tobytes()).hexdigest()
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return {
        "version": {"state": _STATE_VERSION, "pocketseek": pocketseek.__version__, "numpy": np.__version__},
        "source": {"kind": source.kind, "weights": describe_weights(source)},
        "settings": {
            "asked": asdict(asked) if isinstance(asked, MixedTarget) else asked,
            "calibration": text,
            "files": hashes,
        },
    }


def kept_bytes(model: ModelConfig, windows: NDArray[np.int32] | None) -> int:
    """What a conversion keeps on the disk besides the package, at most: the state and the text's hidden states, twice
    while they are replaced."""
    return 0 if windows is None else 2 * 4 * windows.size * model.hidden_size + _STATE_BYTES


def measuring_bytes(model: ModelConfig, windows: NDArray[np.int32] | None) -> int:
    """The same while costs are measured: a stream for each layer."""
    num_streams = model.num_layers + 1 + len(FORMATS)
    return 0 if windows is None else 2 * 4 * windows_to_measure(windows).size * model.hidden_size * num_streams


@contextmanager
def going_on(writer: PackageWriter, model: ModelConfig, tell: TellGoingOn | None) -> Iterator[Unfinished]:
    """The writer, entered; what is found of an interrupted conversion, and what is kept of this one, is told."""
    try:
        with writer:
            unfinished = Unfinished(writer, model)
            if tell is not None and (writer.found_work is not None or writer.refused is not None):
                tell(unfinished.found())
            yield unfinished
    finally:
        if tell is not None and writer.is_kept:
            tell(GoingOn(model.num_layers, is_kept=True))


class Unfinished:
    """Of one conversion. A CostKeeper, too. Without a resume key of the writer nothing is found and nothing kept."""

    def __init__(self, writer: PackageWriter, model: ModelConfig) -> None:
        self.writer = writer
        self._model = model
        self._work: dict[str, JsonValue] = dict(writer.found_work or {})

    def found(self) -> GoingOn:
        measured = self._work.get("costs")
        num_measured = measured["num_layers"] if isinstance(measured, Mapping) else None
        done = [stage for stage in self._stages_done().stages if stage.startswith("layer.")]
        return GoingOn(
            self._model.num_layers,
            num_measured if isinstance(num_measured, int) else None,
            len(done) if self._work.get("stages") else None,
            self.writer.refused,
        )

    def found_costs(self, num_tokens: int) -> Measured | None:
        """Of a CostKeeper."""
        value = self._work.get("costs")
        shape = (num_tokens, self._model.hidden_size)
        return None if value is None else Measured.from_json(value, lambda name: self.writer.found_array(name, shape))

    def keep_costs(self, measured: Measured) -> None:
        """Of a CostKeeper."""
        self._work["costs"] = measured.to_json()
        self.writer.keep(self._work, measured.arrays())

    def found_stages(self, calibrated: CalibratedLayers | None) -> StagesDone:
        """What is in the package already; calibration is put where it was."""
        value = self._work.get("calibration")
        if calibrated is not None and value is not None:
            state = _parse_calibration(value)
            shape = (calibrated.num_tokens, self._model.hidden_size)
            calibrated.go_on(state, self.writer.found_array(_hidden_name(state), shape))
        return self._stages_done()

    def keep_stages(self, done: StagesDone, calibrated: CalibratedLayers | None) -> None:
        arrays: dict[str, Floats] = {}
        self._work["stages"] = {
            "names": list(done.stages),
            "losses": [[name, format_name, _loss_to_json(loss)] for name, format_name, loss in done.losses],
        }
        if calibrated is not None and calibrated.hidden is not None:
            self._work["calibration"] = _calibration_to_json(calibrated.state)
            arrays[_hidden_name(calibrated.state)] = calibrated.hidden
        self.writer.keep(self._work, arrays)

    def _stages_done(self) -> StagesDone:
        value = self._work.get("stages")
        if value is None:
            return StagesDone()
        fields = Fields(value, _WHERE, frozenset({"names", "losses"}))
        losses = tuple(_parse_loss(item) for item in fields.items("losses"))
        return StagesDone(tuple(str(name) for name in fields.items("names")), losses)


def _hidden_name(state: CalibrationState) -> str:
    return f"hidden-{state.next_layer}"


def _loss_to_json(loss: Loss) -> list[JsonValue]:
    return [loss.squared_error.hex(), loss.squared_values.hex(), loss.is_exact]


def _parse_loss(value: JsonValue) -> tuple[str, str, Loss]:
    match value:
        case [str(name), str(format_name), [str(error), str(values), bool(is_exact)]]:
            return name, format_name, Loss(_number(error), _number(values), is_exact)
    raise format_error(_WHERE, "no loss of a matrix")


def _calibration_to_json(state: CalibrationState) -> dict[str, JsonValue]:
    worst, name = state.worst
    return {
        "next_layer": state.next_layer,
        "num_matrices": state.num_matrices,
        "error": state.error.hex(),
        "norm": state.norm.hex(),
        "worst": [worst.hex(), name],
    }


def _parse_calibration(value: JsonValue) -> CalibrationState:
    fields = Fields(value, _WHERE, _CALIBRATION)
    match fields.raw("error"), fields.raw("norm"), fields.raw("worst"):
        case str(error), str(norm), [str(worst), str(name)]:
            return CalibrationState(
                fields.integer("next_layer", 0, 1 << 20),
                fields.integer("num_matrices", 0, 1 << 30),
                _number(error),
                _number(norm),
                (_number(worst), name),
            )
    raise format_error(_WHERE, "no state of calibration")


def _number(text: str) -> float:
    try:
        return float.fromhex(text)
    except ValueError as error:
        raise format_error(_WHERE, f"no number ({error})") from error
