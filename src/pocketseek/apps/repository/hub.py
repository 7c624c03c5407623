"""A model hub in the way of Hugging Face: what a repository holds, and where its files are.

Two addresses are used, as the hub's own client uses them: `/api/models/OWNER/NAME/revision/REV?blobs=true` lists the
files of a revision with sizes and hashes, `/OWNER/NAME/resolve/COMMIT/FILE` leads to one. All files of a download are
of one commit. The bytes come through our own client and not through `huggingface_hub`: that one keeps no rate limit,
checks no hashes, and needs a compiled library that Termux has not; a test compares the two on the same hub.
What counts as needed is chosen by name: weights, config, tokenizer, template, licence; never code, never pickles.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pocketseek.apps.repository.http_client import Address, HttpClient
from pocketseek.apps.repository.source import is_path
from pocketseek.errors import DownloadError, NotFoundError, UnsupportedError, UsageError
from pocketseek.package.paths import MANIFEST_NAME
from pocketseek.package.strict_json import JsonValue, load_object
from pocketseek.settings import NetworkSettings

_MAX_LISTING_BYTES = 32 * 1024 * 1024
_MAX_FILE_BYTES = 1 << 44
_TEXT_NAMES = frozenset(
    {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "LICENSE",
        "LICENSE.txt",
        "LICENSE.md",
        "NOTICE",
    }
)
_INDEX_NAME = "model.safetensors.index.json"
_WEIGHTS = re.compile(r"(?:model|pytorch_model)(?:-\d{5}-of-\d{5})?\.safetensors")
_SPLIT_GGUF = re.compile(r".*-\d{5}-of-(?!00001)\d{5}\.gguf")
# Which of several GGUF files, where nobody says: four bits with the best quality first.
_GGUF_TYPES = ("Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "Q5_K_M", "Q6_K", "Q8_0", "F16", "BF16", "F32")
_REPOSITORY = re.compile(
    r"(?:hf://)?([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([A-Za-z0-9][\w.-]{0,99}))?", re.ASCII
)
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RepositoryName:
    """revision: a branch, a tag or a commit."""

    name: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"hf://{self.name}" + ("" if self.revision == "main" else f"@{self.revision}")


@dataclass(frozen=True)
class HubFile:
    """sha256: of large files; git_sha1: of the others, as git names their bytes."""

    name: str
    num_bytes: int
    sha256: str | None
    git_sha1: str | None


@dataclass(frozen=True)
class Repository:
    """Its files in the folder at the top; those of other folders are of no use here."""

    name: RepositoryName
    commit: str
    files: tuple[HubFile, ...]

    @property
    def is_package(self) -> bool:
        return any(file.name == MANIFEST_NAME for file in self.files)


@dataclass(frozen=True)
class Checkpoint:
    """What to download of a repository to convert it."""

    kind: Literal["safetensors", "gguf"]
    files: tuple[HubFile, ...]

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files)


def parse_repository(text: str) -> RepositoryName | None:
    """None if it does not look like the name of a repository."""
    match = _REPOSITORY.fullmatch(text)
    return RepositoryName(match[1], match[2] or "main") if match else None


def files_address(network: NetworkSettings, repository: RepositoryName, commit: str) -> Address:
    """The folder that the files of a commit lie in."""
    return Address(f"{network.hub}/{repository.name}/resolve/{commit}", _authorisation(network))


def read_repository(client: HttpClient, network: NetworkSettings, repository: RepositoryName) -> Repository:
    """Raises NotFoundError, DownloadError, FormatError."""
    url = f"{network.hub}/api/models/{repository.name}/revision/{repository.revision}?blobs=true"
    data = client.read(Address(url, _authorisation(network)), _MAX_LISTING_BYTES)
    if data is None:
        raise NotFoundError(f"{repository} is not at {network.hub}, or is private; check the name, or set HF_TOKEN")
    value = load_object(data, str(repository), max_bytes=_MAX_LISTING_BYTES)
    commit, siblings = value.get("sha"), value.get("siblings")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit) or not isinstance(siblings, list):
        raise DownloadError(f"{network.hub} does not answer as a model hub does; check HF_ENDPOINT")
    files = [_file(item) for item in siblings]
    return Repository(repository, commit, tuple(file for file in files if file is not None))


def choose_checkpoint(repository: Repository, file_name: str | None = None) -> Checkpoint:
    """Safetensors if there are any, else one GGUF file; file_name: that one. Raises UsageError, NotFoundError,
    UnsupportedError."""
    by_name = {file.name: file for file in repository.files}
    if file_name is not None:
        if file_name not in by_name or not file_name.endswith(".gguf"):
            raise NotFoundError(f"{repository.name} has no GGUF file {file_name[:120]!r}; {_offered(repository)}")
        return Checkpoint("gguf", (by_name[file_name],))
    weights = [file for file in repository.files if _WEIGHTS.fullmatch(file.name)]
    if weights:
        texts = [file for file in repository.files if file.name in _TEXT_NAMES or file.name == _INDEX_NAME]
        return Checkpoint("safetensors", (*texts, *weights))
    return Checkpoint("gguf", (_choose_gguf(repository),))


def check_file(path: Path, file: HubFile) -> None:
    """A file whose only hash is git's. Raises DownloadError, OSError."""
    if file.sha256 is not None or file.git_sha1 is None:
        return
    data = path.read_bytes()
    if hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() != file.git_sha1:
        path.unlink()
        raise DownloadError(f"{file.name} arrived damaged; try again")


def _choose_gguf(repository: Repository) -> HubFile:
    files = [file for file in repository.files if file.name.endswith(".gguf") and not file.name.startswith("mmproj")]
    whole = [file for file in files if not _SPLIT_GGUF.fullmatch(file.name)]
    if len(whole) == 1:
        return whole[0]
    for type_name in _GGUF_TYPES:
        typed = [file for file in whole if re.search(rf"\b{type_name}\b", file.name.upper().replace(".", " "))]
        if len(typed) == 1:
            return typed[0]
    if whole:
        raise UsageError(f"{repository.name} has several GGUF files; say which with --file: {_offered(repository)}")
    if files:
        raise UnsupportedError(f"{repository.name} has its GGUF file in several parts; pull another repository")
    raise UnsupportedError(
        f"{repository.name} has neither safetensors nor GGUF at its top (nor a package of pocketseek's); "
        "pull another repository of the same model"
    )


def _offered(repository: Repository) -> str:
    names = [file.name for file in repository.files if file.name.endswith(".gguf")]
    return "there are " + ", ".join(names[:12]) if names else "there is none"


def _file(value: JsonValue) -> HubFile | None:
    """None for what lies deeper or has a name that nothing of ours has."""
    if not isinstance(value, dict):
        return None
    name, size, lfs = value.get("rfilename"), value.get("size"), value.get("lfs")
    if not isinstance(name, str) or "/" in name or not is_path(name):
        return None
    sha256 = lfs.get("sha256", lfs.get("oid")) if isinstance(lfs, dict) else None
    if isinstance(lfs, dict) and isinstance(lfs.get("size"), int):
        size = lfs["size"]
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _MAX_FILE_BYTES:
        return None
    return HubFile(name, size, _matched(_SHA256, sha256), _matched(_SHA1, value.get("blobId")))


def _matched(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _authorisation(network: NetworkSettings) -> dict[str, str]:
    return {"Authorization": f"Bearer {network.hub_token}"} if network.hub_token else {}
