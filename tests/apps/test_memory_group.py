"""A group keeps its processes below the limit and is gone afterwards, whatever happened inside.

With the rights to make one, the real kernel is asked. Without, a folder stands in for the kernel's: what is written
where, and what is said, is tested everywhere.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from pocketseek.apps import memory_group
from pocketseek.apps.memory_group import MemoryGroup, unavailable
from pocketseek.errors import MemoryLimitError

MB = 1_000_000
REASON = unavailable()
needs_group = pytest.mark.skipif(REASON is not None, reason=f"no memory control group here: {REASON}")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def folder_of(group: MemoryGroup) -> Path:
    assert group.folder is not None
    return group.folder


@needs_group
def test_a_child_is_in_the_group_before_its_program_starts() -> None:
    with MemoryGroup(200 * MB) as group:
        name = folder_of(group).name
        assert group.run(python(f"assert {name!r} in open('/proc/self/cgroup').read()")) == 0


@needs_group
def test_memory_below_the_limit_is_counted_and_nobody_is_killed() -> None:
    with MemoryGroup(200 * MB) as group:
        assert group.run(python(f"bytearray({50 * MB})")) == 0
        assert group.peak_bytes is not None
        assert 50 * MB < group.peak_bytes < 200 * MB
    assert group.num_kills == 0
    assert group.peak_bytes is not None  # also afterwards


@needs_group
def test_memory_beyond_the_limit_ends_with_a_kill_that_is_counted() -> None:
    with MemoryGroup(60 * MB) as group:
        assert group.run(python(f"bytearray({200 * MB})")) == -signal.SIGKILL
    assert group.num_kills == 1
    assert group.peak_bytes is not None
    assert group.peak_bytes <= 60 * MB


@needs_group
def test_the_code_of_the_command_is_returned() -> None:
    with MemoryGroup(200 * MB) as group:
        assert group.run(python("raise SystemExit(7)")) == 7


@needs_group
def test_the_group_is_gone_after_an_error_and_so_are_its_processes() -> None:
    started: list[subprocess.Popen[str]] = []
    group = MemoryGroup(200 * MB)

    def fail_with_a_process_inside() -> None:
        with group:
            command = group.inside(["sh", "-c", "echo ready; exec sleep 600"])
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            assert started[0].stdout is not None
            assert started[0].stdout.readline() == "ready\n"
            raise RuntimeError(str(folder_of(group)))

    with pytest.raises(RuntimeError) as failed:
        fail_with_a_process_inside()
    with started[0] as process:
        assert process.wait(10) == -signal.SIGKILL
    assert not Path(str(failed.value)).exists()


@needs_group
def test_an_interrupt_ends_the_command_and_removes_the_group() -> None:
    code = (
        "import os, signal, sys, threading\n"
        "from pocketseek.apps.memory_group import MemoryGroup\n"
        "try:\n"
        "    with MemoryGroup(200_000_000) as group:\n"
        "        print(group.folder, flush=True)\n"
        "        group.run(['sh', '-c', 'echo ready; exec sleep 600'])\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    process = subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "interrupted\n"
    assert not folder.exists()


@needs_group
def test_a_group_whose_maker_was_killed_is_removed_by_the_next() -> None:
    with MemoryGroup(200 * MB) as group:
        parent = folder_of(group).parent
    ended = subprocess.Popen(["true"])
    ended.wait()
    leftover = parent / f"pocketseek-bench-{ended.pid}-0"
    leftover.mkdir()
    with MemoryGroup(200 * MB):
        assert not leftover.exists()


# --- everywhere -------------------------------------------------------------------------------------------------------


Groups = Callable[..., None]


@pytest.fixture
def own_groups(monkeypatch: pytest.MonkeyPatch) -> Groups:
    """Say which groups this process is in."""

    def set_groups(**paths: str) -> None:
        groups = [(name.replace("unified", ""), PurePosixPath(path)) for name, path in paths.items()]
        monkeypatch.setattr(memory_group, "_own_groups", lambda: iter(groups))

    return set_groups


def v2_folder(path: Path, *, controllers: str = "", limit: str = "max") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.controllers").write_text("cpu memory")
    (path / "cgroup.subtree_control").write_text(controllers)
    (path / "memory.max").write_text(limit)
    return path


def places(mount: Path) -> list[Path]:
    return [folder for folder, _ in memory_group._places(mount)]


def test_version_2_makes_a_group_where_the_memory_controller_was_handed_down(
    tmp_path: Path, own_groups: Groups
) -> None:
    own_groups(unified="slice/app")
    v2_folder(tmp_path)
    v2_folder(tmp_path / "slice", controllers="cpu memory")
    v2_folder(tmp_path / "slice" / "app")
    assert places(tmp_path) == [tmp_path / "slice"]


def test_version_2_never_makes_a_group_outside_of_a_limit_of_ours(tmp_path: Path, own_groups: Groups) -> None:
    own_groups(unified="slice/app")
    v2_folder(tmp_path, controllers="memory")
    v2_folder(tmp_path / "slice", controllers="memory")
    v2_folder(tmp_path / "slice" / "app", limit="1000000")
    assert places(tmp_path) == []


def test_version_1_uses_the_mount_itself_if_the_path_is_that_of_the_host(tmp_path: Path, own_groups: Groups) -> None:
    own_groups(memory="docker/0123", unified="")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("1")
    assert places(tmp_path) == [tmp_path / "memory"]
    (tmp_path / "memory" / "docker" / "0123").mkdir(parents=True)
    assert places(tmp_path) == [tmp_path / "memory" / "docker" / "0123"]


def test_without_any_hierarchy_the_reason_says_so(tmp_path: Path, own_groups: Groups) -> None:
    own_groups()
    reason = unavailable(tmp_path)
    assert reason is not None
    assert "no memory hierarchy" in reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, own_groups: Groups) -> None:
    own_groups(unified="")
    v2_folder(tmp_path, controllers="memory").chmod(0o500)
    with pytest.raises(MemoryLimitError, match="Permission denied"):
        MemoryGroup(100 * MB, mount=tmp_path).__enter__()


def test_a_group_that_cannot_be_entered_is_not_left_behind(
    tmp_path: Path, own_groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_folder: Path) -> None:
        raise PermissionError(1, "not allowed")

    own_groups(unified="")
    v2_folder(tmp_path, controllers="memory")
    monkeypatch.setattr(memory_group, "_try_to_enter", refuse)
    with pytest.raises(MemoryLimitError, match="not allowed"):
        MemoryGroup(100 * MB, mount=tmp_path).__enter__()
    assert not list(tmp_path.glob("pocketseek-bench-*"))


def test_limits_are_written_as_each_version_wants_them(tmp_path: Path) -> None:
    v1, v2 = tmp_path / "v1", tmp_path / "v2"
    for folder, swap in ((v1, "memory.memsw.limit_in_bytes"), (v2, "memory.swap.max")):
        folder.mkdir()
        (folder / swap).touch()
    memory_group._set_limit(v1, memory_group._V1, 5 * MB)
    memory_group._set_limit(v2, memory_group._V2, 5 * MB)
    assert {file.name: file.read_text() for file in v1.iterdir()} == {
        "memory.limit_in_bytes": "5000000",
        "memory.memsw.limit_in_bytes": "5000000",
    }
    assert {file.name: file.read_text() for file in v2.iterdir()} == {"memory.max": "5000000", "memory.swap.max": "0"}


def test_commands_are_for_a_group_that_is_there() -> None:
    with pytest.raises(ValueError, match="with"):
        MemoryGroup(MB).inside(["true"])
