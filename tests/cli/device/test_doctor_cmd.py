"""`doctor` finds what would keep a model from running."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.cli.device import doctor_cmd
from pocketseek.cli.messages import Words
from pocketseek.device.memory import ProcessMemory
from pocketseek.device.probe import check_device
from pocketseek.errors import NativeCoreError
from pocketseek.kernels import choose
from pocketseek.runtime import onnx_executor
from pocketseek.settings import read_settings


def test_doctor_is_content_with_a_sound_installation(run: Callable, installed: Path) -> None:
    report = run("doctor", "--json").json
    assert report["ok"] is True
    assert "Everything needed is here" in run("doctor").out


def test_doctor_reports_a_broken_model(run: Callable, installed: Path) -> None:
    next((installed / "chunks").iterdir()).unlink()
    ended = run("doctor")
    assert ended.code == 1
    assert "tiny: " in ended.out


@pytest.mark.parametrize(("onnx_runtime", "code"), [(None, 1), ("1.32.0", 0)])
def test_doctor_reports_a_missing_core_which_is_no_fault_where_onnx_runtime_computes(
    run: Callable, monkeypatch: pytest.MonkeyPatch, onnx_runtime: str | None, code: int
) -> None:
    def fail(name: str | None) -> None:
        raise NativeCoreError("no core; install a compiler")

    monkeypatch.setattr(choose, "choose_kernels", fail)
    monkeypatch.setattr(onnx_executor, "library_version", lambda: onnx_runtime)
    monkeypatch.setattr(onnx_executor, "available_providers", lambda: ("CPUExecutionProvider",))
    ended = run("doctor")
    assert ended.code == code
    assert "install a compiler" in ended.out


def test_doctor_reports_a_full_disk(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_cmd, "_SMALL_MODEL_BYTES", 10**18)
    assert run("doctor").code == 1


def test_little_space_is_only_a_warning_once_a_model_is_installed(
    run: Callable, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_cmd, "_SMALL_MODEL_BYTES", 10**18)
    assert "free storage" in [check["name"] for check in run("doctor", "--json").json["checks"] if check["warning"]]


@pytest.mark.parametrize("variable", ["POCKETSEEK_THREADS", "POCKETSEEK_KERNELS", "POCKETSEEK_KV"])
def test_doctor_reports_an_impossible_setting(run: Callable, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "nonsense")
    ended = run("doctor")
    assert ended.code == 1
    assert "nonsense" in ended.out


def test_doctor_reports_a_data_directory_that_is_none(run: Callable, home: Path) -> None:
    home.write_text("a file where the directory should be")
    ended = run("doctor")
    assert ended.code == 1
    assert f"{home} is no folder; move it away" in ended.out


def test_every_broken_model_has_a_line_with_the_remedy(run: Callable, home: Path) -> None:
    for name in ("one", "two"):
        (home / "models" / name).mkdir(parents=True)
    first, second = (line for line in run("doctor").out.splitlines() if "pocketseek remove" in line)
    assert "one is broken" in first
    assert "two is broken" in second


def here_is(monkeypatch: pytest.MonkeyPatch, *, own_bytes: int | None) -> None:
    """What the process of the test is said to hold."""
    monkeypatch.setattr(doctor_cmd, "process_memory", lambda: ProcessMemory(None, None, own_bytes))


def memory_check(run: Callable, monkeypatch: pytest.MonkeyPatch, **facts: int | None) -> dict[str, object]:
    here = check_device()
    monkeypatch.setattr(doctor_cmd, "check_device", lambda **_: dataclasses.replace(here, **facts))  # type: ignore[arg-type]  # fields of it
    (check,) = (check for check in run("doctor", "--json").json["checks"] if check["name"] == "memory")
    return check


def test_doctor_names_the_limit_of_a_container(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    check = memory_check(run, monkeypatch, memory_available_bytes=500_000_000, memory_limit_bytes=600_000_000)
    assert check["warning"] is False
    assert "500.0 MB" in str(check["detail"])
    assert "600.0 MB" in str(check["detail"])


@pytest.mark.parametrize(
    ("limit_bytes", "remedy"),
    [(None, "close other programs"), (600_000_000, "close other programs"), (100_000_000, "allow the container more")],
)
def test_doctor_warns_of_little_memory_with_the_remedy(
    run: Callable, monkeypatch: pytest.MonkeyPatch, limit_bytes: int | None, remedy: str
) -> None:
    here_is(monkeypatch, own_bytes=30_000_000)
    check = memory_check(run, monkeypatch, memory_available_bytes=90_000_000, memory_limit_bytes=limit_bytes)
    assert (check["ok"], check["warning"]) == (True, True)
    assert remedy in str(check["detail"])


def test_what_doctor_holds_itself_is_there_for_a_model(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    here_is(monkeypatch, own_bytes=45_000_000)
    check = memory_check(run, monkeypatch, memory_available_bytes=90_000_000, memory_limit_bytes=140_000_000)
    assert (check["ok"], check["warning"]) == (True, False)


def test_doctor_does_not_guess_unknown_memory(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    check = memory_check(run, monkeypatch, memory_available_bytes=None, memory_limit_bytes=None)
    assert (check["warning"], check["detail"]) == (False, "unknown")


def heat_check(root: Path, limit_c: float | None = None, language: str = "en") -> doctor_cmd.Check:
    settings = dataclasses.replace(read_settings(), temperature_limit_c=limit_c, language=language)
    return doctor_cmd._heat(settings, Words(language), root)


def test_a_phone_that_tells_no_temperature_is_a_warning_with_what_helps(tmp_path: Path) -> None:
    (tmp_path / "data/data/com.termux/files/usr").mkdir(parents=True)
    check = heat_check(tmp_path)
    assert (check.ok, check.warning) == (True, True)
    assert "45 °C is without effect" in check.detail
    assert "pkg install termux-api" in check.detail
    assert "45 °C 的温度上限不起作用" in heat_check(tmp_path, language="zh").detail


def test_a_pc_without_sensors_is_worth_a_warning_only_if_a_limit_is_set(tmp_path: Path) -> None:
    assert not heat_check(tmp_path).warning
    assert heat_check(tmp_path, 40.0).warning
    assert heat_check(tmp_path, 0.0) == doctor_cmd.Check("temperature", True, "no limit")


def test_the_sensor_that_the_limit_is_held_by_is_named(tmp_path: Path) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("skin-therm\n")
    (zone / "temp").write_text("31500\n")
    assert heat_check(tmp_path, 40.0).detail == "31.5 °C (skin-therm), limit 40 °C"
