"""The manifest of a package: `manifest.json` as frozen values. The format is described in docs/package.md.

`parse_manifest` is the only place where a manifest is read. It takes any bytes and either raises FormatError (one line)
or returns a manifest that is consistent in itself: numbers in range, every tensor covered by its extents in order,
extents inside their chunk, aligned, not overlapping, stages in order, names safe to use as file names, and, for the
families known here, exactly the tensors and shapes that the model config implies. It does not look at the chunks. Of a
speech part (format 3) there are files in place of tensors.
`render_manifest` writes the one canonical form: parse(render(m)) == m (with lists, not tuples, in the free parts).
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pocketseek.errors import FormatError, NotFoundError
from pocketseek.formats import MAX_CHUNK_BYTES
from pocketseek.package.entries import AdapterBase as AdapterBase
from pocketseek.package.entries import ChunkEntry as ChunkEntry
from pocketseek.package.entries import Extent as Extent
from pocketseek.package.entries import FileEntry as FileEntry
from pocketseek.package.entries import Manifest as Manifest
from pocketseek.package.entries import TensorEntry as TensorEntry
from pocketseek.package.layout import check_layout
from pocketseek.package.model_fields import parse_model, render_model
from pocketseek.package.paths import MANIFEST_NAME, NAME_PATTERN, SHA256_PATTERN
from pocketseek.package.speech_part import PART_KIND, SpeechPart, check_part, parse_part, render_part
from pocketseek.package.storage import storage_errors
from pocketseek.package.strict_json import Fields, as_integer, format_error, load_object
from pocketseek.package.strict_json import JsonValue as JsonValue

MAGIC = "pocketseek-package"
FORMAT_VERSION = 1
SPARSE_FORMAT_VERSION = 2  # of models with experts or latents, which readers of format 1 cannot use
PART_FORMAT_VERSION = 3  # of speech parts (speech_part.py)
ADAPTER_FORMAT_VERSION = 4  # of adapters, see package/adapter_layout.py
MAX_MANIFEST_BYTES = 64 * 1024 * 1024
MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_VERSION = 2**53
_MAX_DIMENSION = 2**31 - 1

_TENSOR_NAME = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+){1,7}")
_WORD = re.compile(r"[a-z0-9_.]{1,64}")
_TOP = frozenset(
    {"magic", "format_version", "name", "model", "recipe", "tensors", "chunks", "files", "quality", "provenance"}
)
_OPTIONAL = frozenset({"version"})
_PART_TOP = frozenset({"magic", "format_version", "kind", "name", "part", "chunks", "files", "provenance"})
_ADAPTER = frozenset({"base", "base_manifest", "base_source"})
_TENSOR = frozenset({"name", "format", "shape", "stage", "extents"})
_EXTENT = frozenset({"chunk", "offset", "num_bytes", "first_tile"})
_CHUNK = frozenset({"sha256", "num_bytes", "stage", "segments"})
_FILE = frozenset({"sha256", "num_bytes"})


def parse_manifest(data: bytes) -> Manifest:
    """Read and check a manifest. Raises FormatError for anything that is not one."""
    value = load_object(data, MANIFEST_NAME, max_bytes=MAX_MANIFEST_BYTES)
    version = _checked_version(value)
    if version == PART_FORMAT_VERSION:
        return _parse_part_manifest(value)
    is_adapter = version == ADAPTER_FORMAT_VERSION
    top = Fields(value, MANIFEST_NAME, _TOP | {"adapter"} if is_adapter else _TOP, _OPTIONAL)
    manifest = Manifest(
        name=top.text("name", NAME_PATTERN),
        config=parse_model(top.raw("model"), allow_sparse=version != FORMAT_VERSION),
        recipe=top.free_mapping("recipe"),
        tensors=tuple(parse_tensor_entry(item, index) for index, item in enumerate(top.items("tensors"))),
        chunks=tuple(parse_chunk_entry(item, index) for index, item in enumerate(top.items("chunks"))),
        files=_parse_files(top.mapping("files")),
        quality=top.free_mapping("quality"),
        provenance=top.free_mapping("provenance"),
        version=_version_of(top),
        adapter=_parse_adapter(top.mapping("adapter")) if is_adapter else None,
    )
    check_layout(manifest)
    return manifest


def _parse_part_manifest(value: Mapping[str, JsonValue]) -> Manifest:
    top = Fields(value, MANIFEST_NAME, _PART_TOP, _OPTIONAL)
    if top.raw("kind") != PART_KIND:
        raise FormatError(f"{MANIFEST_NAME}: {str(top.raw('kind'))[:40]!r} is not known here; update pocketseek")
    part = parse_part(top.raw("part"), f"{MANIFEST_NAME}: part")
    chunks = tuple(parse_chunk_entry(item, index) for index, item in enumerate(top.items("chunks")))
    check_part(part, chunks)
    return Manifest(
        name=top.text("name", NAME_PATTERN),
        config=None,
        recipe={},
        tensors=(),
        chunks=chunks,
        files=_parse_files(top.mapping("files")),
        provenance=top.free_mapping("provenance"),
        version=_version_of(top),
        part=part,
    )


def _version_of(top: Fields) -> int:
    return top.integer("version", 0, MAX_VERSION) if top.has("version") else 0


def render_manifest(manifest: Manifest) -> bytes:
    """Canonical JSON: ASCII, keys sorted, no spaces, one newline at the end. Raises ValueError for NaN or Infinity."""
    tree: dict[str, JsonValue] = {
        "magic": MAGIC,
        "name": manifest.name,
        "chunks": [asdict(chunk) for chunk in manifest.chunks],
        "files": {name: asdict(entry) for name, entry in manifest.files.items()},
        "provenance": _plain(manifest.provenance),
        **(_model_tree(manifest) if manifest.part is None else _part_tree(manifest.part)),
    }
    if manifest.version:  # 0 is not written: manifests from before there were versions keep their bytes and hash
        tree["version"] = manifest.version
    if manifest.adapter is not None:
        base = manifest.adapter
        tree["adapter"] = {
            "base": base.name,
            "base_manifest": base.manifest_sha256,
            "base_source": base.source_sha256,
        }
    text = json.dumps(tree, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode("ascii") + b"\n"


def _model_tree(manifest: Manifest) -> dict[str, JsonValue]:
    return {
        "format_version": _format_version(manifest),
        "model": render_model(manifest.model),
        "recipe": _plain(manifest.recipe),
        "tensors": [asdict(tensor) for tensor in manifest.tensors],
        "quality": _plain(manifest.quality),
    }


def _part_tree(part: SpeechPart) -> dict[str, JsonValue]:
    return {"format_version": PART_FORMAT_VERSION, "kind": PART_KIND, "part": render_part(part)}


def _format_version(manifest: Manifest) -> int:
    if manifest.adapter is not None:
        return ADAPTER_FORMAT_VERSION
    return SPARSE_FORMAT_VERSION if manifest.model.is_sparse else FORMAT_VERSION


def read_manifest_bytes(package_dir: Path) -> bytes:
    """The exact bytes of a package's manifest. Raises NotFoundError, FormatError (not a package) or StorageError."""
    path = package_dir / MANIFEST_NAME
    with storage_errors(path):
        try:
            status = path.stat()
            if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_MANIFEST_BYTES:
                return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _no_package(package_dir) from error
    raise format_error(str(path), "not a plain file, or too large")


