"""`doctor` finds what would keep a model from running."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.cli import doctor_cmd
from pocketseek.errors import NativeCoreError
from pocketseek.kernels import choose


def test_doctor_is_content_with_a_sound_installation(run: Callable, installed: Path) -> None:
    report = run("doctor", "--json").json
    assert report["ok"] is True
    assert "Everything needed is here" in run("doctor").out


def test_doctor_reports_a_broken_model(run: Callable, installed: Path) -> None:
    next((installed / "chunks").iterdir()).unlink()
    ended = run("doctor")
    assert ended.code == 1
    assert "tiny: " in ended.out


def test_doctor_reports_a_missing_core(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str | None) -> None:
        raise NativeCoreError("no core; install a compiler")

    monkeypatch.setattr(choose, "choose_kernels", fail)
    ended = run("doctor")
    assert ended.code == 1
    assert "install a compiler" in ended.out


def test_doctor_reports_a_full_disk(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_cmd, "_SMALL_MODEL_BYTES", 10**18)
    assert run("doctor").code == 1
