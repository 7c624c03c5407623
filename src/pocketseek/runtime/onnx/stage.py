"""One session of a model, and how its inputs and outputs are bound to buffers: nothing is copied that need not be.

A model of one file is one stage; an export in parts has several, which hand hidden states on under the names that
outputs of one and inputs of a later one share. The session and the library come from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.runtime.onnx.kv_store import KvShape, SequenceBuffer
from pocketseek.runtime.onnx.model_files import OnnxModel, TensorNames

_NUMPY_TYPES: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_SHRINK = "memory.enable_memory_arena_shrinkage"


@dataclass
class StageTensors:
    """What the stages of one run share. present: where K and V of all positions go, if not into the buffer itself.

    logits: float32 (rows, vocabulary) to be filled, of the last rows; None: nobody wants any. carried: what stages hand
    on, by name. mask, fixed_rows, num_filled: of a piece for fixed shapes, its mask, the rows that logits are wanted
    of (one at a time), and how many of its tokens are none of the padding.
    """

    token_ids: NDArray[np.int64]
    first_position: int
    shape: KvShape
    logits: NDArray[np.float32] | None
    present: NDArray[np.floating[Any]] | None = None
    carried: dict[str, Any] = field(default_factory=dict)
    mask: NDArray[np.int64] | None = None
    fixed_rows: NDArray[np.int64] | None = None
    num_filled: int = 0

    @property
    def num_rows(self) -> int:
        return int(self.token_ids.shape[1])

    @property
    def end_position(self) -> int:
        return self.first_position + self.num_rows

    @property
    def attention_mask(self) -> NDArray[np.int64]:
        return np.ones((1, self.end_position), np.int64) if self.mask is None else self.mask

    @property
    def logit_rows(self) -> NDArray[np.int64]:
        """The first one where nobody wants any: a stage with other outputs takes it, too."""
        if self.fixed_rows is not None:
            return self.fixed_rows if len(self.fixed_rows) else np.zeros(1, np.int64)
        num_logits = 1 if self.logits is None else len(self.logits)
        return np.arange(self.num_rows - num_logits, self.num_rows)

    def one_by_one(self) -> list[StageTensors]:
        """The same for each row that logits are wanted of, since a graph with fixed shapes gives one."""
        if self.fixed_rows is None or self.logits is None:
            return [self]
        return [
            replace(self, logits=self.logits[index : index + 1], fixed_rows=self.fixed_rows[index : index + 1])
            for index in range(len(self.logits))
        ]


@dataclass
class _Bindings:
    """Of one buffer: with and without logits, by the number of the stage."""

    by_key: dict[tuple[int, bool], Any] = field(default_factory=dict)


class Stage:
    """layers: the first and the one after the last whose K and V it computes."""

    def __init__(self, session: Any, layers: tuple[int, int], names: TensorNames, library: Any) -> None:
        self._session = session
        self._layers = range(*layers)
        self._names = names
        self._library = library
        self.inputs = {found.name: found for found in session.get_inputs()}
        self.outputs = {found.name: found for found in session.get_outputs()}
        self._own_outputs = {names.logits} | {
            self._name(pattern, layer) for layer in self._layers for pattern in self._presents
        }
        self._plain, self._shrinking = _run_options(library), _run_options(library)
        self._shrinking.add_run_config_entry(_SHRINK, "cpu:0")

    @property
    def has_layers(self) -> bool:
        return len(self._layers) > 0

    @property
    def carries(self) -> list[str]:
        """Outputs that are meant for later stages."""
        return [name for name in self.outputs if name not in self._own_outputs]

    @property
    def vocab_size(self) -> int | None:
        """As the file says; None if it does not."""
        logits = self.outputs.get(self._names.logits)
        last = logits.shape[-1] if logits is not None and logits.shape else None
        return last if isinstance(last, int) else None

    @property
    def chooses_rows(self) -> bool:
        """Logits are computed for the rows that are asked for, otherwise for all."""
        return self._names.logit_rows in self.inputs

    @property
    def fixed_tokens(self) -> int | None:
        """How many tokens it takes at a time, if that is fixed."""
        return self._fixed_size(self._names.token_ids)

    @property
    def fixed_positions(self) -> int | None:
        return self._fixed_size(self._names.attention_mask)

    def _fixed_size(self, name: str) -> int | None:
        last = self.inputs[name].shape[-1] if name in self.inputs and self.inputs[name].shape else None
        return last if isinstance(last, int) else None

    @property
    def past_types(self) -> set[str]:
        return {self.inputs[name].type for name in self._past_names() if name in self.inputs}

    def lacking(self, carried: Sequence[str]) -> str | None:
        """An input that nobody can give; or one of K and V that should be there."""
        names = self._names
        known = {
            names.token_ids,
            names.attention_mask,
            names.position_ids,
            names.logit_rows,
            *self._past_names(),
            *carried,
        }
        unknown = [name for name in self.inputs if name not in known]
        missing = [name for name in self._past_names() if name not in self.inputs]
        return next(iter([*unknown, *missing]), None)

    def run(self, buffer: SequenceBuffer, number: int, tensors: StageTensors, *, gives_back: bool) -> None:
        """Compute the rows: K and V go into the buffer, logits where they are wanted, the rest to later stages."""
        if tensors.logits is None or self._names.logits not in self.outputs:
            self._run(buffer, number, tensors, False, gives_back=gives_back)
            return
        for rows in tensors.one_by_one():
            self._run(buffer, number, rows, True, gives_back=gives_back)

    def _run(
        self, buffer: SequenceBuffer, number: int, tensors: StageTensors, wants_logits: bool, *, gives_back: bool
    ) -> None:
        binding = self._binding(buffer, number, tensors, wants_logits)
        self._bind_rows(binding, tensors)
        logits = self._bind_logits(binding, tensors) if wants_logits else None
        carried = self.carries
        for name in carried:
            binding.bind_output(name)
        self._session.run_with_iobinding(binding, self._shrinking if gives_back else self._plain)
        if carried:
            outputs = binding.get_outputs()
            by_name = dict(zip(self._bound_outputs(wants_logits), outputs, strict=True))
            tensors.carried |= {name: by_name[name] for name in carried}
        if logits is not None and tensors.logits is not None and logits is not tensors.logits:
            tensors.logits[:] = logits

    # -- binding ----------------------------------------------------------------------------------------------------

    def _binding(self, buffer: SequenceBuffer, number: int, tensors: StageTensors, wants_logits: bool) -> Any:
        """Past and present are bound once for a buffer that stays where it is."""
        if tensors.present is not None:
            binding = self._session.io_binding()
            self._bind_kv(binding, buffer.array, tensors.present, tensors.shape)
            return binding
        if not isinstance(buffer.attached, _Bindings):
            buffer.attached = _Bindings()
        bindings = buffer.attached.by_key
        key = (number, wants_logits)
        if key not in bindings:
            bindings[key] = self._session.io_binding()
            self._bind_kv(bindings[key], buffer.array, buffer.array, tensors.shape)
        return bindings[key]

    def _bind_kv(
        self, binding: Any, past: NDArray[np.floating[Any]], present: NDArray[np.floating[Any]], shape: KvShape
    ) -> None:
        for layer in self._layers:
            for which, (pattern, new) in enumerate(zip(self._pasts, self._presents, strict=True)):
                for bind, name, array in (
                    (binding.bind_input, self._name(pattern, layer), past),
                    (binding.bind_output, self._name(new, layer), present),
                ):
                    part = array[layer, which]
                    bind(name, "cpu", 0, shape.dtype, [1, *part.shape], part.ctypes.data)

    def _bind_rows(self, binding: Any, tensors: StageTensors) -> None:
        names = self._names
        if names.token_ids in self.inputs:
            binding.bind_cpu_input(names.token_ids, tensors.token_ids)
        if names.attention_mask in self.inputs:
            binding.bind_cpu_input(names.attention_mask, tensors.attention_mask)
        if names.position_ids in self.inputs:
            positions = np.arange(tensors.first_position, tensors.end_position, dtype=np.int64)
            binding.bind_cpu_input(names.position_ids, positions[np.newaxis])
        if names.logit_rows in self.inputs:
            binding.bind_cpu_input(names.logit_rows, tensors.logit_rows)
        for name in self.inputs:
            if name in tensors.carried:
                binding.bind_ortvalue_input(name, tensors.carried[name])

    def _bind_logits(self, binding: Any, tensors: StageTensors) -> NDArray[np.floating[Any]]:
        """Straight into the caller's rows if the model gives float32."""
        logits, kind = tensors.logits, _NUMPY_TYPES[self.outputs[self._names.logits].type]
        assert logits is not None
        target = logits if kind is np.float32 else np.empty(logits.shape, kind)
        binding.bind_output(self._names.logits, "cpu", 0, kind, [1, *target.shape], target.ctypes.data)
        return target

    def _bound_outputs(self, wants_logits: bool) -> list[str]:
        """In the order in which they were bound."""
        present = [self._name(pattern, layer) for layer in self._layers for pattern in self._presents]
        return [*present, *([self._names.logits] if wants_logits else []), *self.carries]

    @property
    def _pasts(self) -> tuple[str, str]:
        return self._names.past_key, self._names.past_value

    @property
    def _presents(self) -> tuple[str, str]:
        return self._names.present_key, self._names.present_value

    def _past_names(self) -> list[str]:
        return [self._name(pattern, layer) for layer in self._layers for pattern in self._pasts]

    def _name(self, pattern: str, layer: int) -> str:
        return pattern.replace("{layer}", str(layer))


