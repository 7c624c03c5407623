"""What a student is made of: which of its teacher's layers it begins with, and how wide its MLPs are.

    layers=15           so many, evenly spaced, the first and the last among them
    layers=0,2,4        these
    config.json         num_hidden_layers and intermediate_size as there; all else has to be the teacher's

A narrower MLP begins with those of the teacher's neurons that weigh most: |gate row| |up row| |down column|. Embedding
and head are the teacher's own and stay as they are stored.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from pocketseek.convert.sources.byte_file import read_small
from pocketseek.convert.sources.json_text import parse_json_object
from pocketseek.errors import FormatError, NotFoundError, UsageError
from pocketseek.types import ModelConfig

_MAX_CONFIG_BYTES = 1 << 20
_FORMS = "give layers=15, layers=0,2,4 or the path of a config.json"


@dataclass(frozen=True)
class StudentPlan:
    """layers: of the teacher, ascending, one for each of the student's."""

    model: ModelConfig
    layers: tuple[int, ...]


def plan_student(text: str, teacher: ModelConfig) -> StudentPlan:
    """Raises UsageError, NotFoundError, FormatError (the file), StorageError."""
    if text.startswith("layers="):
        return _of_layers(_layers(text.removeprefix("layers="), teacher.num_layers), teacher)
    if text.endswith(".json"):
        return _of_config(Path(text), teacher)
    raise UsageError(f"--student {text[:60]!r} is not understood; {_FORMS}")


def _layers(text: str, num_layers: int) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isascii() and part.strip().isdigit() and len(part) < 6 for part in parts):
        raise UsageError(f"--student layers={text[:60]} is not a list of whole numbers; {_FORMS}")
    numbers = tuple(int(part) for part in parts)
    if len(numbers) == 1:
        return spaced(numbers[0], num_layers)
    if any(one >= other for one, other in pairwise(numbers)) or numbers[-1] >= num_layers:
        raise UsageError(f"the layers of a student rise from 0 to {num_layers - 1} at the most, each once; {_FORMS}")
    return numbers


def spaced(count: int, num_layers: int) -> tuple[int, ...]:
    """So many of the teacher's layers. Raises UsageError."""
    if not 1 <= count <= num_layers:
        raise UsageError(f"a student has 1 to {num_layers} layers of this teacher, not {count}; {_FORMS}")
    return tuple(int(place) for place in np.rint(np.linspace(0, num_layers - 1, count)))


def _of_layers(layers: tuple[int, ...], teacher: ModelConfig) -> StudentPlan:
    return StudentPlan(dataclasses.replace(teacher, num_layers=len(layers)), layers)


def _of_config(path: Path, teacher: ModelConfig) -> StudentPlan:
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist; {_FORMS}")
    try:
        config = parse_json_object(read_small(path, _MAX_CONFIG_BYTES))
    except ValueError as error:
        raise FormatError(f"{path} is not valid JSON ({error}); {_FORMS}") from error
    count = _number(config.get("num_hidden_layers", teacher.num_layers), "num_hidden_layers", path)
    width = _number(config.get("intermediate_size", teacher.intermediate_size), "intermediate_size", path)
    same = {
        "hidden_size": teacher.hidden_size,
        "num_attention_heads": teacher.num_heads,
        "num_key_value_heads": teacher.num_kv_heads,
        "head_dim": teacher.head_dim,
        "vocab_size": teacher.vocab_size,
        "model_type": teacher.family,
    }
    for name, value in same.items():
        if config.get(name, value) != value:
            raise UsageError(f"{path}: {name} has to be the teacher's, {value}; only layers and MLPs may be fewer")
    if not 16 <= width <= teacher.intermediate_size:
        raise UsageError(f"{path}: intermediate_size may be 16 to {teacher.intermediate_size}; choose one of these")
    layers = spaced(count, teacher.num_layers)
    model = dataclasses.replace(teacher, num_layers=count, intermediate_size=width)
    return StudentPlan(model, layers)


def _number(value: object, name: str, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise FormatError(f"{path}: {name} is not a whole number; {_FORMS}")
    return value
