"""model.json, which describes an export of ours (docs/onnx.md): version 1 is read, strictly.

Of "static" only fixed shapes are taken, of "run" the oldest ONNX Runtime; these fields, and what later exports may say,
are for people and other programs, and are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pocketseek.errors import FormatError, IntegrityError, UnsupportedError
from pocketseek.package.model_fields import parse_model
from pocketseek.package.strict_json import Fields, JsonValue, as_integer, check_free, load_object
from pocketseek.runtime.onnx.foreign_json import read_bytes
from pocketseek.types import ModelConfig

OWN_FILE = "model.json"
_FORMAT, _VERSION = "pocketseek-onnx", 1
_MAX_BYTES = 64 << 20
_REMEDY = "export the model again"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LEAST = re.compile(r">=(\d{1,3}\.\d{1,3})")
_ANY_LINE = re.compile(r"[^\x00-\x1f\x7f]{0,400}")
_FOR_PEOPLE = ("quant", "opset", "kv", "run", "static")
_NEEDED = frozenset({"format", "version", "name", "model", "stages", "kv", "files"})


@dataclass(frozen=True)
class DescribedStage:
    """layers: the first and the one after the last; equal if it has none."""

    file: str
    layers: tuple[int, int]


@dataclass(frozen=True)
class FixedShapes:
    """tokens: of every pass. context: positions in all, those included."""

    tokens: int
    context: int

    @property
    def past(self) -> int:
        """Positions of the cache, and so of the longest text: a token's keys and values must find a place there."""
        return self.context - self.tokens


@dataclass(frozen=True)
class ExportDescription:
    """sha256: by file name. least_runtime: the oldest ONNX Runtime that runs it, if it says so."""

    name: str
    config: ModelConfig
    stages: tuple[DescribedStage, ...]
    shares_buffer: bool
    sha256: Mapping[str, str]
    is_static: bool = False
    fixed: FixedShapes | None = None
    least_runtime: str | None = None


def read_description(folder: Path) -> ExportDescription:
    """Raises NotFoundError, StorageError, FormatError, UnsupportedError, IntegrityError (a file is not there, or of
    another length)."""
    path = folder / OWN_FILE
    top = load_object(read_bytes(path, _MAX_BYTES), str(path), max_bytes=_MAX_BYTES)
    if top.get("format") != _FORMAT:
        raise FormatError(f"{path} does not describe an export of pocketseek; {_REMEDY}")
    if top.get("version") != _VERSION:
        raise UnsupportedError(f"{path} is of another version than {_VERSION}; {_REMEDY}, or update pocketseek")
    fields = Fields(top, OWN_FILE, _NEEDED, frozenset(top) - _NEEDED)
    kv = fields.free_mapping("kv")
    config = parse_model(fields.raw("model"), allow_sparse=False)
    fixed = _fixed_shapes(kv, top.get("static"), config)
    if fixed is not None:
        config = replace(config, context_length=fixed.past)
    stages = tuple(_stage(item, config.num_layers) for item in fields.items("stages"))
    _check_stages(stages, config.num_layers, path)
    sha256 = {name: _check_file(folder, name, entry) for name, entry in fields.mapping("files").items()}
    for stage in stages:
        if stage.file not in sha256:
            raise FormatError(f"{path}: the stage {stage.file} is not among its files; {_REMEDY}")
    return ExportDescription(
        fields.text("name", _ANY_LINE),
        config,
        stages,
        kv.get("shares_buffer") is True,
        sha256,
        isinstance(top.get("static"), Mapping),
        fixed,
        _least_runtime(top.get("run")),
    )


def _fixed_shapes(kv: Mapping[str, JsonValue], static: JsonValue, config: ModelConfig) -> FixedShapes | None:
    """None: they are open. Raises FormatError, UnsupportedError."""
    present = kv.get("present_tokens", "all")
    if present == "all":
        return None
    if present != "new":
        raise UnsupportedError(f"{OWN_FILE}: keys and values of {str(present)[:40]!r} are not known; update pocketseek")
    if not isinstance(static, Mapping):
        raise FormatError(f"{OWN_FILE} lacks the fixed shapes of its graphs (static); {_REMEDY}")
    context = as_integer(static.get("context"), f"{OWN_FILE}: static.context", 2, config.context_length)
    return FixedShapes(as_integer(static.get("tokens"), f"{OWN_FILE}: static.tokens", 1, context - 1), context)


def _least_runtime(run: JsonValue) -> str | None:
    """1.22 of ">=1.22"; anything else is for people."""
    wanted = run.get("onnxruntime") if isinstance(run, Mapping) else None
    found = _LEAST.fullmatch(wanted) if isinstance(wanted, str) else None
    return found[1] if found else None


def read_about(folder: Path) -> Mapping[str, JsonValue]:
    """What it says to people: how it was made and what it runs with. Raises as `read_description`."""
    path = folder / OWN_FILE
    top = load_object(read_bytes(path, _MAX_BYTES), str(path), max_bytes=_MAX_BYTES)
    about = {name: top[name] for name in _FOR_PEOPLE if top.get(name) is not None}
    check_free(about, OWN_FILE)
    return about


def _stage(value: JsonValue, num_layers: int) -> DescribedStage:
    known = frozenset({"file", "kind", "layers"})
    fields = Fields(value, f"{OWN_FILE}: stages", known, frozenset({"inputs", "outputs"}))
    file = fields.text("file", _NAME)
    if fields.raw("kind") == "all":
        return DescribedStage(file, (0, num_layers))
    ends = [as_integer(item, f"{OWN_FILE}: layers", 0, num_layers) for item in fields.items("layers")]
    return DescribedStage(file, (ends[0], ends[1]) if len(ends) == 2 else (0, 0))


def _check_stages(stages: tuple[DescribedStage, ...], num_layers: int, path: Path) -> None:
    """Every layer once, in order."""
    computed = [layer for stage in stages for layer in range(*stage.layers)]
    if computed != list(range(num_layers)):
        raise FormatError(f"{path}: its stages do not have all layers once and in order; {_REMEDY}")


def _check_file(folder: Path, name: str, entry: JsonValue) -> str:
    if not _NAME.fullmatch(name):
        raise FormatError(f"{OWN_FILE}: {name[:80]!r} is no name of a file in the folder; {_REMEDY}")
    fields = Fields(entry, f"{OWN_FILE}: files.{name}", frozenset({"sha256", "num_bytes"}))
    num_bytes = fields.integer("num_bytes", 0, 2**63 - 1)
    path = folder / name
    if not path.is_file():
        raise IntegrityError(f"{path} is not there; {_REMEDY}")
    if path.stat().st_size != num_bytes:
        raise IntegrityError(f"{path} has {path.stat().st_size} bytes, not {num_bytes}; {_REMEDY}")
    return fields.text("sha256", _SHA256)
