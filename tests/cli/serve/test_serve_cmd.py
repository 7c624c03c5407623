"""`pocketseek serve` as a process: it says where it is, answers, and ends as it is told."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from peft_folders import write_peft

from pocketseek.cli.serve import serve_cmd
from pocketseek.cli.serve.announcement import is_loopback, reachable_address, url_of
from pocketseek.errors import SealError, StorageError


@pytest.fixture
def process(installed: Path, home: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = ["serve", "--port", "0", "--json", "--threads", "1", "--memory", "3GB"]
    environment = os.environ | {"POCKETSEEK_HOME": str(home), "PYTHONWARNINGS": "error"}
    child = subprocess.Popen(
        [sys.executable, "-m", "pocketseek", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield child
    if child.poll() is None:
        child.kill()
    child.communicate(timeout=60)


def test_it_says_where_it_is_answers_and_ends_with_nothing_left(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert ready["models"] == ["tiny"]
    body = {"messages": [{"role": "user", "content": "a secret question"}], "max_tokens": 3}
    reply = httpx.post(f"{ready['url']}/v1/chat/completions", json=body, timeout=60)
    assert reply.status_code == 200
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert out == ""
    assert "POST /v1/chat/completions 200" in errors
    assert "secret" not in errors
    assert "Traceback" not in errors


@contextmanager
def served(home: Path, *options: str) -> Iterator[str]:
    """Its address."""
    arguments = ["serve", "--port", "0", "--json", "--threads", "1", "--memory", "3GB", *options]
    child = subprocess.Popen(
        [sys.executable, "-m", "pocketseek", *arguments],
        env=os.environ | {"POCKETSEEK_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert child.stdout is not None
        yield json.loads(child.stdout.readline())["url"]
    finally:
        child.terminate()
        child.communicate(timeout=60)


def test_a_sealed_adapter_of_a_plain_model_opens_with_the_key_file(
    run: Callable, installed: Path, home: Path, tmp_path: Path
) -> None:
    for seed, name in enumerate(("law", "verse")):
        run("adapt", "add", "tiny", write_peft(tmp_path / name, seed=seed), "--name", name, "--json")
    ask = ("generate", "tiny", "Hello", "--max-tokens", 8, "--temperature", 0, "--json")
    wanted = run(*ask, "--adapter", "law").json["text"]
    assert wanted != run(*ask).json["text"]
    key = tmp_path / "key"
    run("seal", "law", "--new-key-file", key, "--json")

    def answer(url: str, model: str) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "temperature": 0}
        return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)

    with served(home) as url:
        refused = answer(url, "tiny:law")
        assert refused.status_code == SealError.http_status
        assert "law" in refused.json()["error"]["message"]
        assert answer(url, "tiny").status_code == 200
    with served(home, "--key-file", str(key)) as url:
        assert answer(url, "tiny:law").json()["choices"][0]["message"]["content"] == wanted
        assert answer(url, "tiny:verse").status_code == 200
        run("seal", "verse", "--key-file", key, "--json")  # while the server runs
        assert answer(url, "tiny:verse").status_code == 200


def test_other_addresses_want_a_token(run: Callable, installed: Path) -> None:
    assert "pocketseek token create" in run("serve", "--host", "0.0.0.0", "--port", 0).error
    assert "pocketseek token create" in run("serve", "--require-token", "--port", 0).error


def test_a_model_that_is_not_there(run: Callable) -> None:
    assert run("serve", "nothing", "--port", 0).code == 3


def test_without_its_libraries_it_says_what_to_install(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_cmd, "_EXTRA", ("no_such_library",))
    ended = run("serve")
    assert ended.code == 5
    assert "pip install 'pocketseek[serve]'" in ended.error


@pytest.mark.parametrize(
    ("host", "is_so"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_is_known(host: str, is_so: bool) -> None:
    assert is_loopback(host) is is_so
    assert is_loopback("phone.local") is False


def test_urls() -> None:
    assert url_of("::1", 80) == "http://[::1]:80"
    assert url_of(reachable_address("127.0.0.1"), 8080) == "http://127.0.0.1:8080"
    assert reachable_address("0.0.0.0") not in ("", "0.0.0.0")


def test_the_qr_code_is_shown_when_it_is_wanted(installed: Path, home: Path) -> None:
    for option, shown in (("--qr", True), ("--no-qr", False)):
        arguments = ["serve", "--port", "0", "--threads", "1", "--memory", "3GB", option]
        with subprocess.Popen(
            [sys.executable, "-m", "pocketseek", *arguments],
            env=os.environ | {"POCKETSEEK_HOME": str(home), "PYTHONIOENCODING": "utf-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        ) as child:
            assert child.stdout is not None
            lines = []
            while "Ctrl-C" not in (line := child.stdout.readline()):
                lines.append(line)
                assert line, "it has ended"
            child.terminate()
        assert any("█" in line for line in lines) is shown


def test_the_temperature_limit_reaches_the_engine(
    run: Callable, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits_c = []

    def load(path: Path, *, temperature_limit_c: float | None, **others: object) -> None:
        limits_c.append(temperature_limit_c)
        raise StorageError("enough")

    monkeypatch.setattr("pocketseek.runtime.load.load", load)
    for arguments in ((), ("--temperature-limit", "40"), ("--temperature-limit", "off")):
        assert "enough" in run("serve", "--port", 0, *arguments).error
    assert limits_c == [None, 40.0, 0.0]


@pytest.mark.parametrize("limit", ["20", "90", "hot", "nan"])
def test_an_impossible_temperature_limit_is_refused(run: Callable, installed: Path, limit: str) -> None:
    ended = run("serve", "--port", 0, "--temperature-limit", limit)
    assert ended.code == 2
    assert "no temperature limit" in ended.error
