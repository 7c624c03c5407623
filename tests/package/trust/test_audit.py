"""The audit log: whatever is done to its lines shows, a crash does not, and it does not grow for ever."""

import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.errors import StorageError
from pocketseek.package.trust.audit import AuditLog
from pocketseek.package.trust.audit_chain import Head

Lines = list[bytes]


@pytest.fixture
def log(memory_dir: Path) -> AuditLog:
    return AuditLog(memory_dir / "home" / "audit.log", lambda: 1_790_000_000.5)


def filled(log: AuditLog, count: int = 6) -> AuditLog:
    for number in range(count):
        log.write("model-opened", model=f"m{number}", version=number)
    return log


def test_events_come_back_in_order_with_what_was_said(log: AuditLog) -> None:
    filled(log, 3)
    events = list(log.events())
    assert [(event.number, event.name, event.fields["model"]) for event in events] == [
        (1, "model-opened", "m0"),
        (2, "model-opened", "m1"),
        (3, "model-opened", "m2"),
    ]
    report = log.verify()
    assert (report.num_lines, report.first, report.problems) == (3, 1, ())


def test_only_the_owner_can_read_it(log: AuditLog) -> None:
    filled(log, 1)
    for path in (log.path, log.head_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(path.name for path in log.path.parent.iterdir()) == ["audit.head", "audit.log"]


def test_asking_and_noting_make_no_data_directory(log: AuditLog) -> None:
    assert list(log.events()) == []
    log.note("model-opened", model="tiny")
    assert log.verify().problems == ()
    assert not log.path.parent.exists()


def test_what_happens_again_and_again_is_one_line_an_hour(log: AuditLog) -> None:
    now_s = [1_790_000_000.0]
    noted = AuditLog(log.path, lambda: now_s[0])
    noted.path.parent.mkdir()
    for _ in range(3):
        for model in ("tiny", "other"):
            noted.note_rarely("model-refused", model=model, reason="r" * 600)
    assert [event.fields["model"] for event in noted.events()] == ["tiny", "other"]
    now_s[0] += 3601
    noted.note_rarely("model-refused", model="tiny", reason="r" * 600)
    noted.note_rarely("model-refused", model="tiny", reason="another")
    assert [event.fields["model"] for event in noted.events()] == ["tiny", "other", "tiny", "tiny"]
    assert noted.verify().problems == ()
    now_s[0] -= 86_400  # the clock was wrong
    noted.note_rarely("model-refused", model="tiny", reason="another")
    assert len(list(noted.events())) == 5


def changed(lines: Lines) -> Lines:
    return [*lines[:2], lines[2].replace(b"m2", b"mX"), *lines[3:]]


ATTACKS: dict[str, Callable[[Lines], Lines]] = {
    "a line changed": changed,
    "the last line changed": lambda lines: [*lines[:-1], lines[-1].replace(b"m5", b"mX")],
    "a line removed": lambda lines: [*lines[:2], *lines[3:]],
    "the first line removed": lambda lines: lines[1:],
    "two lines swapped": lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    "a line twice": lambda lines: [*lines[:3], lines[2], *lines[3:]],
    "the end cut": lambda lines: lines[:-1],
    "much cut": lambda lines: lines[:1],
    "everything cut": lambda lines: [],
    "a line put at the end": lambda lines: [*lines, lines[-1].replace(b'"n":6', b'"n":7')],
    "garbage put in": lambda lines: [*lines[:3], b"\xff\x00{", *lines[3:]],
}


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_tampering_shows_and_goes_on_showing(log: AuditLog, attack: str) -> None:
    filled(log)
    lines = log.path.read_bytes().splitlines()
    log.path.write_bytes(b"".join(line + b"\n" for line in ATTACKS[attack](lines)))
    assert log.verify().problems, attack
    log.write("model-opened", model="later")
    assert log.verify().problems, attack


def test_a_deleted_log_or_head_shows(log: AuditLog) -> None:
    filled(log)
    head = log.head_path.read_bytes()
    log.head_path.unlink()
    assert log.verify().problems
    log.head_path.write_bytes(head)
    log.path.unlink()
    assert log.verify().problems


def test_a_lost_head_is_written_down(log: AuditLog) -> None:
    filled(log)
    log.head_path.unlink()
    log.write("model-opened", model="later")
    assert [event.name for event in log.events()][-2:] == ["audit-head-lost", "model-opened"]
    assert "line 7: audit.head was missing or damaged then" in log.verify().problems[0]


DAMAGED_HEADS = {"no JSON": b"\xff\x00{", "nothing": b"", "too long": b" " * 9000, "another": b'{"num_lines": 4}\n'}


@pytest.mark.parametrize("what", DAMAGED_HEADS)
def test_a_damaged_head_is_found_and_said_and_nothing_is_left_out(log: AuditLog, what: str) -> None:
    filled(log)
    log.head_path.write_bytes(DAMAGED_HEADS[what])
    assert log.verify().problems == ("audit.head is damaged, so nobody knows how many lines there should be",)
    log.note("model-opened", model="later")
    assert [event.name for event in log.events()][-2:] == ["audit-head-lost", "model-opened"]
    for _ in range(2):
        (problem,) = log.verify().problems
        assert problem.startswith("line 7: audit.head was missing or damaged")
        log.note("model-opened", model="later still")


def test_a_log_that_was_rotated_goes_on_without_its_head(memory_dir: Path) -> None:
    log = AuditLog(memory_dir / "audit.log", rotate_bytes=1000)
    filled(log, 60)
    num_lines, first = log.verify().num_lines, log.verify().first
    log.head_path.write_bytes(b"{")
    log.write("model-opened", model="later")
    report = log.verify()
    assert (report.num_lines, len(report.problems)) == (num_lines + 2, 1)
    assert report.first >= first > 1


def test_a_new_history_shows_against_a_head_that_was_noted(log: AuditLog) -> None:
    noted = filled(log).verify().head
    assert filled(log, 2).verify(noted).problems == ()
    for path in (log.path, log.head_path):
        path.unlink()
    log.write("model-opened", model="another")
    filled(log, 9)
    assert log.verify().problems == ()
    assert log.verify(noted).problems == (f"no line has the hash {noted} that was noted",)


def test_a_flipped_bit_anywhere_shows(log: AuditLog) -> None:
    filled(log)
    data = log.path.read_bytes()
    seed = random.randrange(2**32)
    for position in random.Random(seed).sample(range(len(data) * 8), 200):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        log.path.write_bytes(flipped)
        assert log.verify().problems, (seed, position)


def test_half_a_line_of_a_crash_is_cut_off_and_no_tampering(log: AuditLog) -> None:
    filled(log)
    with log.path.open("ab") as file:
        file.write(b'{"event":"model-op')
    log.write("model-opened", model="later")
    assert log.verify().problems == ()
    assert len(list(log.events())) == 7


def test_a_line_that_a_crash_left_uncounted_is_taken_over(log: AuditLog) -> None:
    filled(log, 2)
    head = log.head_path.read_bytes()
    filled(log, 1)
    log.head_path.write_bytes(head)
    assert log.verify().problems == ()
    log.write("model-opened", model="later")
    assert (log.verify().num_lines, log.verify().problems) == (4, ())


def test_it_is_rotated_with_its_chain_and_forgets_the_oldest(memory_dir: Path) -> None:
    log = AuditLog(memory_dir / "audit.log", rotate_bytes=1000)
    for number in range(60):
        log.write("model-opened", model=f"m{number}")
        assert log.verify().problems == (), number
    report = log.verify()
    assert report.num_lines == 60
    assert report.first > 1
    assert len(list(memory_dir.glob("audit.0*.log"))) == 3
    assert sum(path.stat().st_size for path in memory_dir.iterdir()) < 6000
    assert [event.number for event in log.events()] == list(range(report.first, 61))


def test_a_rotated_file_that_is_deleted_or_cut_shows(memory_dir: Path) -> None:
    log = AuditLog(memory_dir / "audit.log", rotate_bytes=1000)
    filled(log, 30)
    for path in sorted(memory_dir.glob("audit.0*.log")):
        data = path.read_bytes()
        path.unlink()
        assert log.verify().problems
        path.write_bytes(data[: data.rindex(b"\n", 0, -1) + 1])
        assert log.verify().problems
        path.write_bytes(data)
    assert log.verify().problems == ()


def test_a_crash_between_forgetting_and_deleting_is_no_tampering(memory_dir: Path) -> None:
    log = AuditLog(memory_dir / "audit.log", rotate_bytes=1000)
    kept: dict[str, bytes] = {}
    for _ in range(60):
        filled(log, 1)
        kept |= {path.name: path.read_bytes() for path in memory_dir.glob("audit.0*.log")}
    gone = sorted(set(kept) - {path.name for path in memory_dir.glob("audit.0*.log")})
    (memory_dir / gone[-1]).write_bytes(kept[gone[-1]])
    assert log.verify().problems == ()


def test_many_writers_make_one_chain(log: AuditLog) -> None:
    threads = [threading.Thread(target=filled, args=(log, 5)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.verify() == log.verify()
    assert (log.verify().num_lines, log.verify().problems) == (30, ())


WRITER = """
import sys
from pathlib import Path
from pocketseek.package.trust.audit import AuditLog
log = AuditLog(Path(sys.argv[1]), rotate_bytes=2000)
print("ready", flush=True)
while True:
    log.write("model-opened", model="tiny")
"""


def test_killed_at_any_moment_it_is_whole(memory_dir: Path) -> None:
    path = memory_dir / "audit.log"
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    for _ in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(rng.random() * 0.03)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        log = AuditLog(path, rotate_bytes=2000)
        assert log.verify().problems == (), seed
        log.write("model-opened", model="between")
        assert log.verify().problems == (), seed


@pytest.mark.parametrize("at", range(12))
def test_ended_before_any_head_is_written_it_is_whole(
    memory_dir: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Also where the line before was the first of a new file, which the head does not know of yet."""
    log = AuditLog(memory_dir / "audit.log", rotate_bytes=300)

    def ended(self: AuditLog, head: Head) -> None:
        raise KeyboardInterrupt

    filled(log, at)
    with monkeypatch.context() as patch:
        patch.setattr(AuditLog, "_put_head", ended)
        with pytest.raises(KeyboardInterrupt):
            filled(log, 1)
    assert log.verify().problems == ()
    filled(log, 4)
    assert log.verify().problems == ()
    assert log.verify().num_lines in (at + 4, at + 5)  # old files may go first


def test_a_symbolic_link_for_the_log_is_refused(log: AuditLog) -> None:
    log.path.parent.mkdir(parents=True)
    target = log.path.with_name("elsewhere")
    target.write_bytes(b"")
    log.path.symlink_to(target)
    with pytest.raises(StorageError, match="symbolic link"):
        log.write("model-opened", model="tiny")
    assert target.read_bytes() == b""
    log.note("model-opened", model="tiny")


def test_long_and_strange_texts_stay_one_short_line(log: AuditLog) -> None:
    log.write("model-refused", model="x" * 10_000, reason="a\nb\x1b[2J\ud800")
    (line,) = log.path.read_bytes().splitlines()
    assert len(line) < 1000
    assert json.loads(line)["model"] == "x" * 512
    assert log.verify().problems == ()


def test_on_a_full_disk_noting_does_not_stop_anybody(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    filled(log, 1)
    monkeypatch.setattr("pocketseek.package.trust.audit.write_all", full)
    log.note("model-opened", model="tiny")
    with pytest.raises(StorageError, match="full"):
        log.write("model-opened", model="tiny")
    assert os.path.exists(log.path)
