"""Pages on disk under a key: they come back with it, tell nothing without it, and are worth nothing if changed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")

from pocketseek.package.sealing.ciphers import RecordCipher
from pocketseek.runtime.prefix.page import PageKey, key_of_page
from pocketseek.runtime.prefix.store import PrefixStore, identity_of

PAGE = b"a computed page, " * 60
IDENTITY = identity_of({"model": "one"})


def opened(root: Path, key: bytes | None = bytes(range(32))) -> PrefixStore:
    cipher = None if key is None else RecordCipher(key)
    return PrefixStore(root, IDENTITY, page_bytes=len(PAGE), cipher=cipher)


@pytest.fixture
def key(tmp_path: Path) -> PageKey:
    """Of a page that is kept."""
    key = key_of_page(IDENTITY, [77] * 64)
    assert opened(tmp_path).keep(key, 0, memoryview(PAGE), used_ns=10**9)
    return key


def the_file(root: Path) -> Path:
    (path,) = (path for path in root.rglob("*") if path.is_file())
    return path


def test_a_page_comes_back_with_the_key_alone(tmp_path: Path, key: PageKey) -> None:
    assert opened(tmp_path).read(key) == PAGE
    for other in (bytes(32), None):
        assert opened(tmp_path, other).read(key) is None


def test_neither_the_file_nor_its_name_tells_the_text(tmp_path: Path, key: PageKey) -> None:
    path = the_file(tmp_path)
    assert b"a computed page" not in path.read_bytes()
    assert bytes(key.tokens) not in path.read_bytes()
    assert path.name != key.chain.hex()


@pytest.mark.parametrize("offset", [0, 11, 12, 200, -1])
def test_a_changed_page_is_as_if_it_were_not_there(tmp_path: Path, key: PageKey, offset: int) -> None:
    path = the_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    assert opened(tmp_path).read(key) is None
    assert not path.exists()


def test_a_page_under_the_name_of_another_is_refused(tmp_path: Path, key: PageKey) -> None:
    first = the_file(tmp_path)
    other = key_of_page(IDENTITY, [78] * 64)
    first.rename(first.with_name(RecordCipher(bytes(range(32))).name(other.chain)))
    assert opened(tmp_path).read(other) is None


def test_equal_pages_are_never_written_alike(tmp_path: Path, key: PageKey) -> None:
    again = tmp_path / "again"
    opened(again).keep(key, 0, memoryview(PAGE), used_ns=10**9)
    one, two = the_file(again), next(path for path in (tmp_path / IDENTITY.hex()).iterdir())
    assert one.name == two.name
    assert one.read_bytes() != two.read_bytes()
