from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from package.samples import TINY, write_sample

from pocketseek.errors import FormatError, NotFoundError
from pocketseek.package.manifest import (
    FileEntry,
    JsonValue,
    Manifest,
    parse_manifest,
    read_manifest,
    read_manifest_bytes,
    render_manifest,
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(write_sample(tmp_path_factory.mktemp("manifest") / "m"))


FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FREE = st.dictionaries(st.text(max_size=5), JSON, max_size=3)
FILES = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True),
    st.builds(FileEntry, st.from_regex(r"[0-9a-f]{64}", fullmatch=True), st.just(7)),
    max_size=3,
)


@settings(deadline=None, max_examples=50)
@given(
    recipe=FREE, quality=FREE, provenance=FREE, files=FILES, name=st.sampled_from(["a", "R1-Distill.q4_0", "9" * 100])
)
def test_parsing_what_was_rendered_gives_the_same_manifest(
    sample: Manifest,
    recipe: dict[str, JsonValue],
    quality: dict[str, JsonValue],
    provenance: dict[str, JsonValue],
    files: dict[str, FileEntry],
    name: str,
) -> None:
    manifest = replace(sample, recipe=recipe, quality=quality, provenance=provenance, files=files, name=name)
    data = render_manifest(manifest)
    assert parse_manifest(data) == manifest
    assert render_manifest(parse_manifest(data)) == data


def test_the_rendered_form_is_canonical(sample: Manifest) -> None:
    manifest = replace(sample, recipe={"b": (1, 2), "a": "ü"})
    data = render_manifest(manifest)
    assert data.isascii()
    assert data.endswith(b"}\n")
    assert data.count(b"\n") == 1
    assert b": " not in data
    assert b'"recipe":{"a":"\\u00fc","b":[1,2]}' in data
    assert json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode() + b"\n" == data


