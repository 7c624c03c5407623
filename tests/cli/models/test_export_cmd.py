"""`export` makes a folder, or one line about why not and nothing on disk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import tiny_hf_directory

from pocketseek.errors import FormatError, IntegrityError, NotFoundError, UnsupportedError, UsageError

TEXT = "".join(f"{number} green bottles hanging on the wall. " for number in range(200))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny_hf_directory(tmp_path / "hf", "qwen3")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_a_checkpoint_becomes_ort_files(run: Callable, checkpoint: Path, text: Path, tmp_path: Path) -> None:
    facts = run("export", checkpoint, tmp_path / "out", "--calibrate", text, "--format", "ort", "--json").json
    assert facts["stages"] == ["embed.ort", "layers-000-001.ort", "head.ort"]
    assert all((tmp_path / "out" / name).is_file() for name in facts["stages"])


def test_an_installed_model_is_exported_by_its_name(
    run: Callable, checkpoint: Path, text: Path, tmp_path: Path
) -> None:
    run("convert", checkpoint, "--name", "mine")
    ended = run("export", "mine", tmp_path / "out", "--calibrate", text, "--activation-bits", "16")
    assert ended.code == 0
    assert str(tmp_path / "out") in ended.out
    assert (tmp_path / "out" / "layers-000-001.onnx").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), UsageError, "pocketseek convert"),
        (("--quant", "int8-static"), UsageError, "--calibrate"),
        (("--quant", "int4", "--calibrate", "{text}"), UsageError, "--calibrate goes with --quant int8-static"),
        (
            ("--activation-bits", "16", "--calibration-method", "entropy"),
            UsageError,
            "--calibration-method and --activation-bits go with --quant int8-static",
        ),
        (("--quant", "f16", "--percentile", "99"), UsageError, "--percentile goes with"),
        (("--calibrate", "{text}", "--percentile", "99"), UsageError, "--calibration-method percentile"),
        (("--calibrate", "{text}", "--opset", "15"), UsageError, "opset"),
        (("--calibrate", "{text}", "--tokens", "8"), UsageError, "--context"),
        (("--calibrate", "{binary}"), FormatError, "UTF-8"),
        (("--calibrate", "{short}"), UsageError, "1024"),
        (("--calibrate", "{absent}"), NotFoundError, "absent"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    run: Callable,
    checkpoint: Path,
    text: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: type[UsageError],
    said: str,
) -> None:
    (tmp_path / "binary").write_bytes(b"\x80\xff\x00")
    (tmp_path / "short").write_text("hello")
    paths = {name: tmp_path / name for name in ("binary", "short", "absent")} | {"text": text}
    ended = run("export", checkpoint, tmp_path / "out", *(one.format(**paths) for one in arguments))
    assert ended.code == code.exit_code
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_library_is_named_with_what_installs_it(
    run: Callable, checkpoint: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    ended = run("export", checkpoint, tmp_path / "out", "--calibrate", text)
    assert ended.code == UnsupportedError.exit_code
    assert 'pip install "pocketseek[export]"' in ended.err


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
@pytest.mark.parametrize("prefix", ["/usr", "/data/data/com.termux/files/usr"])
def test_a_library_that_is_installed_and_does_not_load_is_one_line(
    run: Callable,
    checkpoint: Path,
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    library: str,
    prefix: str,
) -> None:
    run("convert", checkpoint, "--name", "mine")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / f"{library}.py").write_text("raise ImportError('dlopen failed')")
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path / "broken"))
    monkeypatch.setattr("sys.prefix", prefix)
    remedies = {"onnx": "export on a computer", "onnxruntime": "pkg install python-onnxruntime"}
    remedy = remedies[library] if "termux" in prefix else "pip install"
    for arguments in (
        ("export", "mine", tmp_path / "out"),
        ("export", checkpoint, tmp_path / "out", "--calibrate", text),
        ("generate", "mine", "Hello", "--engine", "onnx"),
    ):
        ended = run(*arguments)
        assert ended.code == UnsupportedError.exit_code
        assert "dlopen failed" in ended.error
        assert remedy in ended.error


def test_weights_alone_need_no_text(run: Callable, checkpoint: Path, tmp_path: Path) -> None:
    run("convert", checkpoint, "--name", "mine")
    facts = run("export", "mine", tmp_path / "out", "--json").json
    assert (facts["quant"], facts["stages"], facts["static"]) == ("int4", ["model.onnx"], None)
    ended = run("export", "mine", tmp_path / "out", "--format", "ort", "--quant", "int8")
    assert ended.code == 0
    assert str(tmp_path / "out") in ended.out
    assert (tmp_path / "out" / "head.ort").is_file()
    for arguments, said in ((("--opset", 14), "15 to 23"), (("--context", 999_999), "--context")):
        refused = run("export", "mine", tmp_path / "other", *arguments)
        assert refused.code == UsageError.exit_code
        assert said in refused.error
        assert not (tmp_path / "other").exists()


def test_an_export_is_inspected_verified_and_refused_when_it_is_damaged(
    run: Callable, checkpoint: Path, tmp_path: Path
) -> None:
    run("convert", checkpoint, "--name", "mine")
    run("export", "mine", tmp_path / "out", "--format", "ort")
    facts = run("inspect", tmp_path / "out", "--json").json
    assert (facts["name"], facts["maker"], facts["quant"], facts["opset"]) == ("mine", "pocketseek", "int4", 21)
    assert "layers-000-001.ort" in run("inspect", tmp_path / "out" / "head.ort").out
    assert run("generate", tmp_path / "out" / "head.ort", "Hello", "--max-tokens", 2).code == 0
    assert "every byte" in run("verify", tmp_path / "out").out
    layers = tmp_path / "out" / "layers-000-001.ort"
    data = bytearray(layers.read_bytes())
    data[len(data) // 2] ^= 1
    layers.write_bytes(data)
    assert "--full" in run("verify", tmp_path / "out", "--quick").out
    for arguments in (("verify", tmp_path / "out"), ("generate", tmp_path / "out", "Hello")):
        ended = run(*arguments)
        assert ended.code == IntegrityError.exit_code
        assert "layers-000-001.ort is damaged; export the model again" in ended.err
    assert run("verify", tmp_path / "out", "--json").code == IntegrityError.exit_code
