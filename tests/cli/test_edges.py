"""Streams that are closed or full, and signals: one line and a code, never a traceback."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import tiny_gguf

from pocketseek.cli.main import main
from pocketseek.cli.models import convert_cmd
from pocketseek.cli.start import start_cmd
from pocketseek.errors import StorageError

PROGRAM = f"{sys.executable} -c 'import sys; from pocketseek.cli.main import main; sys.exit(main())'"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """PROGRAM in `line` is pocketseek."""
    return subprocess.run(["sh", "-c", line.replace("PROGRAM", PROGRAM)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "line",
    [
        "PROGRAM models >/dev/full",
        "PROGRAM --help >/dev/full",
        "PROGRAM models >&-",
        "PROGRAM models --json >&-",
        "PROGRAM >&- <&-",
    ],
)
def test_output_that_cannot_be_written_is_a_storage_error(line: str) -> None:
    done = shell(line)
    assert done.returncode == StorageError.exit_code
    assert done.stderr.startswith("pocketseek: error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("line", ["PROGRAM nonsense 2>&-", "PROGRAM nonsense 2>/dev/full"])
def test_an_error_without_a_place_to_say_it_keeps_its_code_and_stays_off_the_output(line: str) -> None:
    done = shell(line)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


@pytest.mark.parametrize("line", ["PROGRAM models <&-", "PROGRAM models 2>&-"])
def test_a_closed_stream_that_is_not_needed_does_not_matter(line: str) -> None:
    done = shell(line)
    assert (done.returncode, done.stderr) == (0, "")
    assert "No model is installed" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_cleans_up_as_ctrl_c_does(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    class Bar:
        def __enter__(self) -> Callable[..., None]:
            return lambda *_: os.kill(os.getpid(), number)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(convert_cmd, "progress_bar", lambda _unit: Bar())
    source = tiny_gguf(tmp_path / "x.gguf")
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ended:
            main(["convert", str(source), "--name", "x"])
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert ended.value.code == 128 + number
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_an_ignored_signal_stays_ignored(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_cmd, "start", lambda: os.kill(os.getpid(), signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run().code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_file_that_the_system_refuses_is_named(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise PermissionError(13, "Permission denied", "/some/place")

    monkeypatch.setattr(start_cmd, "start", fail)
    ended = run()
    assert ended.code == StorageError.exit_code
    assert "/some/place: Permission denied" in ended.error