def check_stages(stages: Sequence[Stage], model: OnnxModel) -> None:
    """Whether the files are what their description says. Raises FormatError or UnsupportedError."""
    carried: list[str] = []
    for stage in stages:
        if (name := stage.lacking(carried)) is not None:
            if name in stage.inputs:
                raise UnsupportedError(
                    f"{model.folder}: the model wants an input {name[:80]!r} that is not known here; "
                    "export it for text generation with past (optimum: --task text-generation-with-past)"
                )
            raise UnsupportedError(
                f"{model.folder}: the model has no input {name[:80]!r} for past keys and values; "
                "export it for text generation with past (optimum: --task text-generation-with-past)"
            )
        carried += stage.carries
    _check_shapes(stages, model)
    logits = stages[-1].outputs.get(model.names.logits)
    if logits is None or logits.type not in _NUMPY_TYPES:
        raise UnsupportedError(f"{model.folder}: the model gives no logits as float numbers; export it again")
    size = stages[-1].vocab_size
    if size is not None and size < 1:
        raise FormatError(f"{model.folder}: the model gives {size} logits; export it again")


def _check_shapes(stages: Sequence[Stage], model: OnnxModel) -> None:
    """Whether they are fixed, as the description says, or open."""
    described = (None, None) if model.fixed is None else (model.fixed.tokens, model.fixed.context)
    for stage in stages:
        for size, expected in zip((stage.fixed_tokens, stage.fixed_positions), described, strict=True):
            if size not in (None, expected):
                raise UnsupportedError(
                    f"{model.folder}: the model takes exactly {size} tokens or positions, and its description says "
                    f"{expected or 'any number'}; export it again"
                )


def kv_dtype(stages: Sequence[Stage]) -> type[np.floating[Any]]:
    """Raises UnsupportedError unless all past keys and values are float32, or all float16."""
    found = {kind for stage in stages for kind in stage.past_types}
    if len(found) != 1 or not found <= set(_NUMPY_TYPES):
        raise UnsupportedError(f"keys and values of the types {', '.join(sorted(found))} are not done; export with f32")
    return _NUMPY_TYPES[found.pop()]


def _run_options(library: Any) -> Any:
    options = library.RunOptions()
    options.only_execute_path_to_fetches = True  # no head for rows whose logits nobody wants
    return options
