"""Tokens: shown once, kept as hashes in a private file, revoked at once, and nobody gets in by a damaged file."""

import json
import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.access_tokens import TOKEN_PREFIX, TokenLimits, TokenStore, parse_tokens
from pocketseek.errors import FormatError, NotFoundError, StorageError, UsageError


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path / "home" / "tokens.json")


def test_a_token_finds_its_holder_and_limits(store: TokenStore) -> None:
    limits = TokenLimits(requests_per_minute=5, concurrent=2, models=("demo",))
    created, secret = store.create("phone", limits)
    other, _ = store.create("laptop")
    assert secret.startswith(TOKEN_PREFIX)
    assert store.find(secret) == created
    assert created.limits == limits
    assert store.list() == (other, created)


def test_anything_else_finds_nobody(store: TokenStore) -> None:
    _, secret = store.create("phone")
    for wrong in ("", "ps-", secret[:-1], secret + "x", secret.upper(), "\ud800", "ps-" + "é" * 20):
        assert store.find(wrong) is None


def test_the_file_is_private_and_has_no_secret_in_it(store: TokenStore, tmp_path: Path) -> None:
    _, secret = store.create("phone")
    path = tmp_path / "home" / "tokens.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret not in path.read_text()
    assert secret.removeprefix(TOKEN_PREFIX) not in path.read_text()
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["tokens.json"]


def test_what_another_process_changes_counts_at_once(store: TokenStore, tmp_path: Path) -> None:
    other = TokenStore(tmp_path / "home" / "tokens.json")
    assert store.list() == ()
    _, secret = other.create("phone")
    assert store.find(secret) is not None
    other.revoke("phone")
    assert store.find(secret) is None
    assert store.list() == ()


def test_a_symbolic_link_in_the_place_of_the_file_is_refused(store: TokenStore, tmp_path: Path) -> None:
    _, secret = store.create("phone")
    path = tmp_path / "home" / "tokens.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(StorageError, match="symbolic link"):
        store.find(secret)


def test_a_name_is_taken_once(store: TokenStore) -> None:
    _, first = store.create("phone")
    with pytest.raises(UsageError, match="revoke it first"):
        store.create("phone")
    store.revoke("phone")
    _, second = store.create("phone")
    assert store.find(first) is None
    assert store.find(second) is not None


@pytest.mark.parametrize("name", ["", " x", "x\n", "y" * 65, "a\x1b[31m"])
def test_odd_names_are_refused(store: TokenStore, name: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        store.create(name)
    assert store.list() == ()


@pytest.mark.parametrize("limits", [TokenLimits(requests_per_minute=0), TokenLimits(concurrent=-1)])
def test_limits_that_let_nobody_in_are_refused(store: TokenStore, limits: TokenLimits) -> None:
    with pytest.raises(UsageError, match="lets nobody in"):
        store.create("phone", limits)


def test_revoking_what_is_not_there_says_so(store: TokenStore) -> None:
    with pytest.raises(NotFoundError, match="token list"):
        store.revoke("phone")
    store.create("laptop")
    with pytest.raises(NotFoundError, match="token list"):
        store.revoke("phone")


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 2, "tokens": []}',
        b'{"format": 1, "tokens": [{"name": "x"}]}',
        b'{"format": 1, "tokens": 5}',
        b"\xff",
    ],
)
def test_a_damaged_file_lets_nobody_in(store: TokenStore, tmp_path: Path, damage: bytes) -> None:
    _, secret = store.create("phone")
    path = tmp_path / "home" / "tokens.json"
    path.write_bytes(damage)
    os.utime(path, ns=(1, 1))
    with pytest.raises(FormatError, match="create the tokens again"):
        store.find(secret)
    with pytest.raises(FormatError):
        store.create("laptop")
    assert path.read_bytes() == damage


@given(st.binary(max_size=200) | st.from_type(dict).map(lambda value: json.dumps(value, default=str).encode()))
def test_any_bytes_are_tokens_or_an_error(data: bytes) -> None:
    with suppress(FormatError):
        assert all(token.digest for token in parse_tokens(data, Path("tokens.json")))
