"""The environment: what is empty is unset, what is impossible is said."""

import pytest

from pocketseek.errors import UsageError
from pocketseek.settings import NetworkSettings, read_network_settings, read_settings


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


@pytest.mark.parametrize(("text", "days"), [("", 30.0), ("7", 7.0), ("0", 0.0), ("off", 0.0), ("0.5", 0.5)])
def test_chunks_are_checked_within_so_many_days(monkeypatch: pytest.MonkeyPatch, text: str, days: float) -> None:
    monkeypatch.setenv("POCKETSEEK_CHECK_DAYS", text)
    assert read_settings().check_days == days


@pytest.mark.parametrize("text", ["often", "-1", "nan", "1e9"])
def test_an_impossible_number_of_days_is_refused_or_collected(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("POCKETSEEK_CHECK_DAYS", text)
    with pytest.raises(UsageError, match="POCKETSEEK_CHECK_DAYS"):
        read_settings()
    complaints: list[str] = []
    assert read_settings(complaints).check_days == 30.0
    assert len(complaints) == 1


def test_the_network_is_read_in_small_letters_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert read_network_settings() == NetworkSettings()
    monkeypatch.setenv("HTTPS_PROXY", "http://big:1")
    assert read_network_settings().proxy_for("https://hub.test/") == "http://big:1"
    monkeypatch.setenv("https_proxy", "http://small:2")
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.test/")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    network = read_network_settings()
    assert network.proxy_for("https://hub.test/") == "http://small:2"
    assert network.hub == "https://mirror.test"
    assert "secret" not in repr(network)


@pytest.mark.parametrize("name", ["HF_ENDPOINT", "all_proxy"])
def test_an_address_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "socks5://user:secret@host")
    with pytest.raises(UsageError, match=name) as caught:
        read_network_settings()
    assert "secret" not in str(caught.value)
