"""Which installed models can stand in for another: smaller ones of the same line, that take and give the same text.

Of one line are models of the same family (architecture) whose chat template and text settings are the same bytes (or
both have no template), and whose vocabularies differ by padding at most: the ids that both have stand for the same
tokens. So a prompt means the same to them, and an answer has the same form, reasoning tags included. Names say nothing:
people choose them. The same model in fewer bits counts, too. Decided over manifests; tokenizers are read only where all
else agrees and their files are not the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

from pocketseek.errors import IntegrityError, NotFoundError, StorageError
from pocketseek.package.entries import Manifest
from pocketseek.package.store import InstalledModel, ModelStore
from pocketseek.package.verify import read_checked_file

_TEXT_FILES = ("chat_template.jinja", "text.json")
_TOKENIZER = "tokenizer.json"
_NOT_A_TOKENIZER = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
_PADDING_SHARE = 64  # of the vocabulary: Qwen2.5 has 151936 to 152064 rows for the same tokens


def smaller_siblings(store: ModelStore, path: Path, manifest: Manifest) -> list[InstalledModel]:
    """Installed models of the same line as that at path, with fewer bytes of weights, the largest first.

    Raises StorageError.
    """
    most_bytes = weight_bytes(manifest)
    siblings = [
        model
        for model in store.list()
        if weight_bytes(model.manifest) < most_bytes
        and are_of_one_line(model.manifest, manifest)
        and _mean_the_same(model.path, model.manifest, path, manifest)
    ]
    return sorted(siblings, key=lambda model: (-weight_bytes(model.manifest), model.name))


def are_of_one_line(one: Manifest, other: Manifest) -> bool:
    difference = abs(one.model.vocab_size - other.model.vocab_size)
    return (
        one.model.family == other.model.family
        and difference * _PADDING_SHARE <= max(one.model.vocab_size, other.model.vocab_size)
        and all(one.files.get(name) == other.files.get(name) for name in _TEXT_FILES)
    )


def _mean_the_same(path: Path, manifest: Manifest, other_path: Path, other: Manifest) -> bool:
    """The same ids stand for the same tokens."""
    if manifest.files.get(_TOKENIZER) == other.files.get(_TOKENIZER):
        return True
    one, two = _tokens_of(path, manifest), _tokens_of(other_path, other)
    return one is not None and two is not None and all(two[number] == one[number] for number in one.keys() & two.keys())


def _tokens_of(path: Path, manifest: Manifest) -> dict[int, str] | None:
    """By id; None if they cannot be read, or are not written as Hugging Face writes them."""
    try:
        data = read_checked_file(path, _TOKENIZER, manifest.files[_TOKENIZER])
        content = json.loads(data)
        vocabulary, added = content["model"]["vocab"], content.get("added_tokens") or ()
        tokens = dict(enumerate(entry[0] for entry in vocabulary)) if isinstance(vocabulary, list) else {}
        if not tokens:
            tokens = {number: token for token, number in vocabulary.items()}
        return tokens | {entry["id"]: entry["content"] for entry in added}
    except (IntegrityError, NotFoundError, StorageError, *_NOT_A_TOKENIZER):
        return None


def weight_bytes(manifest: Manifest) -> int:
    return sum(extent.num_bytes for tensor in manifest.tensors for extent in tensor.extents)
