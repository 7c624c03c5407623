"""Which installed models can stand in for another: smaller ones of the same line, that take and give the same text.

Of one line are models of the same family (architecture) whose chat template and text settings are the same bytes (or
both have no template), and whose vocabularies differ by padding at most. So a prompt means the same to them, and
an answer has the same form, reasoning tags included. Names say nothing: people choose them. The same model in fewer
bits counts, too. Decided over manifests alone.
"""

from __future__ import annotations

from pocketseek.package.entries import Manifest
from pocketseek.package.store import InstalledModel, ModelStore

_TEXT_FILES = ("chat_template.jinja", "text.json")
_PADDING_SHARE = 64  # of the vocabulary: Qwen2.5 has 151936 to 152064 rows for the same tokens


def smaller_siblings(store: ModelStore, manifest: Manifest) -> list[InstalledModel]:
    """Installed models of the same line with fewer bytes of weights, the largest first. Raises StorageError."""
    most_bytes = weight_bytes(manifest)
    siblings = [
        model
        for model in store.list()
        if weight_bytes(model.manifest) < most_bytes and are_of_one_line(model.manifest, manifest)
    ]
    return sorted(siblings, key=lambda model: (-weight_bytes(model.manifest), model.name))


def are_of_one_line(one: Manifest, other: Manifest) -> bool:
    difference = abs(one.model.vocab_size - other.model.vocab_size)
    return (
        one.model.family == other.model.family
        and difference * _PADDING_SHARE <= max(one.model.vocab_size, other.model.vocab_size)
        and all(one.files.get(name) == other.files.get(name) for name in _TEXT_FILES)
    )


def weight_bytes(manifest: Manifest) -> int:
    return sum(extent.num_bytes for tensor in manifest.tensors for extent in tensor.extents)
