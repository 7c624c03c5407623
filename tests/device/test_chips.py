"""The chip table is whole, sourced and found by what devices report."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.device import chips
from pocketseek.device.chip_fields import TableError
from pocketseek.device.chips import find_chip, known_chips, parse_chips
from pocketseek.device.known import Known

TABLE = json.loads((Path(chips.__file__).parent / "chips.json").read_text("utf-8"))


def find(*names: str, hz: float | None = None) -> str | None:
    found = find_chip([Known(name, "test") for name in names], hz)
    return found.value.id if found else None


def test_the_table_holds_the_chips_of_these_years() -> None:
    years = {chip.year for chip in known_chips()}
    assert len(known_chips()) >= 45
    assert set(range(2019, 2027)) <= years


def test_every_chip_has_sources_cores_and_names() -> None:
    for chip in known_chips():
        assert chip.source
        assert chip.names
        assert chip.clusters
        assert sum(cluster.num_cores for cluster in chip.clusters) in range(4, 17), chip.id


def test_bandwidths_are_those_of_memory_that_exists() -> None:
    known = [chip.memory_bandwidth_bytes_per_s for chip in known_chips() if chip.memory_bandwidth_bytes_per_s]
    assert len(known) >= 45
    assert min(known) > 10e9
    assert max(known) < 90e9


def test_bandwidth_is_width_times_rate_and_unknown_without_both() -> None:
    table = json.loads(json.dumps(TABLE))
    row = table["chips"][0]
    row |= {"memory_bus_bits": 32, "memory_data_rate_mt_per_s": 4000}
    assert parse_chips(json.dumps(table).encode())[0].memory_bandwidth_bytes_per_s == 16e9
    row["memory_bus_bits"] = None
    assert parse_chips(json.dumps(table).encode())[0].memory_bandwidth_bytes_per_s is None


@pytest.mark.parametrize(
    ("name", "chip"),
    [
        ("SM8650", "SM8650"),
        ("SM8750", "SM8750"),
        ("pineapple", "SM8650"),
        ("MT6989Z/CZA", "MT6989"),
        ("MT6991", "MT6991"),
        ("kirin9000s", "kirin9000s"),
        ("Tensor G3", "Tensor G3"),
        ("gs101", "Tensor"),
        ("s5e9945", "s5e9945"),
        ("T616", "T616"),
        ("T8130", "T8130"),
        ("Qualcomm Technologies, Inc SM8650", "SM8650"),
    ],
)
def test_a_chip_is_found_by_what_devices_report(name: str, chip: str) -> None:
    assert find(name) == chip


def test_a_name_that_says_nothing_leaves_it_to_the_next() -> None:
    assert find("qcom", "sun") == "SM8750"
    assert find("qcom", "") is None


@pytest.mark.parametrize(
    ("hz", "chip"), [(2.9952e9, "SM8450"), (3.1872e9, "SM8475"), (2.9184e9, "SM7475"), (2.0e9, None), (None, None)]
)
def test_a_shared_codename_is_told_apart_by_the_highest_frequency(hz: float | None, chip: str | None) -> None:
    assert find("taro", hz=hz) == chip


def test_a_number_that_two_bins_share_is_the_plain_chip_where_no_frequency_decides() -> None:
    assert find("SM8550") == "SM8550"
    assert find("SM8550", hz=1.0e9) == "SM8550"
    assert find("SM8550", hz=3.36e9) == "SM8550-AC"


def test_two_chips_with_one_number_are_told_apart_by_the_clock() -> None:
    assert find("MT6899", hz=3.4e9) == "MT6899-8500"
    assert find("MT6899", hz=3.25e9) == "MT6899"
    assert find("MT6899") == "MT6899"


def test_addresses_are_those_of_the_web_and_stand_in_the_source() -> None:
    assert all(address.startswith(("https://", "http://")) for address in TABLE["addresses"].values())
    (chip,) = (chip for chip in known_chips() if chip.id == "MT6899-8500")
    assert "https://www.lowyat.net/2026/378715/" in chip.source


def test_where_it_was_found_is_said() -> None:
    found = find_chip([Known("SM8650", "getprop ro.soc.model")])
    assert found is not None
    assert found.source == "chip table: SM8650 (by getprop ro.soc.model)"


def damaged(change: Callable[[dict], object]) -> bytes:
    table = json.loads(json.dumps(TABLE))
    change(table)
    return json.dumps(table).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.update(format=2),
        lambda table: table.pop("sources"),
        lambda table: table.pop("addresses"),
        lambda table: table["addresses"].update(nobody="https://example.org"),
        lambda table: table.update(more=1),
        lambda table: table.update(chips=[]),
        lambda table: table["chips"].append(table["chips"][0]),
        lambda table: table["chips"][0].update(year="2024"),
        lambda table: table["chips"][0].update(year=True),
        lambda table: table["chips"][0].update(names=["Sm8650"]),
        lambda table: table["chips"][0].update(names=[]),
        lambda table: table["chips"][0].update(sources=["nobody"]),
        lambda table: table["chips"][0].update(execution_provider="magic"),
        lambda table: table["chips"][0].pop("gpu"),
        lambda table: table["chips"][0]["clusters"][0].update(num_cores=0),
        lambda table: table["chips"][0].update(clusters=[3]),
        lambda table: table["chips"][0].update(memory_bus_bits=64.0),
    ],
)
def test_a_table_that_is_not_as_it_should_be_is_refused(change: Callable[[dict], object]) -> None:
    with pytest.raises(TableError, match=r"chip table|SM8850"):
        parse_chips(damaged(change))


@given(st.binary(max_size=60))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(TableError):
        parse_chips(data)


@given(st.text(max_size=30))
def test_no_name_makes_the_search_fail(name: str) -> None:
    find(name)
