"""Passes of a usual shape are timed in each format; the arithmetic on two times gives what a layer costs."""

from __future__ import annotations

import numpy as np
import pytest

from pocketseek.errors import MemoryLimitError, NativeCoreError
from pocketseek.kernels import measure_pass
from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.measure_pass import MEASURED_FORMATS, _layer_s, _Timed, _weights, measure_passes

try:
    FASTEST = supported_sets()[-1]
except NativeCoreError:
    pytest.skip("there is no compiled core to measure", allow_module_level=True)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_pass, "_MOST_RUNS", 1)
    monkeypatch.setattr(measure_pass, "_BIG", measure_pass._config(128, 256, 2, 1, 64))


def test_every_format_gets_its_rates() -> None:
    found = measure_passes(FASTEST, 1, buffer_bytes=4 << 20)
    assert [one.format for one in found.formats] == list(MEASURED_FORMATS)
    assert all(one.read_bytes_per_s > 0 and one.multiply_adds_per_s > 0 for one in found.formats)
    assert found.layer_s >= 0


def test_a_buffer_that_is_too_small_is_taken_larger_and_used_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_pass, "_BIG", measure_pass._config(640, 2048, 10, 5, 64))
    (rate,) = measure_passes(FASTEST, 1, buffer_bytes=1, formats=("q8s",)).formats
    assert rate.read_bytes_per_s > 0


def test_two_times_tell_what_a_layer_costs_whatever_its_size() -> None:
    small, big = _Timed(30, 30 * 10**6, 30 * (4e-5 + 1e-4)), _Timed(8, 8 * 10**7, 8 * (4e-5 + 1e-3))
    assert _layer_s(small, big) == pytest.approx(4e-5)


def test_noise_makes_no_layer_cost_less_than_nothing_or_all_there_is() -> None:
    big = _Timed(8, 8 * 10**7, 0.08)
    assert _layer_s(_Timed(30, 30 * 10**6, 1e-9), big) == 0.0
    assert _layer_s(_Timed(30, 30 * 10**6, 100.0), big) == pytest.approx(0.005)


def test_all_activations_stay_finite() -> None:
    kernels = measure_pass._Passes(FASTEST, 1, _weights(4 << 20))
    run = kernels._runner(measure_pass._BIG, "q8s", 8, 4)
    run()
    hidden = next(
        cell.cell_contents
        for cell in run.__closure__ or ()
        if isinstance(cell.cell_contents, np.ndarray) and cell.cell_contents.ndim == 2
    )
    assert np.isfinite(hidden).all()


def test_memory_that_is_refused_is_one_clear_line() -> None:
    with pytest.raises(MemoryLimitError, match="to measure with are refused"):
        _weights(1 << 60)
