"""Rows of one sequence through all stages of a model: in one go, or, where shapes are fixed, in padded pieces.

A model with fixed shapes takes N tokens at a time, and C - N positions of the past, always. A shorter piece is padded
on the right; the mask says what counts: the filled positions of the past, then, behind the gap, the new tokens. It
returns keys and values of the new tokens alone, which are copied behind what is filled, and logits of one row, so the
head runs once for every row whose logits are wanted, and what comes before it once for the piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketseek.runtime.onnx.export_description import FixedShapes
from pocketseek.runtime.onnx.kv_store import KvShape, KvStore, SequenceBuffer
from pocketseek.runtime.onnx.model_files import OnnxModel
from pocketseek.runtime.onnx.stage import Stage, StageTensors, check_stages, kv_dtype
from pocketseek.runtime.work import Logits


class Passes:
    """stages: opened, in order. Used by one thread. Raises FormatError and UnsupportedError as `check_stages`."""

    def __init__(self, stages: Sequence[Stage], model: OnnxModel) -> None:
        check_stages(stages, model)
        self._stages = stages
        config = model.config
        self.shape = KvShape(config.num_layers, config.num_kv_heads, config.head_dim, kv_dtype(stages))
        self.vocab_size = stages[-1].vocab_size or config.vocab_size
        self.chooses_rows = stages[-1].chooses_rows
        self._context_length = config.context_length
        self._returns_all = not model.shares_buffer and model.fixed is None
        self._fixed = None if model.fixed is None else _FixedPasses(model.fixed, self.shape)

    def new_store(self) -> KvStore:
        capacity = None if self._fixed is None else self._fixed.shapes.past
        return KvStore(self.shape, self._context_length, exact=self._returns_all, capacity=capacity)

    def run(
        self,
        store: KvStore,
        buffer: SequenceBuffer,
        ids: Sequence[int],
        first: int,
        logits: Logits | None,
        *,
        gives_back: bool,
    ) -> None:
        """Tokens from position `first` on; logits (the last rows', to be filled) or None. gives_back: work memory.

        Raises RuntimeError when closed, and what ONNX Runtime raises; what was run may then be run again."""
        if not self._stages:
            raise RuntimeError("the model is closed")
        if self._fixed is not None:
            for tensors in self._fixed.pieces(ids, first, logits):
                self._run_stages(buffer, tensors, gives_back=gives_back)
                self._fixed.keep(buffer, tensors)
            return
        tensors = StageTensors(np.array([ids], np.int64), first, self.shape, logits)
        if self._returns_all:
            tensors.present = self.shape.empty(first + len(ids))
        self._run_stages(buffer, tensors, gives_back=gives_back)
        if tensors.present is not None:
            store.replace(buffer, tensors.present)

    def try_token(self) -> Logits:
        """Logits of a text of one token, to see whether it works at all."""
        logits = np.empty((1, self.vocab_size), np.float32)
        capacity = 0 if self._returns_all else 1 if self._fixed is None else self._fixed.shapes.past
        self.run(self.new_store(), SequenceBuffer(self.shape.empty(capacity), 0), [0], 0, logits, gives_back=False)
        return logits

    def close(self) -> None:
        self._stages = ()

    def _run_stages(self, buffer: SequenceBuffer, tensors: StageTensors, *, gives_back: bool) -> None:
        for number, stage in enumerate(self._stages):
            if tensors.logits is not None or stage.has_layers or number == 0:
                stage.run(buffer, number, tensors, gives_back=gives_back)


class _FixedPasses:
    def __init__(self, shapes: FixedShapes, kv: KvShape) -> None:
        self.shapes = shapes
        self._kv = kv
        self._new: NDArray[np.floating[Any]] = kv.empty(shapes.tokens)

    def pieces(self, ids: Sequence[int], first: int, logits: Logits | None) -> list[StageTensors]:
        unwanted = len(ids) - (0 if logits is None else len(logits))
        found = []
        for start in range(0, len(ids), self.shapes.tokens):
            piece = ids[start : start + self.shapes.tokens]
            end = start + len(piece)
            rows = np.arange(max(start, unwanted), max(end, unwanted))
            wanted = None if logits is None or not len(rows) else logits[rows[0] - unwanted : end - unwanted]
            found.append(self._piece(piece, first + start, wanted, rows - start))
        return found

    def keep(self, buffer: SequenceBuffer, tensors: StageTensors) -> None:
        """Keys and values of the new tokens go behind what is filled."""
        first, count = tensors.first_position, tensors.num_filled
        buffer.array[:, :, :, first : first + count] = self._new[:, :, :, :count]

    def _piece(self, ids: Sequence[int], first: int, logits: Logits | None, rows: NDArray[np.int64]) -> StageTensors:
        padded = np.zeros((1, self.shapes.tokens), np.int64)
        padded[0, : len(ids)] = ids
        mask = np.zeros((1, self.shapes.context), np.int64)
        mask[0, :first] = 1
        mask[0, self.shapes.past : self.shapes.past + len(ids)] = 1
        return StageTensors(
            padded, first, self._kv, logits, present=self._new, mask=mask, fixed_rows=rows, num_filled=len(ids)
        )
