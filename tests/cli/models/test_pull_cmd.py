"""`pull` as a person meets it: what it installs, what it asks, what it says when something is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import Run
from fake_hub import FakeHub, fake_hub
from package.samples import flip_bit, some_chunk
from tiny_models import tiny_gguf
from web_server import Fault, WebServer, serving

from pocketseek.cli.models import metered
from pocketseek.cli.rates import parse_rate
from pocketseek.device.network import NetworkFacts
from pocketseek.errors import UsageError


@pytest.fixture
def site(tiny_package: Path) -> Iterator[WebServer]:
    with serving(tiny_package.parent) as server:
        yield server


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    (tmp_path / "hub").mkdir()
    with fake_hub(tmp_path / "hub") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def test_a_package_of_a_web_site_is_installed_and_answers(run: Run, site: WebServer, home: Path) -> None:
    ended = run("pull", f"{site.url}/tiny", "--name", "mine")
    assert ended.code == 0, ended.err
    assert f"mine is installed in {home}/models/mine" in ended.out
    assert run("generate", "mine", "Hello", "--max-tokens", 2).code == 0
    again = run("pull", f"{site.url}/tiny", "--name", "mine")
    assert "mine was here already, whole and the same" in again.out


def test_json_tells_what_came(run: Run, site: WebServer) -> None:
    facts = run("pull", f"{site.url}/tiny", "--json").json
    assert facts["name"] == "tiny"
    assert facts["fetched_bytes"] == facts["num_bytes"]
    assert facts["address"] == f"{site.url}/tiny"
    assert facts["converted"] is False


def test_inspect_tells_where_it_came_from_and_when_it_was_checked(run: Run, site: WebServer, home: Path) -> None:
    run("pull", f"{site.url}/tiny")
    facts = run("inspect", "tiny", "--json").json
    assert facts["path"] == str(home / "models" / "tiny")
    origin, checked = facts["origin"], facts["checked"]
    assert isinstance(origin, dict)
    assert isinstance(checked, dict)
    assert origin["address"] == f"{site.url}/tiny"
    assert checked["num_chunks"] == facts["num_chunks"]
    assert facts["damaged"] == []
    shown = run("inspect", "tiny").out
    assert "pulled from" in shown
    assert "copy manifest.json" in shown


def test_verify_repairs_from_where_it_came(run: Run, site: WebServer, home: Path) -> None:
    run("pull", f"{site.url}/tiny")
    assert "every byte is as it should be" in run("verify", "tiny", "--repair").out
    flip_bit(some_chunk(home / "models" / "tiny"))
    assert run("verify", "tiny").code == 6
    ended = run("verify", "tiny", "--repair")
    assert ended.code == 0, ended.err
    assert f"1 damaged chunks and 0 files replaced from {site.url}/tiny" in ended.out
    assert run("verify", "tiny").code == 0


def test_a_broken_model_that_was_pulled_is_to_be_repaired_and_not_removed(
    run: Run, site: WebServer, home: Path
) -> None:
    run("pull", f"{site.url}/tiny")
    some_chunk(home / "models" / "tiny").unlink()
    assert "`pocketseek verify tiny --repair` fetches" in run("models").err
    (home / "models" / "tiny" / "origin.json").unlink()
    assert "`pocketseek remove tiny`" in run("models").err


def test_verify_names_the_remedy_without_an_origin(run: Run, installed: Path) -> None:
    flip_bit(some_chunk(installed))
    ended = run("verify", "tiny", "--repair")
    assert ended.code == 6
    assert "nobody noted where it came from" in ended.err
    assert "damaged" in run("inspect", "tiny").out
    assert run("pull", installed).code != 0


def test_a_gguf_of_a_hub_is_converted(run: Run, hub: FakeHub, home: Path, tmp_path: Path) -> None:
    hub.add("someone/tiny-GGUF", {"tiny.gguf": tiny_gguf(tmp_path / "x.gguf").read_bytes()})
    facts = run("pull", "someone/tiny-GGUF", "--keep-download", "--json").json
    assert facts["converted"] is True
    assert Path(str(facts["kept_download"])).is_dir()
    assert run("generate", "tiny-GGUF", "Hello", "--max-tokens", 1).code == 0


def test_other_content_under_a_name_needs_a_yes(run: Run, site: WebServer, installed: Path) -> None:
    ended = run("pull", f"{site.url}/tiny")
    assert ended.code == 2
    assert f"here is tiny (not signed), and {site.url}/tiny is tiny (not signed); add --yes" in ended.error
    assert run("pull", f"{site.url}/tiny", "--yes").code == 0


def test_much_over_a_network_that_is_paid_for_needs_an_option(
    run: Run, site: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metered, "UNASKED_BYTES", 1000)
    monkeypatch.setattr("pocketseek.device.network.read_network", lambda: NetworkFacts("yes", "NetworkManager"))
    ended = run("pull", f"{site.url}/tiny")
    assert ended.code == 2
    assert "paid for by the byte (says NetworkManager)" in ended.error
    assert "--allow-metered" in ended.error
    assert run("pull", f"{site.url}/tiny", "--allow-metered").code == 0


@pytest.mark.parametrize("metered_word", ["no", "unknown"])
def test_other_networks_are_not_asked_about(
    run: Run, site: WebServer, monkeypatch: pytest.MonkeyPatch, metered_word: str
) -> None:
    monkeypatch.setattr(metered, "UNASKED_BYTES", 1000)
    monkeypatch.setattr("pocketseek.device.network.read_network", lambda: NetworkFacts(metered_word))  # type: ignore[arg-type]
    assert run("pull", f"{site.url}/tiny").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["/nowhere/at/all"], 3, "is not there; check the path"),
        (["nowhere"], 3, "no folder here, no web address and no repository"),
        (["ftp://example.org/x"], 3, "no folder here, no web address"),
        (["https://"], 2, "no address of a folder on a web server"),
        (["https://u:secret@/x"], 2, "no address of a folder"),
        (["https://example.org/x.gguf"], 2, "is a file and no package's folder; fetch it, then"),
        (["http://127.0.0.1:9/x"], 14, "cannot be reached"),
        (["x/y", "--name", "../x"], 2, "cannot be a model name"),
        (["x/y", "--limit-rate", "fast"], 2, "is not a rate"),
        (["x/y", "--connections", "0"], 2, "connections"),
    ],
)
def test_bad_input_is_one_line(
    run: Run, arguments: list[str], code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    ended = run("pull", *arguments)
    assert ended.code == code
    assert said in ended.error
    assert "secret" not in ended.err


def test_quant_is_for_checkpoints(run: Run, site: WebServer) -> None:
    ended = run("pull", f"{site.url}/tiny", "--quant", "q4")
    assert ended.code == 2
    assert "finished package" in ended.error


def test_without_the_library_the_remedy_is_named(
    run: Run, site: WebServer, tiny_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "urllib3", None)
    ended = run("pull", f"{site.url}/tiny")
    assert ended.code == 5
    assert 'pip install "pocketseek[pull]"' in ended.error
    assert run("pull", tiny_package).code == 0  # a folder needs none


def test_an_interrupted_download_is_listed(run: Run, site: WebServer, tiny_package: Path) -> None:
    last = sorted((tiny_package / "chunks").iterdir())[-1].name
    site.faults = lambda path, count: Fault("status", status=404) if last in path else None
    assert run("pull", f"{site.url}/tiny").code == 14
    assert "an interrupted download" in run("models").err
    (unfinished,) = run("models", "--json").json["unfinished"]  # type: ignore[misc]
    assert unfinished["download"] is True


def test_chinese_words_are_said(run: Run, site: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_LANG", "zh")
    assert "已安装到" in run("pull", f"{site.url}/tiny").out


@pytest.mark.parametrize(
    ("text", "bytes_per_s"),
    [("2MB/s", 2_000_000), ("500kB/s", 500_000), ("1.5M", 1_500_000), ("1MiB / s", 1 << 20), ("2Mps", 2_000_000)],
)
def test_rates_are_read_as_people_write_them(text: str, bytes_per_s: int) -> None:
    assert parse_rate(text) == bytes_per_s


@pytest.mark.parametrize("text", ["", "fast", "/s", "2MB/h", "0", "10", "500B/s", "-1MB/s"])
def test_other_texts_are_no_rates(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rate(text)