def test_any_layout_of_the_json_is_read(sample: Manifest) -> None:
    data = json.dumps(json.loads(render_manifest(sample)), indent=3).encode()
    assert parse_manifest(data) == sample


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_a_number_is_not_rendered(sample: Manifest, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        render_manifest(replace(sample, quality={"error": value}))


def test_sums_count_equal_files_once(sample: Manifest) -> None:
    twin = FileEntry("0" * 64, 10)
    manifest = replace(sample, files={"a": twin, "b": twin})
    assert manifest.num_bytes == sum(chunk.num_bytes for chunk in sample.chunks) + 10
    assert manifest.num_parameters == sum(
        shape[0] * (shape[1] if len(shape) == 2 else 1) for shape in (tensor.shape for tensor in sample.tensors)
    )


def test_of_a_dense_model_a_token_uses_all_but_the_other_rows_of_an_embedding(sample: Manifest) -> None:
    embeddings = [math.prod(tensor.shape) for tensor in sample.tensors if tensor.name == "embed.weight"]
    unused = sum(embeddings) - len(embeddings) * sample.model.hidden_size
    assert sample.num_active_parameters == sample.num_parameters - unused


def at(tree: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def all_paths(tree: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Paths to everything in the tree below the top, except inside the free parts."""
    keys: list[str | int] = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    paths: list[tuple[str | int, ...]] = []
    for key in keys:
        paths.append((*path, key))
        if isinstance(tree[key], dict | list) and key not in ("recipe", "quality", "provenance"):
            paths += all_paths(tree[key], (*path, key))
    return paths


HOSTILE_VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**62,
    1.5,
    "",
    "\ud800",
    "../../etc/passwd",
    "a\nb",
    [],
    {},
    [[]],
    {"sha256": 1},
]


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_a_mutated_manifest_is_refused_in_one_line_or_is_consistent(sample: Manifest, data: st.DataObject) -> None:
    tree = json.loads(render_manifest(sample))
    for _ in range(data.draw(st.integers(1, 3))):
        paths = all_paths(tree)
        *parent, key = data.draw(st.sampled_from(paths))
        holder = at(tree, tuple(parent))
        action = data.draw(st.sampled_from(["set", "delete", "copy", "add"]))
        if action == "set":
            holder[key] = data.draw(st.sampled_from(HOSTILE_VALUES))
        elif action == "delete":
            del holder[key]
        elif action == "copy":
            holder[key] = copy.deepcopy(at(tree, data.draw(st.sampled_from(paths))))
        elif isinstance(holder[key], int) and not isinstance(holder[key], bool):
            holder[key] += data.draw(st.sampled_from([-16384, -64, -1, 1, 64, 16384]))
    outcome = parsed_or_line(json.dumps(tree).encode())
    if isinstance(outcome, Manifest):
        assert parse_manifest(render_manifest(outcome)) == outcome
        assert_inside_and_apart(outcome)
    else:
        assert len(outcome.splitlines()) == 1
        assert outcome.isprintable()
        assert len(outcome) < 500


@settings(deadline=None, max_examples=200)
@given(position=st.integers(0, 10**6), junk=st.binary(max_size=4), cut=st.booleans())
def test_flipped_and_missing_bytes_are_refused_in_one_line_or_harmless(
    sample: Manifest, position: int, junk: bytes, cut: bool
) -> None:
    data = render_manifest(sample)
    position %= len(data)
    outcome = parsed_or_line(data[:position] + junk + (b"" if cut else data[position + 1 :]))
    if isinstance(outcome, Manifest):
        assert_inside_and_apart(outcome)
    else:
        assert len(outcome.splitlines()) == 1


def parsed_or_line(data: bytes) -> Manifest | str:
    try:
        return parse_manifest(data)
    except FormatError as error:
        return str(error)


def assert_inside_and_apart(manifest: Manifest) -> None:
    """What a reader relies on, checked the slow way: byte ranges of tensors lie in their chunk and do not overlap."""
    taken: dict[int, list[tuple[int, int]]] = {}
    for tensor in manifest.tensors:
        for extent in tensor.extents:
            stop = extent.offset + extent.num_bytes
            assert stop <= manifest.chunks[extent.chunk].num_bytes <= 100_000_000
            assert manifest.chunks[extent.chunk].stage == tensor.stage
            assert all(stop <= first or last <= extent.offset for first, last in taken.get(extent.chunk, []))
            taken.setdefault(extent.chunk, []).append((extent.offset, stop))


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree.update(magic="PK"), "no 'pocketseek-package' magic"),
        (lambda tree: tree.update(format_version=9), "newer than this program; update pocketseek"),
        (lambda tree: tree.update(format_version=True), "format_version"),
        (lambda tree: tree.pop("model"), "lacks 'model'"),
        (lambda tree: tree.update(extra=1), "unknown field 'extra'"),
        (lambda tree: tree.update(name="../x"), "name"),
        (lambda tree: tree.update(files={"../x": {"sha256": "0" * 64, "num_bytes": 1}}), "files"),
        (lambda tree: tree.update(files={"x": {"sha256": "0" * 63, "num_bytes": 1}}), "sha256"),
        (lambda tree: tree.update(files={"x": {"sha256": "0" * 64, "num_bytes": 2**40}}), "num_bytes"),
        (
            lambda tree: tree.update(files={n: {"sha256": "0" * 64, "num_bytes": i} for i, n in enumerate("ab")}),
            "another size",
        ),
        (lambda tree: tree["chunks"][0].update(sha256="A" * 64), "sha256"),
        (lambda tree: tree["chunks"][0].update(sha256="../" + "0" * 61), "sha256"),
        (lambda tree: tree["chunks"][0].update(num_bytes=100_000_001), "num_bytes"),
        (lambda tree: tree["chunks"][0].update(segments=["0" * 63]), "segments"),
        (lambda tree: tree["chunks"][0].update(segments=[None]), "segments"),
        (lambda tree: tree["tensors"][0].update(shape=[8.0]), "shape"),
        (lambda tree: tree["tensors"][0].update(name="rope"), "name"),
        (lambda tree: tree["recipe"].update(deep=nested(40)), "nested deeper"),
    ],
)
def test_each_rule_of_the_fields_is_enforced(sample: Manifest, change: Change, words: str) -> None:
    tree = json.loads(render_manifest(sample))
    change(tree)
    with pytest.raises(FormatError, match=words):
        parse_manifest(json.dumps(tree).encode())


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


def test_reading_tells_a_missing_package_from_what_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        read_manifest(tmp_path / "nothing")
    with pytest.raises(FormatError, match="not a pocketseek package"):
        read_manifest(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FormatError, match="not a pocketseek package"):
        read_manifest(tmp_path / "file")
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(FormatError, match="not a plain file"):
        read_manifest(tmp_path)


def test_a_manifest_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(FormatError, match="too large"):
        read_manifest_bytes(tmp_path)


def test_errors_name_the_package(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b"{}")
    with pytest.raises(FormatError, match=str(tmp_path)):
        read_manifest(tmp_path)


def test_the_sample_is_of_the_tiny_model(sample: Manifest) -> None:
    assert sample.model == TINY
