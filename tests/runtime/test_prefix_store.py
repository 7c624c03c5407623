"""Pages on disk: whole or missing, never wrong; within the limit; and no disk can break a request."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from package.crashes import count_lines, run_killed_at_line, run_killed_before_change

from pocketseek.errors import FormatError
from pocketseek.runtime.prefix import store as prefix_store
from pocketseek.runtime.prefix.page import PageKey, key_of_page
from pocketseek.runtime.prefix.record import HEADER_BYTES, parse_record, record_bytes, render_header
from pocketseek.runtime.prefix.store import PrefixStore, identity_of

PAGE_BYTES = 1000
RECORD_BYTES = record_bytes(PAGE_BYTES)
IDENTITY = identity_of({"model": "one"})
SECOND_NS = 1_000_000_000


def open_store(root: Path, *, identity: bytes = IDENTITY, limit_bytes: int | None = None) -> PrefixStore:
    return PrefixStore(root, identity, page_bytes=PAGE_BYTES, limit_bytes=limit_bytes)


def chain(first_token: int, num_pages: int = 3) -> list[PageKey]:
    keys: list[PageKey] = []
    for index in range(num_pages):
        keys.append(key_of_page(keys[-1].chain if keys else IDENTITY, [first_token + index] * 64))
    return keys


def page_of(key: PageKey) -> memoryview:
    return memoryview((key.chain * 40)[:PAGE_BYTES])


def keep(store: PrefixStore, keys: list[PageKey], second: int = 1) -> list[bool]:
    return [store.keep(key, i, page_of(key), used_ns=second * SECOND_NS) for i, key in enumerate(keys)]


def found(store: PrefixStore, keys: list[PageKey]) -> list[bool]:
    """Which are there; what is there is right."""
    pages = []
    for key in keys:
        page = store.read(key)
        assert page is None or page == page_of(key)
        pages.append(page is not None)
    return pages


def path_of(root: Path, key: PageKey) -> Path:
    return root / IDENTITY.hex() / key.chain.hex()


def test_what_was_kept_is_found_by_the_next_process(tmp_path: Path) -> None:
    keys = chain(1)
    assert keep(open_store(tmp_path), keys) == [True] * 3
    assert found(open_store(tmp_path), [*keys, *chain(9)]) == [True] * 3 + [False] * 3


def test_nothing_is_made_on_disk_by_looking(tmp_path: Path) -> None:
    assert found(open_store(tmp_path / "a" / "b"), chain(1)) == [False] * 3
    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    keep(open_store(tmp_path / "store"), chain(1))
    for path in (tmp_path / "store").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


def test_another_model_sees_nothing_and_the_limit_counts_both(tmp_path: Path) -> None:
    keys = chain(1)
    keep(open_store(tmp_path), keys)
    other = open_store(tmp_path, identity=identity_of({"model": "two"}))
    assert found(other, keys) == [False] * 3
    assert other.num_bytes == 3 * RECORD_BYTES


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:100],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: b"X" + data[1:],
        lambda data: data[:8] + (2).to_bytes(4, "little") + data[12:],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:HEADER_BYTES] + bytes(PAGE_BYTES),
    ],
    ids=["empty", "no page", "short", "long", "magic", "version", "bit", "zeros"],
)
def test_a_damaged_page_is_missing_and_removed(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    keys = chain(1)
    keep(open_store(tmp_path), keys)
    path = path_of(tmp_path, keys[1])
    path.write_bytes(damage(path.read_bytes()))
    store = open_store(tmp_path)
    assert found(store, keys) == [True, False, True]
    assert not path.exists()
    assert store.num_bytes == 2 * RECORD_BYTES
    assert keep(store, keys) == [True] * 3
    assert found(store, keys) == [True] * 3


@pytest.mark.parametrize("bit", range(0, RECORD_BYTES * 8, 997))
def test_any_flipped_bit_is_noticed(bit: int) -> None:
    key = chain(1)[0]
    record = bytearray(render_header(IDENTITY, key, page_of(key)) + bytes(page_of(key)))
    assert parse_record(memoryview(record), IDENTITY, key, PAGE_BYTES) == page_of(key)
    record[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FormatError):
        parse_record(memoryview(record), IDENTITY, key, PAGE_BYTES)


@given(st.binary(max_size=2 * RECORD_BYTES))
def test_any_bytes_are_refused_with_one_error(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_record(memoryview(data), IDENTITY, chain(1)[0], PAGE_BYTES)


def test_a_whole_page_under_a_wrong_name_is_refused(tmp_path: Path) -> None:
    keys, others = chain(1), chain(5)
    keep(open_store(tmp_path), [*keys, *others])
    os.replace(path_of(tmp_path, others[1]), path_of(tmp_path, keys[1]))  # another text
    assert found(open_store(tmp_path), keys) == [True, False, True]


def test_a_whole_page_of_another_model_is_refused(tmp_path: Path) -> None:
    other_identity = identity_of({"model": "two"})
    keys = chain(1)
    keep(open_store(tmp_path, identity=other_identity), keys)
    (tmp_path / other_identity.hex()).rename(tmp_path / IDENTITY.hex())
    assert found(open_store(tmp_path), keys) == [False] * 3


def test_foreign_files_are_removed_inside_a_model_and_left_alone_outside(tmp_path: Path) -> None:
    keys = chain(1)
    keep(open_store(tmp_path), keys)
    folder = path_of(tmp_path, keys[0]).parent
    (folder / "notes.txt").write_text("?")
    (folder / ".0123.partial").write_text("half a page")
    (folder / "directory").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo").write_text("mine")
    assert found(open_store(tmp_path), keys) == [True] * 3
    assert sorted(path.name for path in folder.iterdir()) == sorted([*(k.chain.hex() for k in keys), "directory"])
    assert (tmp_path / "notes.txt").exists()
    assert (tmp_path / "holiday" / "photo").exists()


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    keys = chain(1)
    keep(open_store(tmp_path / "store"), keys)
    path_of(tmp_path / "store", keys[0]).rename(tmp_path / "page")
    path_of(tmp_path / "store", keys[0]).symlink_to(tmp_path / "page")
    path_of(tmp_path / "store", keys[1]).unlink()
    os.mkfifo(path_of(tmp_path / "store", keys[1]))
    assert found(open_store(tmp_path / "store"), keys) == [False, False, True]
    assert (tmp_path / "page").exists()


def test_the_limit_holds_and_the_longest_unused_goes_first(tmp_path: Path) -> None:
    store = open_store(tmp_path, limit_bytes=7 * RECORD_BYTES)
    old, used, new = chain(1), chain(11), chain(21)
    keep(store, old, second=1)
    keep(store, used, second=2)
    keep(store, old, second=3)  # used again
    keep(store, new, second=4)
    assert store.num_bytes <= 7 * RECORD_BYTES
    for one in (store, open_store(tmp_path, limit_bytes=7 * RECORD_BYTES)):
        assert (found(one, old), found(one, used), found(one, new)) == ([True] * 3, [True, False, False], [True] * 3)


def test_a_chain_longer_than_the_limit_keeps_its_beginning(tmp_path: Path) -> None:
    store = open_store(tmp_path, limit_bytes=4 * RECORD_BYTES + 5)
    keep(store, chain(1, 3), second=1)
    long = chain(11, 6)
    assert keep(store, long, second=2) == [True] * 4 + [False] * 2
    assert found(store, long) == [True] * 4 + [False] * 2


def test_a_lower_limit_counts_from_the_next_refresh(tmp_path: Path) -> None:
    keep(open_store(tmp_path), chain(1), second=1)
    store = open_store(tmp_path, limit_bytes=RECORD_BYTES)
    store.refresh()
    assert found(store, chain(1)) == [True, False, False]


def test_by_default_it_takes_a_tenth_of_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("usage", (), {"free": 20 * RECORD_BYTES})
    monkeypatch.setattr(prefix_store.shutil, "disk_usage", lambda path: usage)
    assert keep(open_store(tmp_path), chain(1)) == [True, True, False]


def test_several_processes_share_a_store(tmp_path: Path) -> None:
    one, two = open_store(tmp_path), open_store(tmp_path)
    assert found(two, chain(1)) == [False] * 3
    keep(one, chain(1))
    two.refresh()
    assert found(two, chain(1)) == [True] * 3
    path_of(tmp_path, chain(1)[1]).unlink()  # by the limit of another one
    assert found(one, chain(1)) == [True, False, True]
    assert one.num_failures == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("call", ["write", "fsync", "rename", "open", "mkdir"])
def test_a_disk_that_refuses_is_counted_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    store = open_store(tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        assert keep(store, chain(1)) == [False] * 3
    assert store.num_failures == 3
    assert store.num_bytes == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert keep(store, chain(1)) == [True] * 3


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO, errno.ENOLCK])
@pytest.mark.parametrize("call", ["unlink", "open", "scandir", "flock", "stat"])
def test_a_disk_that_refuses_while_the_store_looks_around_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    keys = chain(1)
    keep(open_store(tmp_path), keys)
    (tmp_path / IDENTITY.hex() / ".stray.partial").write_bytes(b"left behind")
    store = open_store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(fcntl if call == "flock" else os, call, refuse)
        store.refresh()
        found(store, keys)
        keep(store, chain(2))
    store.refresh()
    assert found(store, keys) == [True] * 3


def test_a_place_that_cannot_be_a_directory_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = open_store(tmp_path / "file" / "store")
    assert found(store, chain(1)) == [False] * 3
    assert keep(store, chain(1)) == [False] * 3
    store.refresh()


def test_a_directory_that_vanishes_is_made_again(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    keep(store, chain(1))
    subprocess.run(["rm", "-r", tmp_path / "store"], check=True)
    assert found(store, chain(1)) == [False] * 3
    assert keep(store, chain(1)) == [True] * 3


def _check_after_crash(root: Path, old: list[PageKey], new: list[PageKey]) -> None:
    store = open_store(root)
    assert found(store, old) == [True] * 3
    readable = found(store, new)
    assert readable == sorted(readable, reverse=True)  # a chain's beginning
    assert not [path for path in root.rglob("*") if path.name.endswith(".partial")]


def test_a_crash_between_any_two_changes_leaves_whole_pages(tmp_path: Path) -> None:
    for change in range(100):
        root, old, new = tmp_path / str(change), chain(1), chain(11)
        keep(open_store(root), old)
        killed = run_killed_before_change(lambda root=root, new=new: keep(open_store(root), new), change)  # type: ignore[misc]
        _check_after_crash(root, old, new)
        if not killed:
            assert change > 6
            return
    pytest.fail("it never ended")


def test_a_crash_at_any_line_leaves_whole_pages(tmp_path: Path) -> None:
    keep(open_store(tmp_path / "count"), chain(1))
    num_lines = count_lines(lambda: keep(open_store(tmp_path / "count"), chain(11)))
    for line in range(0, num_lines, 11):
        root, old, new = tmp_path / str(line), chain(1), chain(11)
        keep(open_store(root), old)
        run_killed_at_line(lambda root=root, new=new: keep(open_store(root), new), line)  # type: ignore[misc]
        _check_after_crash(root, old, new)


def test_a_page_that_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    keep(open_store(tmp_path), chain(1))
    partial = tmp_path / IDENTITY.hex() / ".00.partial"
    program = f"""
import fcntl, sys
file = open({str(partial)!r}, "wb")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        open_store(tmp_path).refresh()
        assert partial.exists()
        writer.communicate()
    open_store(tmp_path).refresh()
    assert not partial.exists()
