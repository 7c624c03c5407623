"""Format 3: what a manifest of a speech part may say, and that nothing takes one for a language model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from package.samples import write_sample
from part_packages import FILES, part_of_kind, write_part

from pocketseek.errors import FormatError, IntegrityError, UnsupportedError
from pocketseek.package.delta.make import make_chunk_delta
from pocketseek.package.manifest import parse_manifest, read_manifest, read_manifest_bytes, render_manifest
from pocketseek.package.reader import Package
from pocketseek.package.speech_part import SpeechPart
from pocketseek.package.store import ModelStore
from pocketseek.package.verify import verify_package
from pocketseek.package.writer import PackageWriter


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_part(tmp_path_factory.mktemp("parts") / "ears")


def test_files_lie_in_chunks_of_their_own(written: Path) -> None:
    manifest = read_manifest(written)
    assert manifest.part is not None
    assert manifest.config is None
    found = {
        file.name: b"".join((written / "chunks" / chunk.sha256).read_bytes() for chunk in chunks)
        for file, chunks in manifest.part.files_with_chunks(manifest.chunks)
    }
    assert found == FILES
    assert [file.num_chunks for file in manifest.part.files] == [3, 1, 1, 0]


def test_a_manifest_is_rendered_as_it_was_read(written: Path) -> None:
    data = read_manifest_bytes(written)
    assert render_manifest(parse_manifest(data)) == data
    assert json.loads(data)["format_version"] == 3


def test_every_byte_is_verified_and_damage_names_the_file(tmp_path: Path) -> None:
    path = write_part(tmp_path / "ears")
    assert verify_package(path, full=True).num_chunks == 5
    chunk = path / "chunks" / read_manifest(path).chunks[1].sha256
    chunk.write_bytes(b"x" + chunk.read_bytes()[1:])
    with pytest.raises(IntegrityError, match=r"model\.bin"):
        verify_package(path, full=True)


def test_it_is_no_language_model(written: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"speech part \(recogniser\), not a language model"):
        _ = read_manifest(written).model
    with Package.open(written) as package, pytest.raises(UnsupportedError, match="speech part"):
        package.file("tokenizer.json")


def test_a_store_tells_models_from_parts(tmp_path: Path) -> None:
    write_part(tmp_path / "ears")
    write_sample(tmp_path / "mind")
    store = ModelStore(tmp_path)
    assert [model.name for model in store.list()] == ["mind"]
    assert [model.name for model in store.list_parts()] == ["ears"]
    assert store.resolve("ears") == tmp_path / "ears"
    assert store.remove("ears") > 0
    assert not (tmp_path / "ears").exists()


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree.update(kind="adapter"), "update pocketseek"),
        (lambda tree: tree["part"].update(kind="nose"), "update pocketseek"),
        (lambda tree: tree["part"].update(licence="a\nb"), "not allowed"),
        (lambda tree: tree["part"].update(languages=["English"]), "not allowed"),
        (lambda tree: tree["part"].update(sample_rate=-1), "sample_rate"),
        (lambda tree: tree["part"].update(extra=1), "unknown field"),
        (lambda tree: tree["part"]["files"].pop(), None),
        (lambda tree: tree["part"]["files"].pop(0), "chunks of 5"),
        (lambda tree: tree["part"]["files"].clear(), "0 of them"),
        (lambda tree: tree["part"]["files"][0].update(num_chunks=4), "chunks of 5"),
        (lambda tree: tree["part"]["files"][3].update(name="MODEL.bin"), "two files at one place"),
        (lambda tree: tree["part"]["files"][3].update(name="model.bin/x"), "two files at one place"),
        (lambda tree: tree["chunks"][0].update(stage="head"), "stage 'head'"),
        (lambda tree: tree["chunks"][0].update(segments=[]), "segment hashes"),
        (lambda tree: tree.update(model={}), "unknown field 'model'"),
        (lambda tree: tree.update(format_version=5), "newer"),
    ],
)
def test_each_rule_is_enforced(written: Path, change: Change, words: str | None) -> None:
    tree = json.loads(read_manifest_bytes(written))
    change(tree)
    if words is None:  # a list without the empty file is another part, and as good
        parse_manifest(json.dumps(tree).encode())
        return
    with pytest.raises(FormatError, match=words):
        parse_manifest(json.dumps(tree).encode())


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../b", ".x", "a/.b", "a//b", "a/", "", "a\\b", "a\0b", "x" * 101, "a/" * 8 + "b", "C:x"]
)
def test_no_name_leads_out_of_the_folder(written: Path, name: str, tmp_path: Path) -> None:
    tree = json.loads(read_manifest_bytes(written))
    tree["part"]["files"][3]["name"] = name
    with pytest.raises(FormatError):
        parse_manifest(json.dumps(tree).encode())
    with PackageWriter(tmp_path / "p") as writer, pytest.raises(FormatError):
        writer.add_part_file(name, 1, [b"x"])
    assert not (tmp_path / "p").exists()


def test_one_format_is_not_read_as_another(written: Path, tmp_path: Path) -> None:
    for path, version in ((written, 1), (write_sample(tmp_path / "m"), 3)):
        tree = json.loads(read_manifest_bytes(path)) | {"format_version": version}
        with pytest.raises(FormatError):
            parse_manifest(json.dumps(tree).encode())


def test_a_part_may_be_replaced_by_its_next_version(tmp_path: Path) -> None:
    path = write_part(tmp_path / "ears")
    write_part(path, replace(part_of_kind(), licence="Apache-2.0"), FILES | {"config.json": b"[]"})
    part = read_manifest(path).part
    assert part is not None
    assert part.licence == "Apache-2.0"
    assert verify_package(path, full=True).num_chunks == 5
    assert len(list((path / "chunks").iterdir())) == 5


class Side:
    def __init__(self, path: Path) -> None:
        self.package = Package.open(path)
        self.manifest, self.chunk = self.package.manifest, self.package.chunk


def test_what_changed_in_a_file_travels_as_a_difference(tmp_path: Path) -> None:
    pytest.importorskip("zstandard")
    old = {"model.bin": bytes(range(250)) * 4, "tokens.txt": b"a b c " * 50}
    new = {"model.bin": old["model.bin"], "tokens.txt": b"a b c " * 49 + b"a b d ", "more.txt": b"more"}
    sides = Side(write_part(tmp_path / "old", files=old)), Side(write_part(tmp_path / "new", files=new))
    changed, added = (chunk.sha256 for chunk in sides[1].manifest.chunks[1:])
    delta = make_chunk_delta(*sides, changed)
    assert delta is not None
    assert len(delta) < len(new["tokens.txt"])
    assert make_chunk_delta(*sides, added) is None


def test_a_part_keeps_no_file_list_of_the_caller(tmp_path: Path) -> None:
    part = SpeechPart("voice", "piper", ("en",), "MIT", "a test", part_of_kind().files)
    manifest = read_manifest(write_part(tmp_path / "mouth", part))
    assert manifest.part is not None
    assert len(manifest.part.files) == len(FILES)