def read_manifest(package_dir: Path) -> Manifest:
    """The checked manifest of the package in a directory; errors name the file."""
    return parse_manifest_of(package_dir, read_manifest_bytes(package_dir))


def version_id(manifest_bytes: bytes) -> str:
    """What tells versions of a package apart."""
    return hashlib.sha256(manifest_bytes).hexdigest()


def parse_manifest_of(package_dir: Path, data: bytes) -> Manifest:
    """What `read_manifest_bytes` gave for that directory."""
    try:
        return parse_manifest(data)
    except FormatError as error:
        raise FormatError(f"{package_dir}: {error}") from error


def _no_package(package_dir: Path) -> NotFoundError | FormatError:
    if package_dir.exists():
        return FormatError(
            f"{package_dir} is not a pocketseek package; make one from a checkpoint with `pocketseek convert`"
        )
    return NotFoundError(f"{package_dir} does not exist; `pocketseek models` lists what is installed")


def _checked_version(value: Mapping[str, JsonValue]) -> int:
    """First of all, so that a package of a later format is not called damaged."""
    if value.get("magic") != MAGIC:
        raise format_error(MANIFEST_NAME, f"no {MAGIC!r} magic")
    version = as_integer(value.get("format_version"), f"{MANIFEST_NAME}: format_version", 1, 2**31)
    if version not in (FORMAT_VERSION, SPARSE_FORMAT_VERSION, PART_FORMAT_VERSION, ADAPTER_FORMAT_VERSION):
        raise FormatError(f"{MANIFEST_NAME}: format {version} is newer than this program; update pocketseek")
    return version


