"""The installed models, and adapters for them: one package directory each under the models directory, named as the user
types it.

Changing calls hold the destination's lock (lock.py) and survive a crash at any point; asking calls take no lock and
write nothing. A package that is being written, replaced or removed is never listed half-done.
"""

from __future__ import annotations

import builtins
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pocketseek.errors import BusyError, FormatError, IntegrityError, NotFoundError, StorageError, UsageError
from pocketseek.package.install import is_package_dir, remove_tree, sweep
from pocketseek.package.journal import is_download, is_unfinished
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import Manifest
from pocketseek.package.paths import (
    MANIFEST_NAME,
    NAME_PATTERN,
    SEAL_TEMP_NAME,
    TEMP_PREFIXES,
    check_model_name,
    neighbour_owner,
    partial_path,
    resume_path,
    trash_path,
)
from pocketseek.package.settle import is_settled, is_updating, settle
from pocketseek.package.storage import storage_errors, sync_dir, tree_bytes
from pocketseek.package.verify import check_chunks, on_settled_manifest


@dataclass(frozen=True)
class InstalledModel:
    """A package whose manifest is good and whose chunks and files are all there with their sizes."""

    name: str
    path: Path
    num_bytes: int
    manifest: Manifest


@dataclass(frozen=True)
class BrokenModel:
    """A directory under the models directory that cannot be used, and why (one line)."""

    name: str
    path: Path
    reason: str


@dataclass(frozen=True)
class UnfinishedModel:
    """An interrupted conversion or download that goes on where it was. num_bytes: what is kept of it."""

    name: str
    num_bytes: int
    is_download: bool = False


class ModelStore:
    """Cheap to make; reads the directory anew on every call. It need not exist until something is written."""

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir

    def list(self) -> builtins.list[InstalledModel]:
        """The usable language models by name (quick check only: nothing is hashed)."""
        return [
            model for model in self._usable() if model.manifest.config is not None and model.manifest.adapter is None
        ]

    def list_parts(self) -> builtins.list[InstalledModel]:
        """The usable speech parts (format 3) by name, likewise."""
        return [model for model in self._usable() if model.manifest.part is not None]

    def list_adapters(self) -> builtins.list[InstalledModel]:
        """The usable adapters (format 4) by name, likewise."""
        return [model for model in self._usable() if model.manifest.adapter is not None]

    def list_broken(self) -> builtins.list[BrokenModel]:
        """What lies among the models and cannot be used."""
        return [model for model in self._survey() if isinstance(model, BrokenModel)]

    def list_unfinished(self) -> builtins.list[UnfinishedModel]:
        """Interrupted conversions and downloads (or living ones) that `convert` and `pull` go on with."""
        owners = {owner for path in self._entries() if (owner := neighbour_owner(path)) is not None}
        return [
            UnfinishedModel(
                owner.name, tree_bytes(partial_path(owner)) + tree_bytes(resume_path(owner)), is_download(owner)
            )
            for owner in sorted(owners)
            if NAME_PATTERN.fullmatch(owner.name) and _is_kept(owner)
        ]

    def resolve(self, name_or_path: str) -> Path:
        """The directory of an installed model, or of a package given by path; an installed name wins.

        Raises NotFoundError (with what is installed), FormatError if the path is something else, or StorageError.
        """
        if self.is_installed(name_or_path):
            return self.models_dir / name_or_path
        path = Path(os.path.expanduser(name_or_path))
        if name_or_path and os.path.isfile(path / MANIFEST_NAME):
            return path
        if name_or_path and os.path.exists(path):
            raise FormatError(f"{name_or_path} is not a pocketseek package; make one with `pocketseek convert`")
        raise self._not_found(name_or_path)

    def resolve_adapter(self, name_or_path: str) -> Path:
        """As `resolve`; whether it is an adapter shows when it is opened."""
        if not self.is_installed(name_or_path) and (Path(name_or_path) / "adapter_config.json").is_file():
            raise FormatError(
                f"{name_or_path} is an adapter in PEFT's format; install it with `pocketseek adapt add MODEL FOLDER`"
            )
        try:
            return self.resolve(name_or_path)
        except NotFoundError:
            names = ", ".join(adapter.name for adapter in self.list_adapters())
            hint = f"there are: {names}" if names else "there are none; `pocketseek adapt add` installs one"
            raise NotFoundError(f"no adapter {name_or_path[:120]!r}; {hint}") from None

    def is_installed(self, name: str) -> bool:
        """Whether there is a directory of that name, broken or not. Raises StorageError if that cannot be seen."""
        return bool(NAME_PATTERN.fullmatch(name)) and _is_dir(self.models_dir / name)

    def path_for_new(self, name: str) -> Path:
        """Where a model of that name is to be written. Raises UsageError for an impossible name."""
        return self.models_dir / check_model_name(name)

    def remove(self, name: str) -> int:
        """Delete an installed model, broken or not, and what is kept of an interrupted conversion to that name. Returns
        the bytes freed.

        It is gone in one step (a rename), then its bytes are deleted. Of a symbolic link only the link is removed.
        Raises NotFoundError, UsageError (not a package), BusyError, StorageError.
        """
        path = self.models_dir / name
        if not NAME_PATTERN.fullmatch(name) or not (self._has(name) or _is_kept(path)):
            raise self._not_found(name)
        with destination_lock(path), storage_errors(path):
            if not self._has(name):
                return sweep(path)
            if not path.is_symlink() and not is_package_dir(path):
                raise UsageError(f"{path} is not a pocketseek package; delete it by hand if you do not need it")
            freed_bytes = sweep(path)
            os.rename(path, trash_path(path))
            sync_dir(self.models_dir)
            return freed_bytes + remove_tree(trash_path(path))

    def clean(self) -> int:
        """Remove what dead writers and removers left, but not what can be gone on with; living ones are not disturbed.
        Returns the bytes freed."""
        freed_bytes = 0
        owners = {owner for path in self._entries() if (owner := neighbour_owner(path)) is not None}
        for owner in sorted(owners):
            try:
                with destination_lock(owner), storage_errors(owner):
                    freed_bytes += settle(owner)
                    freed_bytes += sweep(owner, keep_unfinished=_is_kept(owner), keep_update=is_updating(owner))
            except (BusyError, StorageError):  # alive, or not ours to delete: it harms nobody where it is
                continue
        for package_dir in self._entries():
            if NAME_PATTERN.fullmatch(package_dir.name):
                _remove_temporary_files(package_dir)
                _remove_seal_leftover(package_dir)
                freed_bytes += _settle_if_needed(package_dir)
        return freed_bytes

    def _has(self, name: str) -> bool:
        with storage_errors(self.models_dir):
            try:
                os.lstat(self.models_dir / name)
            except (FileNotFoundError, NotADirectoryError):
                return False
        return True

    def _usable(self) -> builtins.list[InstalledModel]:
        return [model for model in self._survey() if isinstance(model, InstalledModel)]

    def _survey(self) -> builtins.list[InstalledModel | BrokenModel]:
        return [_inspect(path) for path in self._entries() if NAME_PATTERN.fullmatch(path.name) and _is_dir(path)]

    def _entries(self) -> builtins.list[Path]:
        with storage_errors(self.models_dir):
            try:
                return sorted(self.models_dir.iterdir())
            except FileNotFoundError:
                return []

    def _not_found(self, name: str) -> NotFoundError:
        names = ", ".join(model.name for model in self._usable())
        hint = (
            f"installed: {names}; `pocketseek pull` fetches others"
            if names
            else "nothing is installed yet; `pocketseek chat demo` installs a small one"
        )
        return NotFoundError(f"no model {name[:120]!r}; {hint}")


