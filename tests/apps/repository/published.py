"""An installed old version and a published new one with deltas, tiny; and sources that fail or lie."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from package.versions import write_new, write_old

from pocketseek.apps.repository.difference import compare
from pocketseek.apps.repository.source import DirectorySource
from pocketseek.apps.repository.update import Updated, look, roll_back, update
from pocketseek.errors import DownloadError
from pocketseek.package.manifest import read_manifest_bytes
from pocketseek.package.paths import PREVIOUS_NAME
from pocketseek.package.settle import is_settled
from pocketseek.package.store import ModelStore
from pocketseek.package.switch import read_signature
from pocketseek.package.verify import verify_package


@dataclass(frozen=True)
class Place:
    """old: a copy of the old version. published: the new one with deltas. installed: models/m."""

    old: Path
    published: Path
    installed: Path

    @property
    def models(self) -> Path:
        return self.installed.parent

    @property
    def source(self) -> DirectorySource:
        return DirectorySource(self.published)

    def install_old(self) -> Path:
        shutil.rmtree(self.models, ignore_errors=True)
        shutil.copytree(self.old, self.installed)
        return self.installed

    def update(self, source: DirectorySource | None = None, *, whole: bool = False, keep: bool = False) -> Updated:
        found = source or self.source
        return update(self.installed, found, look(self.installed, found).offer, whole=whole, keep_previous=keep)

    def check_whole(self) -> bool:
        """Whether it is the new version; every byte of what is there is checked."""
        data = read_manifest_bytes(self.installed)
        assert ModelStore(self.models).list_broken() == []
        verify_package(self.installed, full=True)
        is_new = data == read_manifest_bytes(self.published)
        assert is_new or data == read_manifest_bytes(self.old)
        assert (b"of the new" if is_new else b"of the old") == read_signature(self.installed)
        return is_new


def install_new(place: Place) -> None:
    place.install_old()
    place.update()


def end_and_come_back(place: Place) -> None:
    """After a kill: the same again, then back, then all that is left is what belongs there."""
    place.update()
    assert place.check_whole()
    ModelStore(place.models).clean()
    assert os.listdir(place.models) == ["m"]
    assert is_settled(place.installed)
    roll_back(place.installed)
    assert not place.check_whole()
    assert not (place.installed / PREVIOUS_NAME).exists()


def make_place(folder: Path) -> Place:
    old, published = write_old(folder / "old"), write_new(folder / "published")
    (old / "manifest.sig").write_bytes(b"of the old")
    (published / "manifest.sig").write_bytes(b"of the new")
    compare(old, published, out=published)
    place = Place(old, published, folder / "models" / "m")
    place.install_old()
    return place


def spoil_deltas(published: Path) -> None:
    """The first two deltas are told to be each other."""
    path = next((published / "deltas").glob("*.json"))
    index = json.loads(path.read_bytes())
    first, second = index["deltas"][:2]
    for name in ("sha256", "num_bytes", "bases"):
        first[name], second[name] = second[name], first[name]
    path.write_text(json.dumps(index))


class DroppingSource(DirectorySource):
    """The network goes away after so many bytes of files."""

    def __init__(self, directory: Path, num_bytes: int) -> None:
        super().__init__(directory)
        self._left = num_bytes

    def stream(self, path: str, offset: int, num_bytes: int) -> Iterator[bytes]:
        for piece in super().stream(path, offset, num_bytes):
            for start in range(0, len(piece), 997):
                small = piece[start : start + 997]
                self._left -= len(small)
                if self._left < 0:
                    raise DownloadError("the connection was lost; try again")
                yield small
