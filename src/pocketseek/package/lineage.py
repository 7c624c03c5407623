"""Which installed models can stand in for another: smaller ones of the same line, that take and give the same text.

Of one line are models of the same family (architecture) whose chat template and text settings are the same bytes (or
both have no template), and whose tokenizers have the same merges and, padding aside, the same tokens: of all ids that
both know, and those are nearly all. So a prompt means the same to them, and an answer has the same form, reasoning
tags included. Names say nothing: people choose them. The same model in fewer bits counts, too.

Decided over manifests. A tokenizer is read only where all else agrees and its file is not the same bytes (0.2 s and
some ten MB for a moment, for the 150 000 tokens of Qwen); who has one that is too large or that cannot be read is of no
line but its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pocketseek.errors import FormatError, IntegrityError, NotFoundError, StorageError
from pocketseek.package.entries import Manifest
from pocketseek.package.store import InstalledModel, ModelStore
from pocketseek.package.strict_json import load_object
from pocketseek.package.verify import read_checked_file

_TEXT_FILES = ("chat_template.jinja", "text.json")
_TOKENIZER = "tokenizer.json"
_MOST_TOKENIZER_BYTES = 32 << 20  # three times that of Qwen
_PADDING_SHARE = 64  # of the vocabulary: Qwen2.5 has 151936 to 152064 rows for the same tokens


@dataclass(frozen=True)
class _Vocabulary:
    tokens: dict[int, str]  # by id
    merges_sha256: str


def smaller_siblings(store: ModelStore, path: Path, manifest: Manifest) -> list[InstalledModel]:
    """Installed models of the same line as that at path, with fewer bytes of weights, the largest first.

    Raises StorageError.
    """
    most_bytes = weight_bytes(manifest)
    own = cache(lambda: _vocabulary_of(path, manifest))
    siblings = [
        model
        for model in store.list()
        if weight_bytes(model.manifest) < most_bytes
        and are_of_one_line(model.manifest, manifest)
        and (
            model.manifest.files.get(_TOKENIZER) == manifest.files.get(_TOKENIZER)
            or _mean_the_same(own(), _vocabulary_of(model.path, model.manifest))
        )
    ]
    return sorted(siblings, key=lambda model: (-weight_bytes(model.manifest), model.name))


def are_of_one_line(one: Manifest, other: Manifest) -> bool:
    """As far as manifests tell: the tokens may yet differ."""
    difference = abs(one.model.vocab_size - other.model.vocab_size)
    return (
        one.model.family == other.model.family
        and difference * _PADDING_SHARE <= max(one.model.vocab_size, other.model.vocab_size)
        and all(one.files.get(name) == other.files.get(name) for name in _TEXT_FILES)
    )


def _mean_the_same(one: _Vocabulary | None, other: _Vocabulary | None) -> bool:
    if one is None or other is None or one.merges_sha256 != other.merges_sha256:
        return False
    num_alone = len(one.tokens.keys() ^ other.tokens.keys())
    return num_alone * _PADDING_SHARE <= max(len(one.tokens), len(other.tokens)) and all(
        other.tokens.get(number, token) == token for number, token in one.tokens.items()
    )


def _vocabulary_of(path: Path, manifest: Manifest) -> _Vocabulary | None:
    """None if it cannot be read, or is not written as Hugging Face writes it (BPE, with or without added tokens)."""
    entry = manifest.files.get(_TOKENIZER)
    if entry is None or entry.num_bytes > _MOST_TOKENIZER_BYTES:
        return None
    try:
        data = read_checked_file(path, _TOKENIZER, entry)
        content: Any = load_object(data, _TOKENIZER, max_bytes=_MOST_TOKENIZER_BYTES)
        model = content["model"]
        tokens = {number: token for token, number in model["vocab"].items()}
        added = {one["id"]: one["content"] for one in content.get("added_tokens") or ()}
        merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"])  # both are in use
        return _Vocabulary(
            tokens | added, hashlib.sha256("\n".join(merges).encode("utf-8", "surrogatepass")).hexdigest()
        )
    except (FormatError, IntegrityError, NotFoundError, StorageError):
        return None
    except (KeyError, TypeError, AttributeError):  # JSON of another shape
        return None


def weight_bytes(manifest: Manifest) -> int:
    return sum(extent.num_bytes for tensor in manifest.tensors for extent in tensor.extents)
