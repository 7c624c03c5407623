"""Who has the secret of a data directory gets its keys; the file says nothing else, and is replaced whole."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")

from package.sealed_samples import key

from pocketseek.errors import FormatError, SealError, UsageError
from pocketseek.package.sealing.data_seal import (
    DATA_SEAL_NAME,
    change_data_secret,
    new_data_seal,
    parse_data_seal,
    read_data_seal,
    remove_data_seal,
)
from pocketseek.package.sealing.key_slots import Secret


def other() -> Secret:
    return Secret("key", bytearray(b"z" * 40))


def test_a_directory_without_the_file_is_plain(tmp_path: Path) -> None:
    assert read_data_seal(tmp_path) is None
    assert read_data_seal(tmp_path / "nowhere") is None


def test_the_secret_gives_the_same_keys_each_time_and_two_different_ones(tmp_path: Path) -> None:
    keys = new_data_seal(tmp_path, key())
    found = read_data_seal(tmp_path)
    assert found is not None
    assert found.open(key(), "it") == keys
    assert keys.databases != keys.pages
    assert parse_data_seal(found.render()) == found
    assert stat.S_IMODE((tmp_path / DATA_SEAL_NAME).stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [DATA_SEAL_NAME]
    for secret_bytes in (keys.databases, keys.pages):
        assert secret_bytes.hex().encode() not in (tmp_path / DATA_SEAL_NAME).read_bytes()


def test_another_secret_gives_nothing(tmp_path: Path) -> None:
    new_data_seal(tmp_path, key())
    found = read_data_seal(tmp_path)
    assert found is not None
    with pytest.raises(SealError, match="does not open"):
        found.open(other(), "it")


def test_a_new_secret_opens_the_same_keys_and_the_old_one_nothing(tmp_path: Path) -> None:
    keys = new_data_seal(tmp_path, key())
    change_data_secret(tmp_path, key(), other)
    found = read_data_seal(tmp_path)
    assert found is not None
    assert found.open(other(), "it") == keys
    with pytest.raises(SealError):
        found.open(key(), "it")


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not sealed"):
        change_data_secret(tmp_path, key(), other)
    new_data_seal(tmp_path, key())
    before = (tmp_path / DATA_SEAL_NAME).read_bytes()
    with pytest.raises(UsageError, match="sealed already"):
        new_data_seal(tmp_path, other())
    with pytest.raises(SealError):
        change_data_secret(tmp_path, other(), key)
    assert (tmp_path / DATA_SEAL_NAME).read_bytes() == before
    remove_data_seal(tmp_path)
    assert read_data_seal(tmp_path) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"magic": "pocketseek-data", "format_version": 2}',
        b'{"magic": "pocketseek-data", "format_version": 1, "sealing": "00", "slots": []}',
        b'{"magic": "pocketseek-data", "format_version": 1, "sealing": "%s", "slots": []}' % (b"0" * 32),
        b"[" * 70_000,
    ],
)
def test_a_damaged_file_is_one_clear_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / DATA_SEAL_NAME).write_bytes(data)
    with pytest.raises(FormatError):
        read_data_seal(tmp_path)
