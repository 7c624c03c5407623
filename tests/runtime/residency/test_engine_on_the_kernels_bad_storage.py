"""Errors and slowness that the kernel makes: a disk whose end is gone, under a mounted file system; and a limit on the
bytes that a group of processes may read in a second.

The same of a model whose weights stream and of one whose experts are read on demand.

Both take the rights of an administrator. Elsewhere the same is tried with reads that fail and wait by order
(test_engine_on_bad_storage.py).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pressure_worker
import pytest
from bad_storage import EXPERTS, STREAMING, Case, assert_failed, case_of
from streaming_engine import digest, keep_in_memory, outcomes

from pocketseek.runtime.load import load

BLKIO = Path("/sys/fs/cgroup/blkio")
READ_BYTES_PER_S = 40_000_000
STREAMED, ALL = 0.0, None


@pytest.fixture(scope="module")
def streaming(streaming_package: Path) -> Case:
    return case_of(STREAMING, streaming_package, pressure_worker.requests_for(streaming_package))


@pytest.fixture(scope="module")
def experts(sparse_package: Path) -> Case:
    return case_of(EXPERTS, sparse_package, pressure_worker.requests_for(sparse_package))


@pytest.fixture(params=["streaming", "experts"])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def image(case: Case, tmp_path: Path) -> Path:
    """A file system with the package in it."""
    path = tmp_path / "image"
    path.touch()
    os.truncate(path, 64 << 20)
    _need(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-d", str(case.package), str(path)])
    return path


@pytest.fixture
def mounted(image: Path, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "mounted"
    folder.mkdir()
    _need(["mount", "-o", "loop,ro", str(image), str(folder)])
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _need(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here; only failures made by the test were tried")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{done.stderr.strip().partition(os.linesep)[0]}; only failures made by the test were tried")


@pytest.mark.parametrize("share", [STREAMED, ALL])
def test_a_disk_that_loses_a_part_and_gets_it_back_is_an_error_in_between(
    mounted: Path, image: Path, case: Case, share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamed weights meet an error of pread; mapped ones a SIGBUS, when they come into memory after the loss."""
    monkeypatch.setattr("pocketseek.runtime.residency.chunk_files.RETRY_PAUSE_S", 0.0)
    case.kind.watch(monkeypatch, os.preadv)
    kept = keep_in_memory(monkeypatch, STREAMED)
    whole = image.read_bytes()
    with load(mounted, prefix_store_bytes=0) as engine:
        assert outcomes(engine, case.requests) == case.expected
        kept.value = share
        os.truncate(image, len(whole) // 8)
        assert_failed(outcomes(engine, case.requests), case)
        kept.value = STREAMED
        assert_failed(outcomes(engine, case.requests[:2]), case)
        kept.value = share
        image.write_bytes(whole)
        assert outcomes(engine, case.requests) == case.expected
    statistics = engine.statistics()
    assert statistics.num_retried_passes >= statistics.num_failed_passes > 0


@pytest.fixture
def slow_group(case: Case) -> Iterator[Path]:
    """Its processes read slowly from the disk of the package."""
    device = case.package.stat().st_dev
    folder = BLKIO / f"pocketseek-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no group with a slow disk can be made ({error.strerror}); only reads that sleep were tried")
    try:
        limit = f"{os.major(device)}:{os.minor(device)} {READ_BYTES_PER_S}"
        try:
            (folder / "blkio.throttle.read_bps_device").write_text(limit)
        except OSError as error:
            pytest.skip(f"this disk cannot be slowed down ({error.strerror}); only reads that sleep were tried")
        yield folder
    finally:
        folder.rmdir()


def test_a_disk_that_the_kernel_slows_down_is_waited_for(slow_group: Path, case: Case) -> None:
    job = json.dumps({"package": str(case.package), "streams": True})
    enter = ["sh", "-c", 'echo 0 > "$0" && exec "$@"', str(slow_group / "cgroup.procs")]
    done = subprocess.run(
        [*enter, sys.executable, pressure_worker.__file__, job],
        input="enough\n",
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(pressure_worker.__file__).parent), *sys.path])},
    )
    told, last = (json.loads(line) for line in done.stdout.splitlines())
    assert told["digest"] == digest(case.expected)
    assert last["statistics"]["num_retried_passes"] == 0
    assert _bytes_read(slow_group) > READ_BYTES_PER_S / 2  # it was waited for half a second at least


def _bytes_read(group: Path) -> int:
    """From disks, by the group."""
    lines = (group / "blkio.throttle.io_service_bytes").read_text().splitlines()
    return sum(int(line.split()[2]) for line in lines if line.split()[1] == "Read")
