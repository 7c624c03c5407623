"""A report survives being written and read; anything else is refused with one line."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_reports import bare_record, phone_record

from pocketseek.apps.report.record import SCHEMA, VERSION, Record
from pocketseek.apps.report.record_file import parse_record, read_record, record_json
from pocketseek.errors import FormatError, NotFoundError, PocketseekError, UnsupportedError


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(record_json(phone_record()))
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "record",
    [phone_record(), bare_record(), replace(bare_record(), cut_short=True, speed=None, power_gap="cut short")],
)
def test_what_is_written_is_read_again(record: Record) -> None:
    assert parse_record(record_json(record), "r.json") == record


def test_schema_and_version_are_in_the_file() -> None:
    document = json.loads(record_json(bare_record()))
    assert (document["schema"], document["version"]) == (SCHEMA, VERSION)


@pytest.mark.parametrize("version", [0, VERSION + 1, "1", None, True])
def test_another_version_is_refused_whatever_its_fields(version: object) -> None:
    data = changed(lambda document: document.update(version=version, more=1))
    with pytest.raises(UnsupportedError, match="measure again"):
        parse_record(data, "r.json")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"schema": "other", "version": 1}', b"\xff", b"[" * 9999])
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_record(data, "r.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("load_s"),
        lambda document: document.update(extra=1),
        lambda document: document.update(load_s="1"),
        lambda document: document.update(load_s=True),
        lambda document: document.update(cut_short=0),
        lambda document: document.update(power_gap="because"),
        lambda document: document.update(power_gap={}),
        lambda document: document.update(power_gap=[]),
        lambda document: document.update(device=None),
        lambda document: document.update(heat={}),
        lambda document: document.update(complaints="abc"),
        lambda document: document.update(created="x" * 1001),
        lambda document: document["model"].update(num_parameters=1.5),
        lambda document: document["model"].update(name="\ud800"),
        lambda document: document["sustained"]["samples"]["duty"].pop(),
        lambda document: document["sustained"]["samples"]["time_s"].reverse(),
        lambda document: [column.clear() for column in document["sustained"]["samples"].values()],
        lambda document: document["heat"][0].update(peak_c=None),
        lambda document: document.update(load_s=-5),
        lambda document: document.update(load_s=1e308),
        lambda document: document["speed"].update(decode_tokens_per_s=1e308),
        lambda document: document["conditions"].update(prompt_tokens=-1),
        lambda document: document["model"].update(package_bytes=-1),
        lambda document: document["sustained"]["samples"]["skin_c"].__setitem__(0, -300.0),
    ],
)
def test_a_changed_report_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(FormatError):
        parse_record(changed(change), "r.json")


def test_a_figure_that_nobody_can_have_measured_is_named_with_what_can_be() -> None:
    with pytest.raises(FormatError, match=r"load_s: -5 is nothing that was measured \(0 to 1e\+07 can be\)"):
        parse_record(changed(lambda document: document.update(load_s=-5)), "r.json")


def test_not_a_number_is_refused() -> None:
    with pytest.raises(FormatError):
        parse_record(record_json(bare_record()).replace(b'"load_s": 1.25', b'"load_s": NaN'), "r.json")


_VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), st.lists, max_leaves=4)


@given(st.sampled_from(sorted(json.loads(record_json(phone_record())))), _VALUES)
def test_a_field_of_any_kind_is_read_or_refused_in_our_own_words(name: str, value: object) -> None:
    with suppress(PocketseekError):
        record = parse_record(changed(lambda document: document.update({name: value})), "r.json")
        assert isinstance(record, Record)


def test_a_file_that_is_not_there_says_what_to_give(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(NotFoundError, match="--report"):
            read_record(path)
