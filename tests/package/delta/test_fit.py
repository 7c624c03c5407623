"""A delta makes and takes rows of tensors as the two manifests have them, or it is refused before it is unpacked."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from package.samples import write_sample
from package.versions import write_new, write_old

from pocketseek.errors import FormatError
from pocketseek.package.delta.apply import apply_open_delta
from pocketseek.package.delta.delta_file import DeltaHeader, Part, read_header
from pocketseek.package.delta.fit import DeltaFit
from pocketseek.package.delta.make import make_chunk_delta
from pocketseek.package.reader import Package


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Package, Package]]:
    folder = tmp_path_factory.mktemp("versions")
    with Package.open(write_old(folder / "old")) as old, Package.open(write_new(folder / "new")) as new:
        yield old, new


def headers(old: Package, new: Package) -> list[DeltaHeader]:
    known = {chunk.sha256 for chunk in old.manifest.chunks}
    wanted = [chunk.sha256 for chunk in new.manifest.unique_chunks() if chunk.sha256 not in known]
    deltas = [delta for sha256 in wanted if (delta := make_chunk_delta(old, new, sha256)) is not None]
    return [read_header(io.BytesIO(delta), len(delta)) for delta in deltas]


def one_with_tiles(versions: tuple[Package, Package]) -> tuple[DeltaHeader, int]:
    """A header, and which of its parts are rows told by older ones."""
    for header in headers(*versions):
        for index, part in enumerate(header.parts):
            if part.kind == "tiles" and part.base is not None:
                return header, index
    raise AssertionError("there is none")


def with_part(header: DeltaHeader, index: int, part: Part) -> DeltaHeader:
    return replace(header, parts=(*header.parts[:index], part, *header.parts[index + 1 :]))


def test_what_is_made_for_two_versions_fits_them(versions: tuple[Package, Package]) -> None:
    found = headers(*versions)
    assert {"tiles", "vector"} <= {part.kind for header in found for part in header.parts}
    for header in found:
        DeltaFit(versions[0].manifest, versions[1].manifest).check(header)


@pytest.mark.parametrize(("old_format", "new_format"), [("q8s", "q4p"), ("q4a", "q6s"), ("q4s", "f16")])
def test_so_it_does_where_formats_and_cuts_differ(old_format: str, new_format: str, tmp_path: Path) -> None:
    old_dir = write_sample(tmp_path / "old", matrix_format=old_format, max_chunk_bytes=30_000)
    new_dir = write_sample(tmp_path / "new", matrix_format=new_format, seed=2)
    with Package.open(old_dir) as old, Package.open(new_dir) as new:
        found = headers(old, new)
        assert found
        for header in found:
            DeltaFit(old.manifest, new.manifest).check(header)


@pytest.mark.parametrize(
    "change", [{"cols": 32}, {"format": "q6s"}, {"old_format": "q4s"}, {"offset": 64}, {"kind": "vector"}]
)
def test_rows_of_another_format_width_or_place_are_refused(
    versions: tuple[Package, Package], change: dict[str, object]
) -> None:
    header, index = one_with_tiles(versions)
    part = header.parts[index]
    if "offset" in change:
        change = {"offset": part.offset + 64}  # aligned, and in the midst of a row
    lying = with_part(header, index, replace(part, **change))  # type: ignore[arg-type]
    fit = DeltaFit(versions[0].manifest, versions[1].manifest)
    with pytest.raises(FormatError, match="the manifest has no") as caught:
        fit.check(lying)
    assert "\n" not in str(caught.value)


def test_rows_in_a_file_that_is_no_chunk_are_refused(versions: tuple[Package, Package]) -> None:
    header, _ = one_with_tiles(versions)
    text = next(iter(versions[1].manifest.files.values()))
    lying = replace(header, result=replace(header.result, sha256=text.sha256))
    with pytest.raises(FormatError, match="the manifest has no"):
        DeltaFit(versions[0].manifest, versions[1].manifest).check(lying)


def test_it_is_asked_before_anything_is_read_or_written(versions: tuple[Package, Package]) -> None:
    old, new = versions
    chunk = next(chunk for chunk in new.manifest.chunks if chunk.sha256 == headers(old, new)[0].result.sha256)
    delta = make_chunk_delta(old, new, chunk.sha256)
    assert delta is not None
    touched: list[object] = []

    def refuse(header: DeltaHeader) -> None:
        raise FormatError("not such a one; take another")

    def read_base(*asked: object) -> bytes:
        touched.append(asked)
        return b""

    expected = headers(old, new)[0].result
    with pytest.raises(FormatError, match="not such a one"):
        apply_open_delta(io.BytesIO(delta), len(delta), refuse, read_base, touched.append, expected)
    assert touched == []
