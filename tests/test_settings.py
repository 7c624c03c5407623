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


def test_names_may_be_in_capital_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_KERNELS", "AVX2")
    monkeypatch.setenv("POCKETSEEK_KV", "Q8")
    assert read_settings().kernels == "avx2"
    assert read_settings().kv == "q8"
