"""Page and figures are whole or as they were before, also after kill -9."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pocketseek.apps.report import write_pair as module
from pocketseek.apps.report.write_pair import figures_path, write_pair
from pocketseek.errors import StorageError

_SIZE = 3_000_000
_ENDLESS = f"""
import itertools, sys
from pathlib import Path
from pocketseek.apps.report.write_pair import write_pair
for number in itertools.count():
    letter = "ab"[number % 2]
    write_pair(Path(sys.argv[1]), letter * {_SIZE}, letter.encode() * {_SIZE})
    print(number, flush=True)
"""


def test_both_files_are_written_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    write_pair(page, "页", b"{}")
    assert page.read_text(encoding="utf-8") == "页"
    assert figures_path(page).read_bytes() == b"{}"
    assert sorted(os.listdir(tmp_path)) == ["out.html", "out.json"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_was_there_stays_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    page = tmp_path / "out.html"
    write_pair(page, "old", b"old")

    def fail(path: Path, data: bytes) -> None:
        path.write_bytes(data[:1])
        raise error

    monkeypatch.setattr(module, "write_file", fail)
    with pytest.raises(StorageError if isinstance(error, OSError) else KeyboardInterrupt):
        write_pair(page, "new", b"new")
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"old"}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("num_written", [1, 2, 5])
def test_a_killed_program_leaves_whole_files(tmp_path: Path, num_written: int) -> None:
    page = tmp_path / "out.html"
    command = [sys.executable, "-c", _ENDLESS, str(page)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(num_written):
            assert child.stdout.readline(), "the child ended by itself"
        child.kill()
    for path in (page, figures_path(page)):
        assert path.read_bytes() in (b"a" * _SIZE, b"b" * _SIZE)
