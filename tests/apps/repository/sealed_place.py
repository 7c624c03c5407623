"""An installed old version that is sealed, a published new one with deltas; and a look for plaintext on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from apps.repository.published import Place, make_place
from package.sealed_samples import GCM, key

from pocketseek.apps.repository.source import DirectorySource
from pocketseek.apps.repository.update import Updated, look, update
from pocketseek.package.manifest import read_manifest, read_manifest_bytes
from pocketseek.package.sealing.in_place import seal_package, seal_state
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.opened_seal import OpenedSeal
from pocketseek.package.sealing.seal_record import files_of, read_record
from pocketseek.package.sealing.verify_sealed import verify_with_key

_WINDOW_BYTES = 24
_STEP_BYTES = 1024


@dataclass(frozen=True)
class SealedPlace(Place):
    """As Place; what is installed opens with key()."""

    @cached_property
    def plaintext(self) -> frozenset[bytes]:
        """Pieces of everything that must not be seen on the disk: both versions, and the deltas between them."""
        places = [folder / name for folder in (self.old, self.published) for name in ("chunks", "files", "deltas")]
        files = [path for place in places if place.is_dir() for path in place.iterdir() if path.suffix != ".json"]
        return frozenset(window for path in files for window in _windows(path.read_bytes()))

    def install_old(self) -> Path:
        shutil.rmtree(self.models, ignore_errors=True)
        sealed = self.old.parent / "sealed"
        if not sealed.exists():
            shutil.copytree(self.old, sealed)
            seal_package(sealed, key, GCM)
        return Path(shutil.copytree(sealed, self.installed))

    def update(
        self,
        source: DirectorySource | None = None,
        *,
        whole: bool = False,
        keep: bool = False,
        secret: Secret | None = None,
    ) -> Updated:
        found = source or self.source
        offer = look(self.installed, found).offer
        with closing(secret or key()) as opened:
            return update(self.installed, found, offer, secret=opened, whole=whole, keep_previous=keep)

    def check_whole(self) -> bool:
        is_new = super().check_whole()
        with closing(key()) as secret:
            assert verify_with_key(self.installed, secret).with_key
        assert seal_state(self.installed, read_manifest(self.installed)) == "sealed"
        self.check_nothing_in_the_clear()
        self.check_content(self.published if is_new else self.old)
        return is_new

    def check_content(self, like: Path) -> None:
        """What is decrypted is what the plain package has."""
        record = read_record(self.installed)
        assert record is not None
        manifest, data = read_manifest(self.installed), read_manifest_bytes(self.installed)
        with (
            closing(key()) as secret,
            closing(OpenedSeal.open(self.installed, manifest, data, record, secret)) as opened,
        ):
            for file in files_of(manifest):
                assert opened.file(file.folder, file.sha256) == file.plain_path(like).read_bytes()

    def check_nothing_in_the_clear(self) -> None:
        for path in self.models.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert not any(window in data for window in self.plaintext), f"{path} shows plaintext"


def make_sealed_place(folder: Path) -> SealedPlace:
    place = make_place(folder)
    shutil.rmtree(place.models)
    sealed = SealedPlace(place.old, place.published, place.installed)
    sealed.install_old()
    return sealed


def _windows(data: bytes) -> Iterable[bytes]:
    """Of what could not be anywhere by chance."""
    for start in range(0, len(data), _STEP_BYTES):
        window = data[start : start + _WINDOW_BYTES]
        if len(set(window)) > _WINDOW_BYTES // 3:
            yield window
