"""Trace files: what was written is read, whole or not at all, and nothing else is taken for one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import routing_traces
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketseek.errors import FormatError, NotFoundError, PocketseekError, StorageError, UnsupportedError
from pocketseek.runtime.residency.routing_trace import TraceHeader, TracePass, read_trace, write_trace


def written(path: Path, header: TraceHeader, passes: list[TracePass]) -> Path:
    write_trace(path, header, passes)
    return path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return written(tmp_path / "a.trace", routing_traces.header(), routing_traces.passes(5, rows=2))


@pytest.mark.parametrize("num_experts", [16, 300])
def test_what_is_written_is_read(tmp_path: Path, num_experts: int) -> None:
    header = routing_traces.header(num_experts=num_experts)
    passes = [*routing_traces.passes(3), *routing_traces.passes(2, rows=70)]
    read_header, read_passes = read_trace(written(tmp_path / "a.trace", header, passes))
    assert read_header == header
    assert len(read_passes) == 5
    for one, again in zip(passes, read_passes, strict=True):
        np.testing.assert_array_equal(one.chosen, again.chosen)
        assert (one.answered, one.misses) == (again.answered, again.misses)
        assert again.compute_s == pytest.approx(one.compute_s)


def test_a_place_that_cannot_be_written_is_told_and_nothing_is_left_there(tmp_path: Path) -> None:
    (tmp_path / "a.trace").mkdir()
    for path in (tmp_path / "a.trace", tmp_path / "no" / "a.trace"):
        with pytest.raises(StorageError, match="choose another file"):
            write_trace(path, routing_traces.header(), routing_traces.passes(2))
    assert [one.name for one in tmp_path.iterdir()] == ["a.trace"]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="--trace"):
        read_trace(tmp_path / "no.trace")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"kind": "something else"}, "kind"),
        ({"format": True}, "format"),
        ({"layers": [2, 1]}, "ascending"),
        ({"layers": []}, "ascending"),
        ({"layers": ["a"]}, "whole number"),
        ({"num_experts": 0}, "num_experts"),
        ({"experts_per_token": 17}, "experts_per_token"),
        ({"slot_bytes": 0}, "slot_bytes"),
        ({"manifest_sha256": "x"}, "manifest_sha256"),
        ({"more": 1}, "more"),
        ({"layers": list(range(4096)), "num_experts": 65536}, "268435456 experts"),
    ],
)
def test_hostile_headers_are_refused_in_one_line(tmp_path: Path, changes: dict[str, object], problem: str) -> None:
    fields = {"format": 1, "kind": "pocketseek routing trace", **asdict(routing_traces.header()), **changes}
    path = tmp_path / "a.trace"
    path.write_bytes(json.dumps(fields).encode() + b"\n")
    with pytest.raises(FormatError, match=problem) as caught:
        read_trace(path)
    assert str(caught.value).endswith("; record it again")
    assert "\n" not in str(caught.value)


def test_a_newer_format_asks_for_an_update(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    path.write_bytes(b'{"kind": "pocketseek routing trace", "format": 2}\n')
    with pytest.raises(UnsupportedError, match="update pocketseek"):
        read_trace(path)


def test_every_cut_but_between_passes_is_told(trace: Path) -> None:
    data = trace.read_bytes()
    start = data.index(b"\n") + 1
    step = (len(data) - start) // 5
    for end in range(len(data)):
        trace.write_bytes(data[:end])
        if end >= start and (end - start) % step == 0:
            assert len(read_trace(trace)[1]) == (end - start) // step
        else:
            with pytest.raises(FormatError):
                read_trace(trace)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_changed_bytes_raise_one_error_or_none(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("changed") / "a.trace"
    whole = bytearray(written(path, routing_traces.header(), routing_traces.passes(3)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    message = ""
    try:
        header, passes = read_trace(path)
        assert all(one.chosen.min() >= 0 and one.chosen.max() < header.num_experts for one in passes)
    except PocketseekError as error:
        message = str(error)
    assert "\n" not in message


def test_a_wrong_number_of_rows_takes_no_memory(trace: Path) -> None:
    data = trace.read_bytes()
    start = data.index(b"\n") + 1
    trace.write_bytes(data[:start] + (65536).to_bytes(4, "little") + data[start + 4 :])
    with pytest.raises(FormatError, match="middle of pass 1"):
        read_trace(trace)
