"""Computed pages on disk, so that a prompt that was read before need not be computed again after a restart.

    <root>/<identity>/<chain>              one page (record.py); names.py has how they are called
    <root>/<identity>/.<random>.partial    being written, flock'ed by its writer

The identity stands for the model and everything else that decides what a page holds (`identity_of`); pages of other
identities are never read, and give way like the rest: all of <root> together stays within limit_bytes, those used
longest ago are removed first, and of a chain its end before its beginning (by mtime, which `keep` sets).

It is only a cache. A damaged or foreign file is removed and counts as missing; a full, read-only or vanished disk makes
`keep` return False and `read` return None, is counted in num_failures and logged once. A file appears under its name by
a rename after its bytes were synced, so that a crash leaves whole pages only; the directory itself is not synced, since
a page that is lost costs time and nothing else. Several processes may use one store: each sees the others' pages when
it refreshes, and until then together they may exceed the limit by what they write meanwhile. Files that do not look
like the store's own are left alone outside of directories named by an identity. Conversations lie here: mode 0700,
and sealed where there is a key; forgotten.py has how they are got rid of.

Bytes go to disk in `_save` and come back in `_load`, nowhere else. Used by one thread.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pocketseek.errors import FormatError
from pocketseek.package.sealing.ciphers import RecordCipher
from pocketseek.package.storage import write_all
from pocketseek.runtime.prefix.forgotten import is_forgotten, remove_unless_locked, sweep_marks
from pocketseek.runtime.prefix.names import FOLDER, PAGE, folder_name, page_name, short_name
from pocketseek.runtime.prefix.page import PageKey
from pocketseek.runtime.prefix.record import parse_record, record_bytes, render_header

DEFAULT_LIMIT_BYTES = 1 << 30
_FREE_SHARE = 10  # at most a tenth of what is free, the store itself counted as free
_DEPTH_NS = 1_000  # the next page of a chain counts as used this much earlier
_CHAIN_NS = 100_000_000  # more than the longest chain has of them

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Stored:
    num_bytes: int
    used_ns: int


def identity_of(facts: Mapping[str, str]) -> bytes:
    """What names a directory of pages: equal facts, equal pages."""
    return sha256(json.dumps(dict(facts), sort_keys=True).encode()).digest()


class PrefixStore:
    """Nothing is touched on disk before the first read or write."""

    def __init__(
        self,
        root: Path,
        identity: bytes,
        *,
        page_bytes: int,
        limit_bytes: int | None = None,
        cipher: RecordCipher | None = None,
        owner: str = "",
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """limit_bytes: of all pages under root; by default 1 GiB or a tenth of what is free, whichever is less. cipher:
        files are sealed with it, and have names that nobody without the key can tell a text by. owner: whose pages
        these are, for `forget_model` (names.py). may_write: asked before each page is written, and again when it is
        there, which takes it back."""
        self.identity = identity
        self._cipher = cipher
        self._record_bytes = record_bytes(page_bytes) + (cipher.EXTRA_BYTES if cipher else 0)
        self.num_failures = 0
        self._root = root
        self._folder = root / folder_name(owner, identity)
        self._may_write = may_write
        self._page_bytes = page_bytes
        self._limit_bytes = limit_bytes
        self._files: dict[Path, _Stored] | None = None
        self._own: dict[str, Path] = {}  # by the page's name, of this identity
        self._num_bytes = 0
        self._buffer = bytearray()

    @property
    def num_bytes(self) -> int:
        """Of all files known, those of other models too."""
        return self._num_bytes

    def refresh(self) -> None:
        """Look at the directory again, and bring it within the limit."""
        self._scan()
        try:
            self._make_room(0, before_ns=None)
        except OSError as error:
            self._failed(error)

    def read(self, key: PageKey) -> memoryview | None:
        """A page, or None if it is not here. Valid until the next call."""
        path = self._find(key)
        if path is None:
            return None
        try:
            return parse_record(self._opened(self._load(path)), self.identity, key, self._page_bytes)
        except FileNotFoundError:  # somebody else's limit
            pass
        except OSError as error:
            self._failed(error)
        except FormatError:
            self._discard(path)
        self._forget(path)
        return None

    def keep(self, key: PageKey, depth: int, page: memoryview, *, used_ns: int, label: str = "") -> bool:
        """Store a page, or note that it was used if it is here; False if that cannot be.

        depth: how many pages stand before it. used_ns: when its chain was used; the same for all pages of a chain,
        which do not push out one another. label: what it goes with when that is forgotten (forgotten.py).
        """
        group, stamp_ns = short_name(label) if label else "", used_ns - depth * _DEPTH_NS
        path = self._find(key) or self._folder / page_name(self._name(key), group)
        num_bytes = self._record_bytes
        try:
            if self._is_unwanted(group, used_ns):
                return False
            if path in self._known():
                os.utime(path, ns=(stamp_ns, stamp_ns))
            elif not self._make_room(num_bytes, before_ns=used_ns - _CHAIN_NS):
                return False
            else:
                self._save(path, self._sealed(render_header(self.identity, key, page), page), stamp_ns)
                if self._is_unwanted(group, used_ns):
                    self._remove(path)
                    return False
        except OSError as error:
            self._forget(path)
            self._failed(error)
            return False
        self._forget(path)
        self._remember(path, _Stored(num_bytes, stamp_ns))
        return True

    # -- the disk --------------------------------------------------------------------------------------------------

    def _sealed(self, header: bytes, page: memoryview) -> tuple[bytes | memoryview, ...]:
        return (header, page) if self._cipher is None else (self._cipher.seal(header + page, self.identity),)

    def _opened(self, record: memoryview) -> memoryview:
        """Raises FormatError."""
        if self._cipher is None:
            return record
        plain = self._cipher.open(record, self.identity)
        if plain is None:
            raise FormatError("a stored page is damaged, or sealed with another key; remove it")
        return memoryview(plain)

    def _save(self, path: Path, parts: Sequence[bytes | memoryview], stamp_ns: int) -> None:
        """Whole or not at all. The one place where pages go to disk."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._root, path.parent):
            if folder.is_symlink():
                raise OSError(errno.ELOOP, "a link is not written through", str(folder))
        partial = path.with_name(f".{secrets.token_hex(8)}.partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # see _remove_unless_locked
            for part in parts:
                write_all(descriptor, part)
            os.fsync(descriptor)
            os.utime(descriptor, ns=(stamp_ns, stamp_ns))
            os.rename(partial, path)
        except BaseException:  # also Ctrl-C: nothing half-written stays, and it is raised again
            with suppress(OSError):
                os.unlink(partial)
            raise
        finally:
            os.close(descriptor)

    def _load(self, path: Path) -> memoryview:
        """The bytes of a file, at most one more than a record has. The one place where pages come from disk."""
        wanted_bytes = self._record_bytes + 1
        if len(self._buffer) != wanted_bytes:
            self._buffer = bytearray(wanted_bytes)
        view = memoryview(self._buffer)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        num_read = 0
        try:
            while num_read < wanted_bytes and (count := os.readv(descriptor, [view[num_read:]])):
                num_read += count
        finally:
            os.close(descriptor)
        return view[:num_read]

    # -- what is there ---------------------------------------------------------------------------------------------

    def _is_unwanted(self, group: str, used_ns: int) -> bool:
        return not self._may_write() or (bool(group) and is_forgotten(self._root, group, used_ns))

    def _name(self, key: PageKey) -> str:
        return self._cipher.name(key.chain) if self._cipher else key.chain.hex()

    def _find(self, key: PageKey) -> Path | None:
        self._known()
        return self._own.get(self._name(key))

    def _known(self) -> dict[Path, _Stored]:
        return self._scan() if self._files is None else self._files

    def _scan(self) -> dict[Path, _Stored]:
        files: dict[Path, _Stored] = {}
        self._files, self._own = files, {}
        self._num_bytes = 0
        sweep_marks(self._root)
        for folder in _entries(self._root):
            if FOLDER.fullmatch(folder.name):
                for entry in _entries(Path(folder.path)):
                    self._take_in(entry)
        return files

    def _take_in(self, entry: os.DirEntry[str]) -> None:
        with suppress(OSError):  # what cannot be looked at or removed is somebody else's concern
            status = entry.stat(follow_symlinks=False)
            if not entry.is_file(follow_symlinks=False):
                return
            if PAGE.fullmatch(entry.name):
                self._remember(Path(entry.path), _Stored(status.st_size, status.st_mtime_ns))
            else:
                remove_unless_locked(entry.path)

    def _remember(self, path: Path, stored: _Stored) -> None:
        self._known()[path] = stored
        self._num_bytes += stored.num_bytes
        if path.parent == self._folder:
            self._own[path.stem] = path

    def _forget(self, path: Path) -> None:
        stored = self._known().pop(path, None)
        if path.parent == self._folder and self._own.get(path.stem) == path:
            del self._own[path.stem]
        self._num_bytes -= stored.num_bytes if stored else 0

    def _make_room(self, num_bytes: int, *, before_ns: int | None) -> bool:
        """Remove what was used longest ago, unless it was used after before_ns. False if that is not enough."""
        limit_bytes = self._current_limit_bytes()
        while self._num_bytes + num_bytes > limit_bytes:
            oldest = min(self._known().items(), key=lambda item: item[1].used_ns, default=None)
            if oldest is None or (before_ns is not None and oldest[1].used_ns > before_ns):
                return False
            self._remove(oldest[0])
        return True

    def _current_limit_bytes(self) -> int:
        if self._limit_bytes is not None:
            return self._limit_bytes
        place = next(folder for folder in (self._root, *self._root.parents) if folder.exists())
        free_bytes = shutil.disk_usage(place).free
        return min(DEFAULT_LIMIT_BYTES, (free_bytes + self._num_bytes) // _FREE_SHARE)

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._forget(path)
        with suppress(OSError):  # there are more pages in it
            path.parent.rmdir()

    def _discard(self, path: Path) -> None:
        """A file that is of no use to anybody."""
        try:
            self._remove(path)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        if self.num_failures == 0:
            _log.info("the prefix store %s cannot be used: %s", self._root, error)
        self.num_failures += 1


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What is in a directory; nothing if it cannot be read, or is a link."""
    with suppress(OSError):
        if not folder.is_symlink():
            yield from list(os.scandir(folder))