def _is_kept(destination: Path) -> bool:
    """Whether there is something that can be gone on with."""
    return is_unfinished(destination) or is_download(destination)


def _is_dir(path: Path) -> bool:
    with storage_errors(path):
        return path.is_dir()


def _inspect(path: Path) -> InstalledModel | BrokenModel:
    def check(manifest: Manifest) -> InstalledModel:
        check_chunks(path, manifest, mode="quick")
        return InstalledModel(path.name, path, manifest.num_bytes, manifest)

    try:
        return on_settled_manifest(path, check)
    except (FormatError, IntegrityError, NotFoundError, StorageError) as error:
        return BrokenModel(path.name, path, str(error))


def _settle_if_needed(package_dir: Path) -> int:
    """Finish an update or a rollback that was cut short inside the package."""
    try:
        with storage_errors(package_dir):
            if is_settled(package_dir):
                return 0
            with destination_lock(package_dir):
                return settle(package_dir)
    except (BusyError, StorageError):  # as above
        pass
    return 0


def _remove_temporary_files(package_dir: Path) -> None:
    with storage_errors(package_dir):
        for prefix in TEMP_PREFIXES:
            for path in package_dir.glob(f"{prefix}*"):
                path.unlink(missing_ok=True)


def _remove_seal_leftover(package_dir: Path) -> None:
    """What a killed `seal` or `passwd` had not put in place yet; one that lives is left alone."""
    leftover = package_dir / SEAL_TEMP_NAME
    if not os.path.lexists(leftover):
        return
    with suppress(BusyError), destination_lock(package_dir.resolve()), storage_errors(package_dir):
        leftover.unlink(missing_ok=True)
