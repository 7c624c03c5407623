"""`convert` makes a package, or one line about why not and nothing on disk."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import tiny_gguf, tiny_hf_directory, tiny_model, write_hf

from pocketseek.cli.messages import Words
from pocketseek.cli.models.convert_cmd import going_on_line
from pocketseek.convert.unfinished import GoingOn
from pocketseek.errors import FormatError, NotFoundError, UsageError


def test_a_gguf_file_is_installed_under_a_name(run: Callable, tmp_path: Path, home: Path) -> None:
    facts = run("convert", tiny_gguf(tmp_path / "x.gguf"), "--name", "mine", "--json").json
    assert facts["name"] == "mine"
    assert facts["path"] == str(home / "models" / "mine")
    assert "mine" in run("models").out


def test_a_folder_of_safetensors_goes_where_it_is_told(run: Callable, tmp_path: Path) -> None:
    source = tiny_hf_directory(tmp_path / "hf", "qwen2")
    ended = run("convert", source, tmp_path / "out", "--quant", "q8")
    assert str(tmp_path / "out") in ended.out
    assert run("inspect", tmp_path / "out", "--json").json["formats"] == ["q8s"]


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", FormatError), (b"nonsense" * 100, FormatError), (b"GGUF\x03\0\0\0" + b"\xff" * 16, FormatError)],
)
def test_a_file_that_is_no_checkpoint_leaves_nothing(
    run: Callable, tmp_path: Path, home: Path, content: bytes, code: type[FormatError]
) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    ended = run("convert", tmp_path / "bad.gguf", "--name", "bad")
    assert ended.code == code.exit_code
    assert not [path for path in home.rglob("*") if path.is_file()]
    assert run("models", "--json").json["models"] == []


def test_a_missing_file_is_not_found(run: Callable, tmp_path: Path) -> None:
    assert run("convert", tmp_path / "absent.gguf").code == NotFoundError.exit_code


def test_an_impossible_name_is_refused(run: Callable, tmp_path: Path) -> None:
    ended = run("convert", tiny_gguf(tmp_path / "x.gguf"), "--name", "../evil")
    assert ended.code == UsageError.exit_code


def test_leftovers_of_killed_conversions_are_removed_first(run: Callable, tmp_path: Path, home: Path) -> None:
    partial = home / "models" / ".other.pocketseek-partial"
    partial.mkdir(parents=True)
    (partial / "half").write_bytes(b"half")
    assert run("convert", tiny_gguf(tmp_path / "x.gguf"), "--name", "mine").code == 0
    assert [path.name for path in (home / "models").iterdir()] == ["mine"]


def test_the_next_command_is_told(run: Callable, tmp_path: Path) -> None:
    source = tiny_gguf(tmp_path / "x.gguf")
    assert run("convert", source, "--name", "mine").out.endswith("use it: pocketseek chat mine\n")
    assert run("convert", source, tmp_path / "a b").out.endswith(f"use it: pocketseek chat '{tmp_path}/a b'\n")


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("https://example.org/x.gguf", "fetch the file first"),
        ("https://example.org/tiny", "`pocketseek pull`"),
        ("deepseek-ai/DeepSeek-V3", "`pocketseek pull`"),
    ],
)
def test_an_address_is_answered_with_what_to_do(run: Callable, source: str, remedy: str) -> None:
    ended = run("convert", source)
    assert ended.code == NotFoundError.exit_code
    assert f"{source} does not exist here" in ended.error
    assert remedy in ended.error


def test_the_loss_of_a_quantisation_is_told_on_a_terminal(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_hf_directory(tmp_path / "hf", "qwen2")
    assert "relative error" not in run("convert", source, tmp_path / "a", "--quant", "q8").out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    told = run("convert", source, tmp_path / "b", "--quant", "q8").out.splitlines()
    (line,) = [line for line in told if "relative error" in line]
    assert line.startswith("q8")


CALIBRATION = "".join(f"{number} green bottles hanging on the wall, and if one should fall. " for number in range(100))


def test_texts_to_check_with_are_told_apart_by_name(run: Callable, tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "text.txt").write_text(CALIBRATION)
    source = write_hf(tmp_path / "hf", tiny_model())
    checks = ("--check", tmp_path / "one" / "text.txt", "--check", tmp_path / "other" / "text.txt")
    ended = run("convert", source, tmp_path / "out", *checks)
    assert ended.code == UsageError.exit_code
    assert "same name; rename one" in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("data", "refused", "code"),
    [
        (b"", "bad.txt is empty; leave it out", UsageError.exit_code),
        (b" \n ", "bad.txt is empty; leave it out", UsageError.exit_code),
        (b"too short", "too short: ", UsageError.exit_code),
        (b"\0" * 5000, "bad.txt holds control characters", FormatError.exit_code),
        (b"\x7fELF\xf0\x00\x01" * 500, "bad.txt is binary data; give plain text", FormatError.exit_code),
        ("校准文本".encode("utf-16"), "bad.txt is UTF-16 text; convert it to UTF-8", FormatError.exit_code),
        ("校准文本".encode("gbk"), "bad.txt is not UTF-8 text", FormatError.exit_code),
    ],
)
def test_bad_calibration_texts_are_told_by_name(
    run: Callable, tmp_path: Path, data: bytes, refused: str, code: int
) -> None:
    (tmp_path / "bad.txt").write_bytes(data)
    source = write_hf(tmp_path / "hf", tiny_model(num_layers=1))
    ended = run("convert", source, tmp_path / "out", "--calibrate", tmp_path / "bad.txt")
    assert ended.code == code
    assert refused in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_what_was_calibrated_is_told(run: Callable, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(CALIBRATION)
    source = write_hf(tmp_path / "hf", tiny_model(num_layers=1))
    texts = ("--calibrate", tmp_path / "text.txt", "--calibration-tokens", "1024")
    assert "calibrated on 1024 tokens: 8 matrices" in run("convert", source, tmp_path / "out", *texts).err
    ended = run("convert", source, tmp_path / "mixed", *texts, "--bits", "8.5")
    assert ended.code == 0
    ended = run("convert", source, tmp_path / "eight", *texts, "--quant", "q8")
    assert ended.code == UsageError.exit_code
    assert "nothing to calibrate; leave --calibrate out" in ended.err
    assert not (tmp_path / "eight").exists()


def killed_after_a_layer(run_home: Path, *arguments: str | Path) -> None:
    """The command in a process of its own, killed as soon as it has kept something of a layer."""
    environment = os.environ | {"POCKETSEEK_HOME": str(run_home)}
    command = [sys.executable, "-m", "pocketseek", "convert", *map(str, arguments)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while not list((run_home / "models").glob(".*.pocketseek-resume/hidden-*")):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.005)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_killed_calibration_goes_on_and_says_so(run: Callable, tmp_path: Path, home: Path) -> None:
    (tmp_path / "text.txt").write_text(CALIBRATION)
    source = write_hf(tmp_path / "hf", tiny_model(num_layers=6))
    command = (source, "--name", "mine", "--calibrate", tmp_path / "text.txt", "--calibration-tokens", "1024")
    killed_after_a_layer(home, *command)
    (unfinished,) = run("models", "--json").json["unfinished"]
    assert unfinished["name"] == "mine"
    assert unfinished["num_bytes"] > 1000
    assert "`pocketseek remove mine` drops it" in run("models").err
    ended = run("convert", *command)
    assert ended.code == 0
    assert "going on with an interrupted conversion" in ended.err
    assert "--fresh begins anew" in ended.err
    assert run("models", "--json").json["unfinished"] == []
    assert [path.name for path in (home / "models").iterdir()] == ["mine"]


def test_an_interrupted_conversion_is_removed_by_its_name(run: Callable, tmp_path: Path, home: Path) -> None:
    (tmp_path / "text.txt").write_text(CALIBRATION)
    source = write_hf(tmp_path / "hf", tiny_model(num_layers=6))
    killed_after_a_layer(
        home, source, "--name", "mine", "--calibrate", tmp_path / "text.txt", "--calibration-tokens", "1024"
    )
    assert run("remove", "mine").code == 0
    assert not list((home / "models").iterdir())
    assert run("remove", "mine").code == NotFoundError.exit_code


@pytest.mark.parametrize(
    ("going_on", "words"),
    [
        (GoingOn(24, num_measured=24, num_done=12), "12 of 24 layers were done before"),
        (GoingOn(24, num_done=24), "all 24 layers were done before"),
        (GoingOn(24, num_done=0), "the embedding was done before"),
        (GoingOn(24, num_measured=5), "what matters was found out for 5 of 24 layers before"),
        (GoingOn(24, refused="version"), "it is of another version"),
        (GoingOn(24, refused="source"), "it is of another checkpoint"),
        (GoingOn(24, refused="settings"), "its settings were others; beginning anew"),
        (GoingOn(24, refused="damaged"), "it is damaged"),
        (GoingOn(24, num_done=3, is_kept=True), "the same command goes on from there"),
    ],
)
def test_one_line_says_where_it_goes_on(going_on: GoingOn, words: str) -> None:
    line = going_on_line(going_on, Words("en"))
    assert words in line
    assert "\n" not in line
