"""sealed.json: any bytes are a record or an error; nobody without the key changes it unnoticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from package.sealed_samples import GCM, key, open_seal, write_sealed_sample

from pocketseek.errors import FormatError, PocketseekError, SealError
from pocketseek.package.sealing.key_slots import new_slot
from pocketseek.package.sealing.seal_record import PackageFile, SealRecord, parse_record, read_record

DATA_KEY = bytearray(range(32))
SEALING = bytes(range(16))
FILE = PackageFile("chunks", "ab" * 32, 5)


def record() -> SealRecord:
    slot = new_slot(key(), SEALING, DATA_KEY)
    return SealRecord(SEALING, GCM, "cd" * 32, (slot,)).with_file(FILE, "ef" * 32)


def test_a_record_is_read_as_it_was_written() -> None:
    read = parse_record(record().render(DATA_KEY))
    assert read.has(FILE)
    assert read.unlock(key(), "it") == DATA_KEY
    assert parse_record(read.render(DATA_KEY)) == read
    assert not read.without_file(FILE).has(FILE)


@given(data=st.binary(max_size=200))
def test_any_bytes_give_a_record_or_one_error(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        parse_record(data)
    assert "\n" not in str(caught.value)


@given(data=st.data())
def test_a_changed_byte_never_unlocks(data: st.DataObject) -> None:
    rendered = bytearray(record().render(DATA_KEY))
    offset = data.draw(st.integers(0, len(rendered) - 2))
    rendered[offset] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(PocketseekError):
        parse_record(bytes(rendered)).unlock(key(), "it")


Change = Callable[[dict[str, object]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.update(cipher="none"),
        lambda tree: tree.update(cipher="aes-128-gcm"),
        lambda tree: tree.update(format_version=2),
        lambda tree: tree.update(magic="other"),
        lambda tree: tree.update(slots=[]),
        lambda tree: tree.update(slots=tree["slots"] * 9),
        lambda tree: tree.update(sealing="00"),
        lambda tree: tree.update(files={"../../etc/passwd": "ef" * 32}),
        lambda tree: tree.update(files={"chunks/../x": "ef" * 32}),
        lambda tree: tree.update(files={"secrets/" + "ab" * 32: "ef" * 32}),
        lambda tree: tree.update(files={"chunks/" + "ab" * 32: "zz"}),
        lambda tree: tree.update(files=[]),
        lambda tree: tree.update(more=1),
        lambda tree: tree.pop("mac"),
    ],
)
def test_hostile_records_are_refused(change: Change) -> None:
    tree = json.loads(record().render(DATA_KEY))
    change(tree)
    with pytest.raises(FormatError):
        parse_record(json.dumps(tree).encode())


def test_without_a_file_there_is_no_seal(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    assert read_record(tmp_path / "nothing") is None


@pytest.mark.parametrize("make", ["directory", "link", "large", "empty"])
def test_what_is_no_record_is_refused(tmp_path: Path, make: str) -> None:
    path = tmp_path / "sealed.json"
    if make == "directory":
        path.mkdir()
    elif make == "link":
        (tmp_path / "other").write_bytes(record().render(DATA_KEY))
        path.symlink_to(tmp_path / "other")
    else:
        path.write_bytes(b" " * (5 << 20 if make == "large" else 0))
    with pytest.raises(FormatError):
        read_record(tmp_path)


def test_a_list_without_a_file_is_refused_with_the_key(tmp_path: Path) -> None:
    """So that nobody without it puts a plain file of their own in the place of a sealed one."""
    path = write_sealed_sample(tmp_path / "m")
    tree = json.loads((path / "sealed.json").read_bytes())
    del tree["files"][sorted(tree["files"])[0]]
    (path / "sealed.json").write_text(json.dumps(tree))
    with pytest.raises(SealError, match="changed by someone without the key"):
        open_seal(path)


def test_another_manifest_is_refused(tmp_path: Path) -> None:
    path = write_sealed_sample(tmp_path / "m")
    manifest = path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"rope_theta":10000.0', b'"rope_theta":10001.0'))
    with pytest.raises(SealError, match="not the one that was sealed"):
        open_seal(path)
