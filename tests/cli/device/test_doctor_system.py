"""`doctor` finds trouble around the models, and says what to do about each."""

import dataclasses
import datetime
import resource
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.cli.device import doctor_system, doctor_view
from pocketseek.cli.device.doctor_check import Check
from pocketseek.cli.messages import Words
from pocketseek.device.probe import check_device
from pocketseek.package.store import ModelStore, UnfinishedModel

WORDS = Words("en")
PYPROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))


def facts(**changes: object):
    return dataclasses.replace(check_device(), **changes)


@pytest.mark.parametrize(
    ("filesystem", "kind", "remedy"),
    [
        ("tmpfs", "memory", "set POCKETSEEK_HOME to a folder on a disk"),
        ("fuse", "UFS", "unset POCKETSEEK_HOME"),
        ("exfat", "SD card", "unset POCKETSEEK_HOME"),
        ("nfs4", None, "a disk of this machine"),
        ("ext4", "eMMC", "device --models"),
        ("ext4", "hard disk", "device --models"),
    ],
)
def test_storage_that_makes_trouble_is_a_warning_with_a_remedy(filesystem: str, kind: str, remedy: str) -> None:
    check = doctor_system._storage(facts(storage_filesystem=filesystem, storage_kind=kind), WORDS)
    assert check is not None
    assert (check.ok, check.warning) == (True, True)
    assert remedy in check.detail


def test_good_storage_is_told_and_unknown_storage_is_not() -> None:
    good = doctor_system._storage(facts(storage_filesystem="f2fs", storage_kind="UFS"), WORDS)
    assert good == Check("storage", True, "UFS, f2fs")
    assert doctor_system._storage(facts(storage_filesystem=None, storage_kind=None), WORDS) is None


@pytest.mark.parametrize(("limits", "suggested"), [((8, 100_000), 1024), ((8, 512), 512)])
def test_too_few_open_files_are_told_with_the_command(
    run: Callable, installed: Path, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], suggested: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    assert f"`ulimit -n {suggested}`" in run("doctor").out


def test_a_missing_compiler_matters_only_without_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_system.shutil, "which", lambda name: None)
    assert doctor_system._compiler(WORDS, has_core=True) is None
    missing = doctor_system._compiler(WORDS, has_core=False)
    assert missing is not None
    assert "install" in missing.detail
    monkeypatch.setattr(doctor_system.shutil, "which", lambda name: f"/usr/bin/{name}")
    here = doctor_system._compiler(WORDS, has_core=False)
    assert here is not None
    assert "install pocketseek again" in here.detail


def test_a_small_share_of_a_processor_is_told() -> None:
    check = doctor_system._processor_time(facts(cpu_quota=0.5), WORDS)
    assert check is not None
    assert "0.5 of a processor" in check.detail
    assert doctor_system._processor_time(facts(cpu_quota=2.0), WORDS) is None


def test_an_impossible_clock_is_told() -> None:
    assert doctor_system._clock(WORDS, datetime.date(1970, 1, 2)).warning
    assert not doctor_system._clock(WORDS, datetime.date(2030, 1, 2)).warning


def test_on_a_phone_the_traps_of_android_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor_system._android(WORDS, tmp_path) == []
    programs = tmp_path / "data/data/com.termux/files/usr/bin"
    programs.mkdir(parents=True)
    (missing,) = doctor_system._android(WORDS, tmp_path)
    assert missing.warning
    assert "pkg install" in missing.detail
    (programs / "termux-wake-lock").touch()
    monkeypatch.setenv("TERMUX_APK_RELEASE", "GOOGLE_PLAY_STORE")
    locked, source = doctor_system._android(WORDS, tmp_path)
    assert not locked.warning
    assert "`termux-wake-lock`" in locked.detail
    assert "F-Droid" in source.detail


def test_extras_that_are_not_here_are_named(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_system, "EXTRAS", {"talk": {"a_library_that_is_not": "x"}, "text": {"json": "json"}})
    line = next(line for line in run("doctor").out.splitlines() if line.startswith("extras"))
    assert line.startswith("extras\tok\ttext; not here: talk (`pip install")
    monkeypatch.setattr(sys, "prefix", "/data/data/com.termux/files/home/pocketseek/.venv")
    line = next(line for line in run("doctor").out.splitlines() if line.startswith("extras"))
    assert "`bash scripts/setup-termux --with NAME`" in line


def test_a_library_that_does_not_load_is_told_with_the_reason(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_broken_library.py").write_text("raise ImportError('built for another numpy')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(doctor_system, "EXTRAS", {"talk": {"a_broken_library": "broken-library"}})
    ended = run("doctor")
    assert ended.code == 0
    assert "built for another numpy" in ended.out
    assert "`pip install --force-reinstall broken-library`" in ended.out


def test_the_extras_are_those_that_are_declared() -> None:
    declared = PYPROJECT["project"]["optional-dependencies"]
    assert set(doctor_system.EXTRAS) == set(declared) - {"dev", "docs"}
    for extra, libraries in doctor_system.EXTRAS.items():
        names = {requirement.partition(">=")[0] for requirement in declared[extra]}
        assert set(libraries.values()) == names


def test_what_was_interrupted_and_takes_space_is_told(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished = [UnfinishedModel("big", 5_000_000, is_download=True), UnfinishedModel("other", 1000)]
    monkeypatch.setattr(ModelStore, "list_unfinished", lambda self: unfinished)
    shown = run("doctor").out
    assert "big: 5.0 MB of an interrupted download" in shown
    assert "`pocketseek remove other` frees it" in shown


def test_findings_are_counted_and_shown_narrow_and_wide(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [
        Check("a", True, "well"),
        Check("b", True, "hm; do this", warning=True),
        Check("c", False, "bad; do that"),
    ]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for columns in ("36", "100"):
        monkeypatch.setenv("COLUMNS", columns)
        doctor_view.show_checks(checks, WORDS)
        shown = capsys.readouterr().out
        assert "1 problem (!!), 1 warning (!)." in shown
        assert "Everything needed" not in shown
        assert max(map(len, shown.splitlines())) <= int(columns)