def parse_tensor_entry(value: JsonValue, index: int) -> TensorEntry:
    where = f"{MANIFEST_NAME}: tensors[{index}]"
    fields = Fields(value, where, _TENSOR)
    shape = tuple(as_integer(size, f"{where}.shape", 1, _MAX_DIMENSION) for size in fields.items("shape"))
    return TensorEntry(
        name=fields.text("name", _TENSOR_NAME),
        format=fields.text("format", _WORD),
        shape=shape,
        stage=fields.text("stage", _WORD),
        extents=tuple(_parse_extent(item, f"{where}.extents[{i}]") for i, item in enumerate(fields.items("extents"))),
    )


def _parse_extent(value: JsonValue, where: str) -> Extent:
    fields = Fields(value, where, _EXTENT)
    return Extent(
        chunk=fields.integer("chunk", 0, _MAX_DIMENSION),
        offset=fields.integer("offset", 0, MAX_CHUNK_BYTES - 1),
        num_bytes=fields.integer("num_bytes", 1, MAX_CHUNK_BYTES),
        first_tile=fields.integer("first_tile", 0, _MAX_DIMENSION),
    )


def parse_chunk_entry(value: JsonValue, index: int) -> ChunkEntry:
    where = f"{MANIFEST_NAME}: chunks[{index}]"
    fields = Fields(value, where, _CHUNK)
    return ChunkEntry(
        sha256=fields.text("sha256", SHA256_PATTERN),
        num_bytes=fields.integer("num_bytes", 1, MAX_CHUNK_BYTES),
        stage=fields.text("stage", _WORD),
        segments=_parse_segments(fields.items("segments"), where),
    )


def _parse_segments(values: Sequence[JsonValue], where: str) -> tuple[str, ...]:
    segments = tuple(value for value in values if isinstance(value, str) and SHA256_PATTERN.fullmatch(value))
    if len(segments) != len(values):
        raise format_error(f"{where}.segments", "not all SHA-256 in lower-case hexadecimal")
    return segments


def _parse_adapter(value: Mapping[str, JsonValue]) -> AdapterBase:
    fields = Fields(value, f"{MANIFEST_NAME}: adapter", _ADAPTER)
    return AdapterBase(
        name=fields.text("base", NAME_PATTERN),
        manifest_sha256=fields.text("base_manifest", SHA256_PATTERN),
        source_sha256=fields.text("base_source", SHA256_PATTERN),
    )


def _parse_files(values: Mapping[str, JsonValue]) -> dict[str, FileEntry]:
    files: dict[str, FileEntry] = {}
    sizes: dict[str, int] = {}
    for name, value in values.items():
        if not NAME_PATTERN.fullmatch(name):
            raise format_error(f"{MANIFEST_NAME}: files", f"the name {name[:80]!r} is not allowed")
        fields = Fields(value, f"{MANIFEST_NAME}: files.{name}", _FILE)
        entry = FileEntry(fields.text("sha256", SHA256_PATTERN), fields.integer("num_bytes", 0, MAX_FILE_BYTES))
        if sizes.setdefault(entry.sha256, entry.num_bytes) != entry.num_bytes:
            raise format_error(fields.where, "the same hash as another file with another size")
        files[name] = entry
    return files


def _plain(value: JsonValue) -> JsonValue:
    """Dicts and lists only, as json.dumps wants them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
