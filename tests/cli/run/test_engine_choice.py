"""--engine and --provider of the commands, on a small installed model and on a model of another tool."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pocketseek.cli.messages import Words
from pocketseek.cli.run.engine_choice import EngineOptions, tell_provider
from pocketseek.device.execution_provider import ExecutionProvider
from pocketseek.errors import UnsupportedError
from pocketseek.runtime.onnx.providers import ProviderChoice, ProviderFailure

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

GENAI = Path(__file__).parents[2] / "runtime" / "onnx" / "data" / "genai-llama-int4"
SHORT = ("--max-tokens", 5, "--temperature", 0)


def test_an_installed_model_answers_on_onnx_runtime_and_says_so(run: Callable, installed: Path) -> None:
    found = run("generate", "tiny", "Hello", *SHORT, "--engine", "onnx", "--json").json
    assert found["engine"] == "onnx"
    assert found["provider"] == {"name": "CPU", "reason": "no npu", "failed": []}
    assert run("generate", "tiny", "Hello", *SHORT, "--json").json["engine"] == "native"


def test_an_onnx_model_is_run_by_its_path_without_being_asked(run: Callable) -> None:
    ended = run("generate", GENAI, "Hello", *SHORT, "-v")
    assert ended.code == 0
    assert "ONNX Runtime computes with CPU: no neural processor is known here" in ended.err


def test_the_environment_chooses_too(run: Callable, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_ENGINE", "onnx")
    assert run("generate", "tiny", "Hello", *SHORT, "--json").json["engine"] == "onnx"
    monkeypatch.setenv("POCKETSEEK_ENGINE", "gpu")
    assert "set it to native or onnx" in run("generate", "tiny", "Hello", *SHORT).error


def test_without_the_core_onnx_runtime_computes_with_a_remark(
    run: Callable, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketseek.apps.onnx_models._has_core", lambda: False)
    ended = run("generate", "tiny", "Hello", *SHORT)
    assert ended.code == 0
    assert "so ONNX Runtime computes" in ended.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--engine", "native"), "the native core does not run"),
        (("--provider", "QNN"), "built without QNN"),
        (("--provider", "TPU"), "no execution provider named 'TPU'"),
        (("--min-speed", 3), "--min-speed is for the native core"),
        (("--kv", "q8"), "--kv is for the native core"),
    ],
)
def test_what_does_not_go_together_is_told(run: Callable, arguments: tuple[object, ...], problem: str) -> None:
    assert problem in run("generate", GENAI, "Hello", *SHORT, *arguments).error


def test_a_provider_without_onnx_runtime_is_refused(run: Callable, installed: Path) -> None:
    assert "add --engine onnx" in run("generate", "tiny", "Hello", *SHORT, "--provider", "CPU").error


def test_both_engines_are_compared_by_eval(run: Callable, installed: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The capital of France is Paris. " * 20)
    options = ("--text", text, "--window", 64, "--json")
    found = run("eval", "tiny", "--engine", "onnx", "--against", "tiny", *options).json
    assert found["top1_agreement"] >= 0.97
    assert found["mean_kl"] <= 5e-3
    assert run("eval", GENAI, *options).json["engine"] == "onnx"


def test_bench_shows_what_computes(run: Callable) -> None:
    sizes = ("--prompt-tokens", 8, "--new-tokens", 4, "--repeats", 1)
    found = run("bench", GENAI, *sizes, "--json").json
    assert found["engine"] == "onnx"
    assert found["decode_tokens_per_s"] > 0
    assert "CPU: no neural processor" in run("bench", GENAI, *sizes).out
    assert "--report" in run("bench", GENAI, *sizes, "--minutes", 1).error


def test_doctor_knows_onnx_runtime(run: Callable) -> None:
    checks = {check["name"]: check for check in run("doctor", "--json").json["checks"]}
    assert "with CPU" in checks["ONNX Runtime"]["detail"]


FAILED = ProviderChoice(
    "CPU",
    "last resort",
    (
        ProviderFailure("QNN", "QNN cannot run the model: no backend", "refused", "no backend"),
        ProviderFailure("XNNPACK", "XNNPACK could not be started", "not started"),
        ProviderFailure("NNAPI", "the model wants something else"),
    ),
)


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        (
            "en",
            [
                "QNN cannot be used (it cannot run the model: no backend); CPU computes instead",
                "XNNPACK cannot be used (it could not be started); CPU computes instead",
                "NNAPI cannot be used (the model wants something else); CPU computes instead",
            ],
        ),
        (
            "zh",
            [
                "无法使用 QNN（无法运行此模型：no backend）；改用 CPU 计算",
                "无法使用 XNNPACK（无法启动）；改用 CPU 计算",
                "无法使用 NNAPI（the model wants something else）；改用 CPU 计算",
            ],
        ),
    ],
)
def test_a_provider_that_fails_is_told_once_with_what_computes_instead(
    language: str, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words, options = Words(language), EngineOptions()
    for _ in range(3):  # a chat that changes models, a server that opens one again
        tell_provider(FAILED, words, options)
    assert capsys.readouterr().err.splitlines() == lines
    tell_provider(FAILED, words, EngineOptions())
    assert len(capsys.readouterr().err.splitlines()) == 3  # another command


class BrokenQnn:
    """ONNX Runtime with a QNN that refuses every model; for the rest the real one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("onnxruntime"), name)

    def get_available_providers(self) -> list[str]:
        return ["QNNExecutionProvider", "CPUExecutionProvider"]

    def InferenceSession(self, path: str, options: Any, providers: list[str]) -> Any:  # noqa: N802
        if providers[0] == "QNNExecutionProvider":
            raise RuntimeError("no backend\nlibQnnHtp.so")
        return importlib.import_module("onnxruntime").InferenceSession(path, options, providers=providers)


