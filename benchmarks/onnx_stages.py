"""Runs an int8-static export stage by stage on the CPU, for figures about it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from pocketseek.runtime.window_logits import ROWS_AT_ONCE
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer

ERRORS_ONLY = 3


class OnnxStages:
    """One sequence at a time. Graphs of shapes that are not fixed.

    fused: what lies between quantising pairs is computed in integers, where ONNX Runtime's own sums of two products of
    unsigned and signed bytes do not fit 16 bits on processors with AVX2 and without VNNI. Otherwise each operation is
    computed in float32 between its pairs, which is what the graph says.
    """

    def __init__(self, folder: Path, *, num_threads: int = 2, fused: bool = True) -> None:
        self.description: dict[str, Any] = json.loads((folder / "model.json").read_bytes())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = ERRORS_ONLY
        if not fused:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._sessions = [
            onnxruntime.InferenceSession(str(folder / stage["file"]), options) for stage in self.description["stages"]
        ]
        settings = parse_text_settings((folder / "text.json").read_bytes())
        self.tokenizer = Tokenizer.from_json((folder / "tokenizer.json").read_bytes(), settings)
        self._cache: dict[str, npt.NDArray[np.float32]] = {}
        self.reset()

    @property
    def vocab_size(self) -> int:
        return int(self.description["model"]["vocab_size"])

    def reset(self) -> None:
        model = self.description["model"]
        empty = np.zeros((1, model["num_kv_heads"], 0, model["head_dim"]), np.float32)
        names = (f"{layer}.{kind}" for layer in range(model["num_layers"]) for kind in ("key", "value"))
        self._cache = {f"past_key_values.{name}": empty for name in names}
        self._total = 0

    def read(self, ids: Sequence[int], rows: Sequence[int]) -> npt.NDArray[np.float32]:
        """The logits of some rows, after what was read before."""
        self._total += len(ids)
        values: dict[str, npt.NDArray[Any]] = {
            **self._cache,
            "input_ids": np.array([ids], np.int64),
            "attention_mask": np.ones((1, self._total), np.int64),
            "logit_rows": np.array(rows, np.int64),
        }
        for stage, session in zip(self.description["stages"], self._sessions, strict=True):
            outputs = session.run(stage["outputs"], {name: values[name] for name in stage["inputs"]})
            values |= dict(zip(stage["outputs"], outputs, strict=True))
        self._cache = {name: values[name.replace("past_key_values", "present")] for name in self._cache}
        logits: npt.NDArray[np.float32] = values["logits"][0]
        return logits

    def run(self, token_ids: Sequence[int]) -> Iterator[npt.NDArray[np.float32]]:
        """Of all tokens of a window, in parts as WindowLogits gives them."""
        self.reset()
        logits = self.read(token_ids, range(len(token_ids)))
        for first in range(0, len(token_ids), ROWS_AT_ONCE):
            yield logits[first : first + ROWS_AT_ONCE]

    def answer(self, text: str, num_tokens: int) -> str:
        """Greedy."""
        self.reset()
        ids = list(self.tokenizer.encode(text))
        written: list[int] = []
        for _ in range(num_tokens):
            best = int(self.read(ids, [len(ids) - 1])[0].argmax())
            written.append(best)
            ids = [best]
        return self.tokenizer.decode(written)
