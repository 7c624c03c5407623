"""Sealed databases: nothing of them is readable without the key, and sealing never loses a row."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("sqlcipher3", reason="sqlcipher3 is not installed (extra `secure`)")

from pocketseek.apps.database import Database
from pocketseek.apps.sealed_database import is_plain, seal, unseal
from pocketseek.errors import BusyError, FormatError, SealError

ID = 0x1234
TABLES = (("CREATE TABLE words(word TEXT NOT NULL)", "CREATE VIRTUAL TABLE found USING fts5(word)"),)
KEY, OTHER_KEY = bytes(range(32)), bytes(32)
SECRET = "heron-in-the-reeds"

HOLDER = """
import sys
from pathlib import Path
from pocketseek.apps.database import Database
database = Database(Path(sys.argv[1]), application_id=0x1234, migrations=(("", ""),))
database.rows("SELECT word FROM words")
print("open", flush=True)
input()
with database.change():
    database.run("INSERT INTO words VALUES ('later')")
database.close()
"""

WRITER = """
import sys
from pathlib import Path
from pocketseek.apps import database
database._BUSY_TIMEOUT_S = 0.1
other = database.Database(
    Path(sys.argv[1]), application_id=0x1234, migrations=(("", ""),), key=bytes(range(32))
)
with other.change():
    other.run("INSERT INTO words VALUES ('two')")
"""

SEALER = """
import sys
from pathlib import Path
from pocketseek.apps.sealed_database import is_plain, seal, unseal
path, key = Path(sys.argv[1]), bytes(range(32))
print("ready", flush=True)
while True:
    (seal if is_plain(path) else unseal)(path, key)
"""


def opened(path: Path, key: bytes | None = None) -> Database:
    return Database(path, application_id=ID, migrations=TABLES, key=key)


def filled(path: Path, key: bytes | None = None, count: int = 1) -> None:
    database = opened(path, key)
    with database.change():
        for _ in range(count):
            database.run("INSERT INTO words VALUES (?)", SECRET)
            database.run("INSERT INTO found VALUES (?)", SECRET)
    database.close()


def words(path: Path, key: bytes | None = None) -> list[object]:
    database = opened(path, key)
    try:
        return [row[0] for row in database.rows("SELECT word FROM words")]
    finally:
        database.close()


def everything_beside(path: Path) -> bytes:
    return b"".join(one.read_bytes() for one in sorted(path.parent.iterdir()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "words.db"


def test_what_is_written_under_a_key_is_nowhere_on_the_disk(path: Path) -> None:
    database = opened(path, KEY)
    with database.change():
        database.run("INSERT INTO words VALUES (?)", SECRET)
        database.run("INSERT INTO found VALUES (?)", SECRET)
    assert SECRET.encode() not in everything_beside(path)  # neither in the file nor in its log
    assert database.rows("SELECT word FROM found WHERE found MATCH 'heron'") == [(SECRET,)]
    database.close()
    assert not is_plain(path)
    assert words(path, KEY) == [SECRET]


@pytest.mark.parametrize("key", [OTHER_KEY, None])
def test_without_the_key_it_is_refused_and_left_alone(path: Path, key: bytes | None) -> None:
    filled(path, KEY)
    before = path.read_bytes()
    with pytest.raises(SealError if key else FormatError, match=r"passphrase|is sealed"):
        opened(path, key)
    assert path.read_bytes() == before


def test_a_plain_file_opened_with_a_key_is_sealed(path: Path) -> None:
    filled(path)
    assert words(path, KEY) == [SECRET]
    assert not is_plain(path)
    assert SECRET.encode() not in everything_beside(path)


def test_sealing_and_unsealing_keep_everything_and_leave_one_file(path: Path) -> None:
    filled(path, count=2000)
    before = words(path)
    seal(path, KEY)
    assert SECRET.encode() not in everything_beside(path)
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    unseal(path, KEY)
    assert words(path) == before
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA user_version").fetchone() == (1,)
    assert (path.stat().st_mode & 0o777) == 0o600


def test_the_old_bytes_are_overwritten(path: Path) -> None:
    filled(path)
    with path.open("rb") as old:
        seal(path, KEY)
        assert SECRET.encode() not in old.read()


def test_a_wrong_key_unseals_nothing(path: Path) -> None:
    filled(path, KEY)
    before = path.read_bytes()
    with pytest.raises(SealError, match="passphrase"):
        unseal(path, OTHER_KEY)
    assert path.read_bytes() == before


def test_a_file_that_another_process_has_open_is_not_touched(path: Path) -> None:
    filled(path)
    program = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(BusyError, match="another program"):
            seal(path, KEY)
        holder.communicate("go on\n")
    assert holder.returncode == 0
    assert words(path) == [SECRET, "later"]


@pytest.mark.parametrize("offset", [0, 40, 5000, -1])
def test_a_flipped_bit_is_noticed(path: Path, offset: int) -> None:
    filled(path, KEY, count=500)
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    with pytest.raises(SealError):  # noqa: PT012 - wherever the page is first read
        database = opened(path, KEY)
        try:
            database.rows("SELECT count(*), max(word) FROM words")
            database.rows("SELECT count(*) FROM found")
            database.rows("PRAGMA integrity_check")
            problems = database.rows("PRAGMA cipher_integrity_check")
        finally:
            database.close()
        if problems:
            raise SealError(f"{problems[0][0]}; a passphrase does not help")


def test_kill_9_at_any_moment_leaves_it_plain_or_sealed_and_whole(path: Path) -> None:
    filled(path, count=300)
    for number in range(12):
        process = subprocess.Popen([sys.executable, "-c", SEALER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.004 * number)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        is_sealed = not is_plain(path)
        assert words(path, KEY if is_sealed else None) == [SECRET] * 300


def test_two_connections_of_one_process_keep_their_locks(path: Path) -> None:
    """A descriptor that is closed would take the locks of the others along."""
    first, second = opened(path, KEY), opened(path, KEY)
    with first.change():
        first.run("INSERT INTO words VALUES ('one')")
        program = [sys.executable, "-c", WRITER, str(path)]
        third = opened(path, KEY)
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        assert "BusyError" in done.stderr
        third.close()
    assert second.rows("SELECT word FROM words") == [("one",)]
    first.close()
    second.close()
    assert words(path, KEY) == ["one"]
