"""Voice activity by the Silero model, a small recurrent network run with ONNX Runtime.

Two layouts of the same network are in circulation, told apart by their inputs: one with the states `h` and `c` (as
faster-whisper carries it) and one with a `state` and the rate `sr` (as its makers publish it). Both take 512 samples at
16 kHz after the 64 samples that came before them. About 0.2 ms of one core a frame of 32 ms on a PC.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.errors import FormatError
from pocketseek.libraries import load_onnxruntime

_CONTEXT_SAMPLES = 64
_States = dict[str, NDArray[np.float32]]


class SileroDetector:
    """Loads the model at once. Raises FormatError if the file is no such model, UnsupportedError without a library."""

    frame_samples = 512

    def __init__(self, path: Path) -> None:
        library = load_onnxruntime(needed_for="listening")
        try:
            self._session = library.InferenceSession(str(path), _options(library), providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's own have no common base
            raise FormatError(f"{path} is no voice detection model; run `pocketseek voice setup` again") from error
        names = {one.name for one in self._session.get_inputs()}
        if not (names >= {"input", "h", "c"} or names >= {"input", "state", "sr"}):
            raise FormatError(f"{path} is no Silero voice detection model; run `pocketseek voice setup` again")
        self._has_rate = "sr" in names
        self.reset()

    def reset(self) -> None:
        self._context = np.zeros(_CONTEXT_SAMPLES, np.float32)
        self._states: _States = _first_states(self._has_rate)

    def probability(self, frame: Samples) -> float:
        row = np.concatenate([self._context, frame])[None]
        self._context = frame[-_CONTEXT_SAMPLES:].copy()
        inputs: dict[str, object] = {"input": row, **self._states}
        if self._has_rate:
            inputs["sr"] = np.array(SAMPLE_RATE, np.int64)
        output, *states = self._session.run(None, inputs)
        self._states = dict(zip(self._states, states, strict=True))
        return float(np.asarray(output).ravel()[0])


def _options(library: ModuleType) -> Any:
    options = library.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return options


def _first_states(has_rate: bool) -> _States:
    if has_rate:
        return {"state": np.zeros((2, 1, 128), np.float32)}
    return {"h": np.zeros((1, 1, 128), np.float32), "c": np.zeros((1, 1, 128), np.float32)}
