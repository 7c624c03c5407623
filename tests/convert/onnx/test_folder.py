from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from package.crashes import run_killed_before_change

from pocketseek.convert.onnx import folder
from pocketseek.convert.onnx.folder import ExportFolder
from pocketseek.convert.onnx.qdq import QdqGraph
from pocketseek.errors import FormatError, StorageError, UsageError


def graph_with(*sizes: int) -> onnx.ModelProto:
    graph = QdqGraph("test")
    value = graph.input("x", onnx.TensorProto.FLOAT, (1,))
    for number, size in enumerate(sizes):
        constant = graph.constant(f"c{number}", np.full(size, number, np.float32))
        value = graph.node("Add", value, graph.node("ReduceSum", constant))
    graph.output(value, "y", onnx.TensorProto.FLOAT, (1,))
    return graph.model(21)


def export(target: Path, **facts: int) -> None:
    with ExportFolder(target, expected_bytes=0) as opened:
        opened.add_file("note.txt", b"hello")
        opened.commit(dict(facts))


def test_every_file_is_described_by_its_hash(tmp_path: Path) -> None:
    export(tmp_path / "out", answer=42)
    description = json.loads((tmp_path / "out" / "model.json").read_text())
    assert description == {
        "format": "pocketseek-onnx",
        "version": 1,
        "answer": 42,
        "files": {"note.txt": {"sha256": hashlib.sha256(b"hello").hexdigest(), "num_bytes": 5}},
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("name", ["model.json", "model.onnx"])
def test_a_file_of_the_package_cannot_stand_in_for_one_of_the_export(tmp_path: Path, name: str) -> None:
    with ExportFolder(tmp_path / "out", expected_bytes=0) as opened:
        opened.add_graph("model.onnx", graph_with(10))
        with pytest.raises(FormatError, match=name):
            opened.add_file(name, b"{}")
    assert not list(tmp_path.iterdir())


def test_without_a_commit_the_old_export_stays_as_it_was(tmp_path: Path) -> None:
    export(tmp_path / "out", answer=1)
    with ExportFolder(tmp_path / "out", expected_bytes=0) as opened:
        opened.add_file("other.txt", b"never committed")
    assert json.loads((tmp_path / "out" / "model.json").read_text())["answer"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_an_export_replaces_an_export(tmp_path: Path) -> None:
    export(tmp_path / "out", answer=1)
    export(tmp_path / "out", answer=2)
    assert json.loads((tmp_path / "out" / "model.json").read_text())["answer"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_killed_while_replacing_the_old_or_the_new_export_is_there_when_the_next_one_begins(tmp_path: Path) -> None:
    target = tmp_path / "out"
    export(target, answer=1)
    seen: list[int] = []
    gaps = change = 0
    while run_killed_before_change(partial(export, target, answer=2), change):
        gaps += not target.exists()
        with ExportFolder(target, expected_bytes=0):
            pass  # the next one, which fails
        seen.append(json.loads((target / "model.json").read_text())["answer"])
        assert [path.name for path in tmp_path.iterdir() if not path.name.endswith("-lock")] == ["out"]
        export(target, answer=1)
        change += 1
    assert json.loads((target / "model.json").read_text())["answer"] == 2
    assert set(seen) == {1, 2}
    assert gaps == 1


def test_what_is_no_export_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is not an export"):
        export(tmp_path / "out")
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_a_full_disk_is_noticed_first(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="are free"), ExportFolder(tmp_path / "out", expected_bytes=1 << 60):
        pass
    assert not list(tmp_path.iterdir())


def test_constants_lie_in_files_of_limited_size_and_are_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "MAX_DATA_BYTES", 20_000)
    model = graph_with(2000, 10, 3000, 1000, 4000)
    with ExportFolder(tmp_path / "out", expected_bytes=0) as opened:
        names = opened.add_graph("g.onnx", model)
        opened.commit({})
    assert names == ["g.onnx", "g.onnx.data-000", "g.onnx.data-001", "g.onnx.data-002"]
    assert all((tmp_path / "out" / name).stat().st_size <= 20_000 for name in names)
    loaded = onnx.load(tmp_path / "out" / "g.onnx")
    arrays = {one.name: numpy_helper.to_array(one) for one in loaded.graph.initializer}
    for number, size in enumerate((2000, 10, 3000, 1000, 4000)):
        np.testing.assert_array_equal(arrays[f"c{number}"], np.full(size, number, np.float32))
