"""Nobody else reads the data directory, and nothing that is not ours is touched."""

import stat
from pathlib import Path

import pytest

from pocketseek.apps.data_directory import mend_modes

SECRETS = (
    "tokens.json",
    "trust.json",
    "audit.log",
    "audit.head",
    "audit.000000000012.log",
    "conversations.db",
    "conversations-0123456789abcdef.db",
    "documents.db-wal",
    "device.json",
    "frequency-caps.json",
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    for name in ("models", "keys", "uploads", "cache"):
        (home / name).mkdir(parents=True)
        (home / name).chmod(0o755)
    for name in (*SECRETS, "keys/alice.key"):
        (home / name).write_text("x")
        (home / name).chmod(0o644)
    home.chmod(0o755)
    return home


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_and_directories_are_closed_to_others(home: Path) -> None:
    assert mend_modes(home) == ()
    assert {name: mode(home / name) for name in (*SECRETS, "keys/alice.key")} == dict.fromkeys(
        (*SECRETS, "keys/alice.key"), 0o600
    )
    assert {mode(home / name) for name in ("models", "keys", "uploads", "cache", ".")} == {0o700}


def test_nothing_is_ever_given(home: Path) -> None:
    (home / "tokens.json").chmod(0o444)
    mend_modes(home)
    assert mode(home / "tokens.json") == 0o400


def test_what_is_not_ours_keeps_its_mode(home: Path) -> None:
    (home / "holiday.jpg").write_text("x")
    (home / "holiday.jpg").chmod(0o644)
    mend_modes(home)
    assert mode(home / "holiday.jpg") == 0o644
    assert mode(home) == 0o755
    assert mode(home / "tokens.json") == 0o600


def test_symbolic_links_are_not_followed(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "shared.json"
    target.write_text("x")
    target.chmod(0o644)
    (home / "trust.json").unlink()
    (home / "trust.json").symlink_to(target)
    mend_modes(home)
    assert mode(target) == 0o644


def test_a_directory_that_is_shared_by_all_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common").chmod(0o1777)
    assert mend_modes(tmp_path / "common") == (tmp_path / "common",)
    assert mode(tmp_path / "common") == 0o777 or mode(tmp_path / "common") == 0o1777


def test_without_a_directory_nothing_is_made(tmp_path: Path) -> None:
    assert mend_modes(tmp_path / "nowhere") == ()
    assert not (tmp_path / "nowhere").exists()


def test_what_cannot_be_closed_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_modes(descriptor: int, mode: int) -> None:
        raise PermissionError

    monkeypatch.setattr("pocketseek.apps.data_directory.os.fchmod", without_modes)
    assert home / "tokens.json" in mend_modes(home)
    assert home / "keys" / "alice.key" in mend_modes(home)
