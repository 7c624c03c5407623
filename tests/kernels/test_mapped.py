"""Memory of mapped files: what is there is counted, and what cannot be read ends as zeros and a note.

Whatever may end a process runs in one of its own.
"""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pocketseek.errors import IntegrityError, UsageError
from pocketseek.kernels import mapped
from pocketseek.kernels.mapped import FaultGuard, changed_files, resident_bytes

PAGE = mmap.PAGESIZE
NUM_PAGES = 200  # more than a word of the guard's bits

BEGIN = f"""
import faulthandler, mmap, os, signal, sys, threading
import numpy as np
from pocketseek.kernels.mapped import FaultGuard

PAGE, NUM_PAGES = {PAGE}, {NUM_PAGES}
path = sys.argv[1]
content = np.random.default_rng(1).integers(1, 256, PAGE * NUM_PAGES, np.uint8)

def write():
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        file.write(content.tobytes())

def map_file():
    with open(path, "rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)

write()
data = map_file()
guard = FaultGuard()
assert guard.available
"""


def run_script(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BEGIN + textwrap.dedent(script), str(tmp_path / "file")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )


def check(tmp_path: Path, script: str) -> None:
    done = run_script(tmp_path, script)
    assert done.returncode == 0, done.stderr


def map_file(path: Path, pages: int) -> NDArray[np.uint8]:
    path.write_bytes(bytes(range(256)) * (PAGE // 256) * pages)
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def test_bytes_in_memory_are_counted_by_whole_pages_and_only_those_of_the_array(tmp_path: Path) -> None:
    data = map_file(tmp_path / "file", 5000)
    assert int(data.sum()) > 0  # every page has been read
    assert resident_bytes(data) == data.nbytes
    assert resident_bytes(data[100 : 3 * PAGE + 7]) == 3 * PAGE - 93
    assert resident_bytes(data[:0]) == 0


def test_memory_that_was_never_touched_is_not_there() -> None:
    data = np.frombuffer(mmap.mmap(-1, 64 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
    data[3 * PAGE] = data[9 * PAGE] = 1
    assert 2 * PAGE <= (resident_bytes(data) or 0) < data.nbytes


def test_a_truncated_file_reads_as_zeros_and_is_reported(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        first = np.zeros(PAGE, np.uint8)
        guard.watch(first)
        guard.watch(data)
        os.truncate(path, 60 * PAGE)
        assert data[: 60 * PAGE].tobytes() == content[: 60 * PAGE].tobytes()
        assert guard.take_faults() == []
        assert not data[60 * PAGE :].any()
        assert guard.take_faults() == [(1, page * PAGE) for page in range(60, NUM_PAGES)]
        assert not data[60 * PAGE :].any()  # zeros by now, and no fault any more
        assert guard.take_faults() == []
        """,
    )


def test_after_mapping_a_restored_file_anew_every_view_shows_it(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        view = data[3 * PAGE + 64 : 190 * PAGE]
        guard.watch(data)
        os.truncate(path, 0)
        assert not view.any()
        write()
        assert not view.any()
        with open(path, "rb") as file:
            guard.remap(data, file.fileno(), 0)
        assert view.tobytes() == content[3 * PAGE + 64 : 190 * PAGE].tobytes()
        assert data.tobytes() == content.tobytes()
        guard.take_faults()
        os.truncate(path, 100 * PAGE)  # still watched
        assert not data[-PAGE:].any()
        assert guard.take_faults() == [(0, (NUM_PAGES - 1) * PAGE)]
        """,
    )


def test_a_view_from_the_middle_of_a_file_can_be_mapped_anew(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        part = data[20 * PAGE : 90 * PAGE + 100]
        guard.watch(part)
        os.truncate(path, 80 * PAGE)
        assert not part[60 * PAGE :].any()
        assert guard.take_faults() == [(0, page * PAGE) for page in range(60, 71)]
        write()
        with open(path, "rb") as file:
            guard.remap(part, file.fileno(), 20 * PAGE)
        assert data.tobytes() == content.tobytes()
        """,
    )


def test_arrays_keep_their_numbers_when_others_are_forgotten(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        second, third = map_file(), map_file()
        for array in (data, second, third):
            guard.watch(array)
        guard.forget(second)
        guard.watch(second)
        os.truncate(path, PAGE)
        assert third[5 * PAGE] == second[2 * PAGE] == data[7 * PAGE + 1] == 0
        assert guard.take_faults() == [(0, 7 * PAGE), (2, 5 * PAGE), (3, 2 * PAGE)]
        """,
    )


@pytest.mark.parametrize(
    "fault",
    [
        "other = map_file(); os.truncate(path, 0); other[-1]",
        "guard.forget(data); os.truncate(path, 0); data[-1]",
        "del guard; os.truncate(path, 0); data[-1]",
        "os.kill(os.getpid(), signal.SIGBUS)",
        "signal.raise_signal(signal.SIGBUS)",
    ],
)
@pytest.mark.parametrize("handler", ["none", "before", "after"])
def test_other_bus_errors_end_the_process_as_ever(tmp_path: Path, fault: str, handler: str) -> None:
    enable = "faulthandler.enable()"
    done = run_script(
        tmp_path,
        f"""
        {enable if handler == "before" else ""}
        guard.watch(data)
        {enable if handler == "after" else ""}
        print("alive", flush=True)
        {fault}
        print("still alive", flush=True)
        """,
    )
    assert done.returncode == -signal.SIGBUS
    assert done.stdout == "alive\n"
    assert ("Fatal Python error: Bus error" in done.stderr) == (handler != "none")


def test_a_handler_installed_later_is_asked_after_the_guard_once_more_is_watched(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        guard.watch(data)
        faulthandler.enable()
        guard.watch(map_file())
        os.truncate(path, 0)
        assert data[-1] == 0
        assert guard.take_faults() == [(0, (NUM_PAGES - 1) * PAGE)]
        """
    )
    check(tmp_path, script)
    done = run_script(tmp_path, script + "write(); other = map_file(); os.truncate(path, 0); other[-1]")
    assert done.returncode == -signal.SIGBUS
    assert done.stderr.count("Fatal Python error: Bus error") == 1


def test_a_handler_in_python_still_gets_what_is_sent(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        seen = []
        signal.signal(signal.SIGBUS, lambda number, frame: seen.append(number))
        guard.watch(data)
        os.kill(os.getpid(), signal.SIGBUS)
        assert seen == [signal.SIGBUS]
        """,
    )


def test_a_child_has_the_guard_too_and_its_faults_are_its_own(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        guard.watch(data)
        os.truncate(path, PAGE)
        child = os.fork()
        if child == 0:
            good = data[9 * PAGE] == 0 and guard.take_faults() == [(0, 9 * PAGE)]
            os._exit(0 if good else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert guard.take_faults() == []
        assert data[9 * PAGE] == 0
        assert guard.take_faults() == [(0, 9 * PAGE)]
        """,
    )


def test_many_threads_may_fail_at_once(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        arrays = [map_file() for _ in range(4)]
        for array in arrays:
            guard.watch(array)
        os.truncate(path, PAGE)
        sums = []
        threads = [threading.Thread(target=lambda a=a: sums.append(int(a[PAGE:].sum()))) for a in arrays * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sums == [0] * 12
        assert guard.take_faults() == [(i, page * PAGE) for i in range(4) for page in range(1, NUM_PAGES)]
        """,
    )


def test_a_fault_on_threads_of_the_core_leaves_the_pass_running_and_the_weights_can_come_back(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        from kernels.random_model import RandomModel, Runner, config, tokens_of
        from pocketseek.kernels.choose import supported_sets
        from pocketseek.kernels.contract import TensorData
        from pocketseek.kernels.native import NativeKernels

        model = RandomModel("q4p", config(num_layers=1, hidden_size=512, intermediate_size=4096))
        tokens = tokens_of(model, 3)

        def logits():
            runner = Runner(model, NativeKernels(model.config, supported_sets()[-1], 4))
            return np.concatenate([runner.run(("a", first, tokens[first : first + 1]))["a"] for first in range(3)])

        expected = logits()
        stored = {name: np.concatenate([p for _, p in t.parts]) for name, t in model.layers[0].items()}
        sizes = {name: -(-len(raw) // 64) * 64 for name, raw in stored.items()}
        content = np.concatenate([np.pad(raw, (0, sizes[name] - len(raw))) for name, raw in stored.items()])
        write()
        data, offset = map_file(), 0
        for name, raw in stored.items():
            tensor = model.layers[0][name]
            model.layers[0][name] = TensorData(tensor.format, tensor.shape, ((0, data[offset : offset + len(raw)]),))
            offset += sizes[name]
        guard.watch(data)
        assert logits().tobytes() == expected.tobytes()
        os.truncate(path, PAGE)
        assert logits().tobytes() != expected.tobytes()
        assert len(guard.take_faults()) > 100
        write()
        with open(path, "rb") as file:
            guard.remap(data, file.fileno(), 0)
        assert logits().tobytes() == expected.tobytes()
        assert guard.take_faults() == []
        """,
    )


def test_thousands_of_arrays_can_be_watched_and_one_too_many_is_refused(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        from pocketseek.errors import UsageError

        room = np.zeros(5000, np.uint8)
        for index in range(4096):
            guard.watch(room[index : index + 1])
        try:
            guard.watch(data)
        except UsageError as error:
            assert "forget" in str(error)
        else:
            raise SystemExit("taken")
        guard.forget(room[7:8])
        guard.watch(data)
        os.truncate(path, 0)
        assert data[PAGE] == 0
        assert guard.take_faults() == [(4096, PAGE)]
        """,
    )


def test_what_is_not_watched_or_too_short_or_askew_is_not_mapped_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    data, guard = map_file(path, 4), FaultGuard()
    with path.open("rb") as file:
        with pytest.raises(UsageError, match="watch it first"):
            guard.remap(data, file.fileno(), 0)
        guard.watch(data)
        with pytest.raises(UsageError, match="already"):
            guard.watch(data)
        with pytest.raises(UsageError, match="empty"):
            guard.watch(data[:0])
        with pytest.raises(IntegrityError, match="shorter"):
            guard.remap(data, file.fileno(), PAGE)
        part = data[64:PAGE]
        guard.watch(part)
        with pytest.raises(UsageError, match="begins at a page"):
            guard.remap(part, file.fileno(), 0)
    guard.forget(data)
    guard.forget(data)
    assert guard.take_faults() == []


def test_without_a_core_the_guard_does_nothing_and_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mapped, "_has_core", lambda: False)
    data, guard = map_file(tmp_path / "file", 1), FaultGuard()
    assert not guard.available
    guard.watch(data)
    guard.remap(data, 99, 0)
    assert guard.take_faults() == []
    guard.forget(data)
    assert resident_bytes(data) is None


@pytest.mark.parametrize("has_core", [True, False])
def test_open_files_that_were_written_to_or_cut_or_closed_have_changed(
    tmp_path: Path, has_core: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_core:
        monkeypatch.setattr(mapped, "_has_core", lambda: False)
    paths = [tmp_path / str(number) for number in range(6)]
    for path in paths:
        path.write_bytes(b"x" * 100)
    descriptors = np.array([os.open(path, os.O_RDONLY) for path in paths], np.int32)
    stamps = np.array([(os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in paths], np.int64)
    assert changed_files(descriptors, stamps) == []
    os.utime(paths[1], ns=(0, stamps[1, 1] + 1))
    os.truncate(paths[2], 99)
    os.utime(paths[2], ns=(0, stamps[2, 1]))
    paths[3].unlink()
    os.close(descriptors[4])
    assert changed_files(descriptors, stamps) == [1, 2, 4]
    for number in (0, 1, 2, 3, 5):
        os.close(descriptors[number])
