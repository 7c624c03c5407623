"""--engine and --provider of the commands, on a small installed model and on a model of another tool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

GENAI = Path(__file__).parents[1] / "runtime" / "onnx" / "data" / "genai-llama-int4"
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


def test_every_reason_for_a_provider_has_words() -> None:
    from typing import get_args

    from pocketseek.cli.onnx_messages import PROVIDER_REASONS
    from pocketseek.runtime.onnx.providers import ProviderReason

    reasons = {reason for part in get_args(ProviderReason) for reason in (get_args(part) or (part,))}
    assert reasons <= set(PROVIDER_REASONS)
