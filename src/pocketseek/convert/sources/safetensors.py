"""Hugging Face checkpoints: `config.json`, text files, and weights in one safetensors file or in shards with an index.

Names of shards come out of the index, so they are taken only as plain names inside the directory. (The files themselves
may be links to elsewhere; download caches are made of them.)
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path

from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.byte_file import ByteFile, quoted, read_small
from pocketseek.convert.sources.json_text import read_json_object
from pocketseek.convert.sources.safetensors_header import MAX_TENSORS, read_safetensors_header
from pocketseek.convert.sources.stored import Placement, StoredSource
from pocketseek.errors import FormatError, NotFoundError, UsageError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_SHARDS = 512  # all are open at once; DeepSeek-V3 has 163
_MAX_CONFIG_BYTES = 4 << 20
_MAX_INDEX_BYTES = 64 << 20
_SHARD_NAME = re.compile(r"[\w.+-]+\.safetensors")
_NUMBERED_SHARD = re.compile(r".*-\d{5}-of-(?!00001)\d{5}\.safetensors")

# Text files taken along when they are there, and the size above which one is not what its name says.
_TEXT_FILES = {
    "tokenizer.json": 128 << 20,
    "tokenizer_config.json": 32 << 20,
    "generation_config.json": 4 << 20,
    "chat_template.jinja": 4 << 20,
    "LICENSE": 4 << 20,
    "LICENSE.txt": 4 << 20,
    "LICENSE.md": 4 << 20,
    "NOTICE": 4 << 20,
}


def open_safetensors(path: Path) -> Source:
    """Open a checkpoint directory, or one safetensors file with its config.json beside it.

    Raises NotFoundError (no config, no weights, a missing shard), FormatError (damaged, hostile), UnsupportedError
    (weights in another format), UsageError (one shard of several was given) or StorageError.
    """
    directory = path if os.path.isdir(path) else path.parent
    with ExitStack() as on_error:
        shards = _Shards(on_error)
        placements = _find_placements(path, directory, shards)
        if not os.path.exists(directory / CONFIG):
            raise NotFoundError(f"{directory} has no {CONFIG}; put the model's {CONFIG} beside the weights")
        config = read_json_object(directory / CONFIG, _MAX_CONFIG_BYTES)
        source = StoredSource("safetensors", path, config, _read_text_files(directory), placements, shards.files)
        on_error.pop_all()
    return source


class _Shards:
    """The files opened so far, so that they are closed if a later one is wrong."""

    def __init__(self, on_error: ExitStack) -> None:
        self.files: list[ByteFile] = []
        self._on_error = on_error

    def open(self, path: Path) -> dict[str, Placement]:
        file = ByteFile(path)
        self.files.append(file)
        self._on_error.callback(file.close)
        return read_safetensors_header(file)


def _find_placements(path: Path, directory: Path, shards: _Shards) -> dict[str, Placement]:
    if path != directory:
        return shards.open(_not_one_of_many(path))
    if os.path.exists(directory / WEIGHTS):
        return shards.open(directory / WEIGHTS)
    if os.path.exists(directory / INDEX):
        return _open_sharded(directory, shards)
    return shards.open(_only_weights(directory))


def _not_one_of_many(path: Path) -> Path:
    if _NUMBERED_SHARD.fullmatch(path.name):
        raise UsageError(f"{path} is one shard of several; give the directory that holds them all and their index")
    return path


def _only_weights(directory: Path) -> Path:
    found = sorted(directory.glob("*.safetensors"))
    if not found:
        raise NotFoundError(f"{directory} has no {WEIGHTS} and no {INDEX}; download the complete checkpoint")
    if len(found) > 1:
        raise NotFoundError(f"{directory} has several safetensors files but no {INDEX}; download the index too")
    return _not_one_of_many(found[0])


def _open_sharded(directory: Path, shards: _Shards) -> dict[str, Placement]:
    shard_of = _read_index(directory / INDEX)
    opened: dict[str, dict[str, Placement]] = {}
    for shard in sorted(set(shard_of.values())):
        if not os.path.exists(directory / shard):
            raise NotFoundError(f"{directory} lacks the shard {quoted(shard)}; download the complete checkpoint")
        opened[shard] = shards.open(directory / shard)
        if sum(map(len, opened.values())) > MAX_TENSORS:
            raise FormatError(f"{directory} holds more than {MAX_TENSORS} tensors; download it again")
    for name, shard in shard_of.items():
        if name not in opened[shard]:
            raise FormatError(f"{directory / shard} lacks tensor {quoted(name)} of the index; download it again")
    return {name: opened[shard][name] for name, shard in shard_of.items()}


def _read_index(path: Path) -> dict[str, str]:
    weight_map = read_json_object(path, _MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError(f"{path} has no weight_map; download it again")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not _SHARD_NAME.fullmatch(shard):
            raise FormatError(f"{path}: tensor {quoted(name)} is not in a file of this directory; download it again")
    if len(set(weight_map.values())) > MAX_SHARDS:
        raise FormatError(f"{path} names more than {MAX_SHARDS} shards; download it again")
    return weight_map


def _read_text_files(directory: Path) -> dict[str, bytes]:
    return {
        name: read_small(directory / name, limit_bytes)
        for name, limit_bytes in _TEXT_FILES.items()
        if os.path.exists(directory / name)
    }
