"""The environment: what is empty is unset, what is impossible is said."""

import pytest

from pocketseek.errors import UsageError
from pocketseek.settings import read_settings


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POCKETSEEK_THREADS", "POCKETSEEK_KERNELS", "POCKETSEEK_KV"):
        monkeypatch.setenv(name, "")
    assert read_settings().num_threads is None
    assert read_settings().kernels is None
    assert read_settings().kv is None


@pytest.mark.parametrize("value", ["0", "257", "-1", "1.5", "many", "9" * 5000])
def test_an_impossible_number_of_threads_is_refused_or_collected(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("POCKETSEEK_THREADS", value)
    with pytest.raises(UsageError, match="1 to 256"):
        read_settings()
    complaints: list[str] = []
    assert read_settings(complaints).num_threads is None
    assert len(complaints) == 1


@pytest.mark.parametrize(("text", "limit_c"), [("45", 45.0), ("43.5", 43.5), ("0", 0.0), ("OFF", 0.0), ("", None)])
def test_the_temperature_limit_is_degrees_or_off(
    monkeypatch: pytest.MonkeyPatch, text: str, limit_c: float | None
) -> None:
    monkeypatch.setenv("POCKETSEEK_TEMPERATURE_LIMIT", text)
    assert read_settings().temperature_limit_c == limit_c


@pytest.mark.parametrize(
    ("name", "value"), [("TEMPERATURE_LIMIT", "warm"), ("TEMPERATURE_LIMIT", "nan"), ("POWER", "much")]
)
def test_an_impossible_limit_or_power_is_refused_or_collected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"POCKETSEEK_{name}", value)
    with pytest.raises(UsageError, match=f"POCKETSEEK_{name}"):
        read_settings()
    complaints: list[str] = []
    assert read_settings(complaints).temperature_limit_c is None
    assert len(complaints) == 1


def test_screen_off_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not read_settings().screen_off
    monkeypatch.setenv("POCKETSEEK_POWER", "screen-off")
    assert read_settings().screen_off


def test_names_may_be_in_capital_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_KERNELS", "AVX2")
    monkeypatch.setenv("POCKETSEEK_KV", "Q8")
    assert read_settings().kernels == "avx2"
    assert read_settings().kv == "q8"