@pytest.fixture
def phone_with_broken_qnn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.runtime.onnx_executor._library", BrokenQnn)
    phone = ExecutionProvider("QNN", "npu by qnn")
    for module in ("window_logits", "load"):
        real = importlib.import_module(f"pocketseek.runtime.{module}").check_device

        def on_phone(*args: Any, real: Any = real, **options: Any) -> Any:
            return dataclasses.replace(real(*args, **options), execution_provider=phone)

        monkeypatch.setattr(f"pocketseek.runtime.{module}.check_device", on_phone)


@pytest.mark.usefixtures("phone_with_broken_qnn")
@pytest.mark.parametrize(
    "command",
    [
        ("generate", GENAI, "Hello", *SHORT),
        ("eval", GENAI, "--window", 64),
        ("eval", GENAI, "--window", 64, "--against", GENAI),
        ("bench", GENAI, "--prompt-tokens", 8, "--new-tokens", 4, "--repeats", 2),
    ],
)
def test_every_command_falls_back_and_says_so_in_one_line(
    run: Callable, installed: Path, tmp_path: Path, command: tuple[object, ...]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The capital of France is Paris. " * 20)
    texts = ("--text", text) if command[0] == "eval" else ()
    ended = run(*command, *texts)
    assert ended.code == 0
    told = [line for line in ended.err.splitlines() if "computes instead" in line]
    assert told == ["QNN cannot be used (it cannot run the model: no backend libQnnHtp.so); CPU computes instead"]


@pytest.mark.usefixtures("phone_with_broken_qnn")
def test_a_broken_provider_that_was_asked_for_is_an_error_with_a_remedy(run: Callable) -> None:
    ended = run("generate", GENAI, "Hello", *SHORT, "--provider", "QNN")
    assert ended.code == UnsupportedError.exit_code
    assert ended.error.endswith("QNN cannot run the model: no backend libQnnHtp.so; use --provider CPU\n")


def test_every_reason_for_a_provider_has_words() -> None:
    from typing import get_args

    from pocketseek.cli.run.onnx_messages import PROBLEMS, PROVIDER_REASONS
    from pocketseek.runtime.onnx.providers import ProblemKind, ProviderReason

    reasons = {reason for part in get_args(ProviderReason) for reason in (get_args(part) or (part,))}
    assert reasons <= set(PROVIDER_REASONS)
    assert set(get_args(ProblemKind)) == set(PROBLEMS)
