"""Speech parts that are installed as packages (format 3), and opening them.

They lie among the models. What is known of one before it is opened comes out of its manifest, so that a sealed one is
found and chosen like any other; its key is asked for when it is opened. A part whose signature speaks against it is
refused there, in the words in which a model would be.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TypeVar
from weakref import finalize

from pocketseek.apps.repository.versions import VersionNotes
from pocketseek.errors import FormatError, IntegrityError, NotFoundError, StorageError
from pocketseek.package.manifest import read_manifest
from pocketseek.package.part_view import open_part
from pocketseek.package.sealing.key_slots import Secret, passphrase_secret
from pocketseek.package.speech_part import PartKind
from pocketseek.package.store import InstalledModel, ModelStore
from pocketseek.package.trust.gatekeeper import Gatekeeper
from pocketseek.settings import Settings

T = TypeVar("T")
SecretOf = Callable[[Path], AbstractContextManager[Secret | None]]
"""What opens the sealed package there; None: there is none. Asked each time it is opened, in any thread."""

_notes = VersionNotes()


class InstalledParts:
    """Cheap to make; looks anew each time. secret_of: by default POCKETSEEK_PASSPHRASE."""

    def __init__(self, settings: Settings, secret_of: SecretOf | None = None) -> None:
        self._settings = settings
        self._store = ModelStore(settings.models_dir)
        self._secret_of = secret_of or self._usual_secret

    def of_kind(self, kind: PartKind) -> list[InstalledModel]:
        return [one for one in self._store.list_parts() if one.manifest.part and one.manifest.part.kind == kind]

    def has(self, name: str, kind: PartKind) -> bool:
        return any(one.name == name for one in self.of_kind(kind))

    def is_taken(self, name: str) -> bool:
        """Whether a package of that name is something else than a speech part. One that is broken is nothing."""
        try:
            return read_manifest(self._settings.models_dir / name).part is None
        except (NotFoundError, FormatError, IntegrityError, StorageError):
            return False

    def open(self, package_dir: Path, make: Callable[[Path], T]) -> T:
        """What `make` makes of the folder with the part's files, which is there as long as that lives.

        Raises what `open_part` and `make` raise, and TrustError.
        """
        _notes.opening(package_dir)
        with self._secret_of(package_dir) as secret:
            view = open_part(
                package_dir, self._settings.views_dir, secret=secret, admit=Gatekeeper.of(self._settings).admit
            )
        try:
            made = make(view.folder)
        except BaseException:  # also Ctrl-C: what was decrypted does not stay, and it is raised again
            view.close()
            raise
        view.was_read()
        finalize(made, view.close)
        _notes.answered(package_dir)  # that an engine opened it is the proof: there is nothing else to ask it
        return made

    def _usual_secret(self, package_dir: Path) -> AbstractContextManager[Secret | None]:
        passphrase = self._settings.passphrase
        return closing(passphrase_secret(passphrase)) if passphrase else nullcontext()
