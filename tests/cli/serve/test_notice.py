"""The notification while the server runs, with programs that stand in for Termux:API's."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from pocketseek.cli.messages import Words
from pocketseek.cli.serve import notice
from pocketseek.cli.serve.notice import serving_notice

_NOTE = f"""#!{sys.executable}
import json, sys
from pathlib import Path
with open(Path(__file__).parent / "calls", "a", encoding="utf-8") as file:
    print(json.dumps([Path(__file__).name, *sys.argv[1:]]), file=file)
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("termux-notification", "termux-notification-remove", "termux-open-url"):
        (folder / name).write_text(_NOTE, encoding="utf-8")
        (folder / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def calls(folder: Path) -> list[list[str]]:
    file = folder / "calls"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def option(call: list[str], name: str) -> str:
    return call[call.index(name) + 1]


def test_it_comes_and_goes(programs: Path) -> None:
    with serving_notice(Words("en"), "http://127.0.0.1:8080", ["one", "two"]):
        pass
    shown, removed = calls(programs)
    assert "--ongoing" in shown
    assert "one, two" in option(shown, "--content")
    assert option(shown, "--action") == f"{programs / 'termux-open-url'} http://127.0.0.1:8080"
    assert removed == ["termux-notification-remove", option(shown, "--id")]


def test_its_button_ends_this_process_and_no_other(programs: Path) -> None:
    with serving_notice(Words("zh"), "http://127.0.0.1:8080", ["one"]):
        pass
    assert option(calls(programs)[0], "--button1") == "停止"
    with subprocess.Popen(["sleep", "60"]) as stranger:
        subprocess.run(["sh", "-c", notice._stop_action(stranger.pid)], check=False)
        assert stranger.poll() is None
        stranger.kill()
    with subprocess.Popen(["sh", "-c", "sleep 60; : pocketseek"]) as server:
        subprocess.run(["sh", "-c", notice._stop_action(server.pid)], check=True)
        server.send_signal(signal.SIGTERM)  # a shell may put SIGINT off while its child runs


def test_it_is_gone_after_an_error_too(programs: Path) -> None:
    with pytest.raises(ValueError, match="no"), serving_notice(Words("en"), "http://127.0.0.1:1", ["one"]):
        raise ValueError("no")
    assert [call[0] for call in calls(programs)] == ["termux-notification", "termux-notification-remove"]


def test_programs_that_fail_do_not_matter(programs: Path) -> None:
    for name in ("termux-notification", "termux-notification-remove"):
        (programs / name).write_text("#!/bin/sh\nexit 1\n")
    with serving_notice(Words("en"), "http://127.0.0.1:1", ["one"]):
        pass


def test_one_that_hangs_holds_nobody_up(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As without the app Termux:API: there is nothing to take away then."""
    monkeypatch.setattr(notice, "_PATIENCE_S", 0.01)
    waits = threading.Event()
    asked: list[str] = []

    def run(command: Sequence[str]) -> None:
        asked.append(Path(command[0]).name)
        waits.wait(60)

    monkeypatch.setattr(notice, "run_program", run)
    with serving_notice(Words("en"), "http://127.0.0.1:1", ["one"]):
        pass
    assert asked == ["termux-notification"]
    waits.set()


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(notice, "run_program", lambda command: pytest.fail(str(command)))
    with serving_notice(Words("en"), "http://127.0.0.1:1", ["one"]):
        pass


def test_the_server_shows_it_while_it_runs(programs: Path, installed: Path, home: Path) -> None:
    arguments = ["serve", "--port", "0", "--json", "--threads", "1", "--memory", "3GB"]
    with subprocess.Popen(
        [sys.executable, "-m", "pocketseek", *arguments],
        env=os.environ | {"POCKETSEEK_HOME": str(home), "PYTHONWARNINGS": "error"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        ready = json.loads(child.stdout.readline())
        assert httpx.get(f"{ready['url']}/v1/models", timeout=60).status_code == 200
        child.send_signal(signal.SIGTERM)
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
    shown, removed = calls(programs)
    assert ready["url"] in option(shown, "--content")
    assert removed[0] == "termux-notification-remove"
