"""A database file: private, whole whatever happens, and never written to if it is not ours."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.database import Database
from pocketseek.errors import BusyError, FormatError, PocketseekError, StorageError, UnsupportedError, UsageError

ID = 0x1234
FIRST = (("CREATE TABLE words(word TEXT NOT NULL)",),)
SECOND = (*FIRST, ("ALTER TABLE words ADD COLUMN length INTEGER NOT NULL DEFAULT 0", "UPDATE words SET length = 1"))

WRITER = """
import sys
from pathlib import Path
from pocketseek.apps.database import Database
database = Database(Path(sys.argv[1]), application_id=0x1234, migrations=(("CREATE TABLE words(word TEXT NOT NULL)",),))
number = 0
while True:
    with database.change():
        for _ in range(3):
            database.run("INSERT INTO words VALUES (?)", str(number) * 500)
    print(number, flush=True)
    number += 1
"""


def opened(path: Path, migrations: tuple[tuple[str, ...], ...] = FIRST) -> Database:
    return Database(path, application_id=ID, migrations=migrations)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "words.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = opened(path)
    yield database
    database.close()


def words(database: Database) -> list[object]:
    return [row[0] for row in database.rows("SELECT word FROM words ORDER BY rowid")]


def test_what_was_written_is_there_at_the_next_opening(path: Path) -> None:
    first = opened(path)
    with first.change():
        first.run("INSERT INTO words VALUES (?)", "one")
    first.close()
    again = opened(path)
    assert words(again) == ["one"]
    again.close()


def test_a_database_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database(None, application_id=7, migrations=[["CREATE TABLE words(word TEXT)"]])
    with database.change():
        database.run("INSERT INTO words VALUES ('secret')")
    database.forget_log()
    assert database.rows("SELECT word FROM words") == [("secret",)]
    assert list(tmp_path.iterdir()) == []
    database.close()


def test_file_and_log_belong_to_their_owner_alone(database: Database, path: Path) -> None:
    with database.change():
        database.run("INSERT INTO words VALUES ('x')")
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_a_file_that_others_could_read_is_made_private(path: Path) -> None:
    opened(path).close()
    path.chmod(0o644)
    opened(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_change_that_fails_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.change():
            database.run("INSERT INTO words VALUES ('one')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert words(database) == []


def test_a_change_inside_another_is_undone_with_it(database: Database) -> None:
    def fail() -> None:
        with database.change():
            with database.change():
                database.run("INSERT INTO words VALUES ('one')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert words(database) == []


def test_an_older_schema_is_brought_up_to_date_and_keeps_what_it_holds(path: Path) -> None:
    first = opened(path)
    with first.change():
        first.run("INSERT INTO words VALUES ('one')")
    first.close()
    second = opened(path, SECOND)
    assert second.rows("SELECT word, length FROM words") == [("one", 1)]
    second.close()
    opened(path, SECOND).close()


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    opened(path, SECOND).close()
    before = path.read_bytes()
    with pytest.raises(UnsupportedError, match="update pocketseek"):
        opened(path)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine(x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(FormatError, match="move it away"):
        opened(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("data", [b"not a database at all, but long enough to be one" * 100, b"SQLite format 3\0" * 64])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, data: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(data)
    with pytest.raises(FormatError, match="move it away"):
        opened(path)
    assert path.read_bytes() == data


@given(at=st.integers(0, 8191), size=st.integers(1, 200), seed=st.binary(min_size=1, max_size=8))
def test_damage_anywhere_gives_words_or_one_of_our_errors(
    tmp_path_factory: pytest.TempPathFactory, at: int, size: int, seed: bytes
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "words.db"
    first = opened(path)
    with first.change():
        for number in range(100):
            first.run("INSERT INTO words VALUES (?)", f"{number} " * 20)
    first.close()
    data = bytearray(path.read_bytes())
    data[at : at + size] = (seed * size)[:size]
    path.write_bytes(data)
    try:
        again = opened(path)
        try:
            words(again)
        finally:
            again.close()
    except PocketseekError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right


def test_a_full_disk_is_a_storage_error_and_keeps_what_was_there(database: Database) -> None:
    with database.change():
        database.run("INSERT INTO words VALUES ('one')")
    database.rows("PRAGMA max_page_count = 4")
    with pytest.raises(StorageError, match="full"), database.change():
        database.run("INSERT INTO words VALUES (?)", "x" * 100_000)
    assert words(database) == ["one"]


def test_a_folder_in_the_files_place_is_a_storage_error(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StorageError):
        opened(path)


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_in_the_files_place_is_refused(path: Path, tmp_path: Path, exists: bool) -> None:
    """Else private texts would go where whoever put it there can read them."""
    target = tmp_path / "elsewhere.db"
    if exists:
        target.write_bytes(b"")
        target.chmod(0o644)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)
    with pytest.raises(StorageError, match="symbolic link"):
        opened(path)
    assert target.exists() is exists
    assert not exists or target.stat().st_mode & 0o777 == 0o644


def test_a_file_as_the_data_directory_is_a_storage_error(path: Path) -> None:
    path.parent.write_text("in the way")
    with pytest.raises(StorageError):
        opened(path)


def test_who_waits_too_long_for_another_writer_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.apps.database._BUSY_TIMEOUT_S", 0.01)
    one, other = opened(path), opened(path)
    with one.change(), pytest.raises(BusyError, match="try again"), other.change():
        pass
    with other.change():
        other.run("INSERT INTO words VALUES ('later')")
    assert words(one) == ["later"]
    one.close()
    other.close()


def test_reading_does_not_wait_for_a_writer(path: Path) -> None:
    one, other = opened(path), opened(path)
    with one.change():
        one.run("INSERT INTO words VALUES ('unseen')")
        assert words(other) == []
    assert words(other) == ["unseen"]
    one.close()
    other.close()


def test_many_threads_write_one_after_the_other(database: Database) -> None:
    def write(name: str) -> None:
        for _ in range(20):
            with database.change():
                number = database.rows("SELECT count(*) FROM words")[0][0]
                database.run("INSERT INTO words VALUES (?)", f"{number}{name}")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(word)[:-1] for word in words(database)] == [str(number) for number in range(80)]


def test_processes_may_open_a_new_file_together(path: Path) -> None:
    writers = [start_writer(path) for _ in range(4)]
    assert all(writer.stdout is not None and writer.stdout.readline() == "0\n" for writer in writers)
    for writer in writers:
        end(writer)
    assert_whole(path)


@pytest.mark.parametrize("num_writes", [1, 7, 30])
def test_kill_in_the_middle_of_writing_keeps_all_that_was_written(path: Path, num_writes: int) -> None:
    writer = start_writer(path)
    assert writer.stdout is not None
    for _ in range(num_writes):
        writer.stdout.readline()
    end(writer)
    counts = assert_whole(path)
    assert len(counts) >= num_writes
    assert set(counts.values()) == {3}  # no change is there in part


def test_what_was_deleted_is_not_in_the_file(database: Database, path: Path) -> None:
    secret = "the treasure lies under the oak"
    with database.change():
        database.run("INSERT INTO words VALUES (?)", secret)
    with database.change():
        database.run("DELETE FROM words")
    database.forget_log()
    assert not any(secret.encode() in file.read_bytes() for file in path.parent.iterdir())


def test_a_closed_database_says_so(path: Path) -> None:
    database = opened(path)
    database.close()
    with pytest.raises(UsageError, match="closed"):
        database.rows("SELECT 1")


def start_writer(path: Path) -> "subprocess.Popen[str]":
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, env=environment
    )


def end(writer: "subprocess.Popen[str]") -> None:
    writer.send_signal(signal.SIGKILL)
    writer.communicate()


def assert_whole(path: Path) -> dict[object, int]:
    """How often each word is there."""
    database = opened(path)
    assert database.rows("PRAGMA integrity_check") == [("ok",)]
    found = words(database)
    database.close()
    return {word: found.count(word) for word in set(found)}


def test_a_schema_that_is_no_text_is_damage(path: Path) -> None:
    first = opened(path)
    first.close()
    data = path.read_bytes()
    path.write_bytes(
        data.replace(b"tablewordswords", b"table\xff\xff\xff\xff\xffwords").replace(b"CREATE TABLE", b"\xff" * 12)
    )
    with pytest.raises(FormatError, match="move it away"):
        words(opened(path))
