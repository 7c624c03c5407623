"""The NDK's thermal functions, as a small library has them that is compiled here in place of Android's."""

import ctypes
import gc
import shutil
import subprocess
from pathlib import Path

import pytest

from pocketseek.device.android_thermal import AGAIN_S, EVERY_S, KEPT_S, NOTHING, TRIES, AndroidThermal, ThermalTold

COMPILER = shutil.which("cc")
MANAGER = """
static int manager, num_managers, num_asked, status = 1, forecast = -1;
static float headroom = 0.75f;
void *AThermal_acquireManager(void) { num_managers++; return &manager; }
void AThermal_releaseManager(void *given) { num_managers -= given == &manager; }
void tell(int new_status, float new_headroom) { status = new_status; headroom = new_headroom; }
int managers(void) { return num_managers; }
int asked(void) { return num_asked; }
int forecast_seconds(void) { return forecast; }
"""
STATUS = "int AThermal_getCurrentThermalStatus(void *given) { return given == &manager ? status : -1; }\n"
HEADROOM = """
float AThermal_getThermalHeadroom(void *given, int seconds) {
    num_asked++;
    forecast = seconds;
    return given == &manager ? headroom : -1.0f;
}
"""


class Clock:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def compiled(folder: Path, source: str) -> Path:
    if COMPILER is None:
        pytest.skip("there is no C compiler")
    code, library = folder / "thermal.c", folder / "libandroid.so"
    code.write_text(source)
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", library, code], check=True)
    return library


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return compiled(tmp_path, MANAGER + STATUS + HEADROOM)


def tell(library: Path, status: int, headroom: float) -> None:
    ctypes.CDLL(str(library)).tell(status, ctypes.c_float(headroom))


def test_status_and_headroom_are_those_of_now(library: Path) -> None:
    assert AndroidThermal(library, clock=Clock()).read() == ThermalTold(1, 0.75)
    assert ctypes.CDLL(str(library)).forecast_seconds() == 0


def test_it_is_asked_every_ten_seconds_and_tells_the_age_in_between(library: Path) -> None:
    clock = Clock()
    thermal = AndroidThermal(library, clock=clock)
    thermal.read()
    tell(library, 2, 0.875)
    clock.now_s += EVERY_S - 1
    assert thermal.read() == ThermalTold(1, 0.75, EVERY_S - 1)
    clock.now_s += 1
    assert thermal.read() == ThermalTold(2, 0.875)
    assert ctypes.CDLL(str(library)).asked() == 2


@pytest.mark.parametrize("nothing", [float("nan"), float("inf"), -0.5])
def test_what_is_no_headroom_is_none_and_what_was_before_is_told_for_a_while(library: Path, nothing: float) -> None:
    clock = Clock()
    thermal = AndroidThermal(library, clock=clock)
    thermal.read()
    tell(library, -1, nothing)
    clock.now_s += EVERY_S
    assert thermal.read() == ThermalTold(None, 0.75, EVERY_S)
    clock.now_s += KEPT_S
    assert thermal.read() == ThermalTold(None, None)


def test_a_first_headroom_that_is_refused_is_asked_for_again_soon_and_then_given_up(library: Path) -> None:
    clock = Clock()
    tell(library, 1, float("nan"))
    thermal = AndroidThermal(library, clock=clock)
    settled = []
    for _ in range(TRIES):
        settled.append(thermal.read().is_settled)
        clock.now_s += AGAIN_S
    assert settled == [False, False, True]
    assert thermal.read() == ThermalTold(1)
    assert ctypes.CDLL(str(library)).asked() == TRIES
    tell(library, 1, 0.5)
    clock.now_s += EVERY_S - AGAIN_S
    assert thermal.read() == ThermalTold(1, 0.5)


def test_before_android_12_there_is_a_status_and_no_headroom(tmp_path: Path) -> None:
    assert AndroidThermal(compiled(tmp_path, MANAGER + STATUS), clock=Clock()).read() == ThermalTold(1, None)


@pytest.mark.parametrize("source", ["int nothing;", "void *AThermal_acquireManager(void) { return 0; }"])
def test_before_android_11_or_without_a_manager_nothing_is_known(tmp_path: Path, source: str) -> None:
    assert AndroidThermal(compiled(tmp_path, source), clock=Clock()).read() == NOTHING


@pytest.mark.parametrize("content", [None, b"", b"\x7fELF, but of another machine"])
def test_a_library_that_is_not_there_or_cannot_be_opened_is_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "libandroid.so"
    if content is not None:
        path.write_bytes(content)
    assert AndroidThermal(path, clock=Clock()).read() == NOTHING


def test_elsewhere_than_on_android_no_library_is_looked_for() -> None:
    assert AndroidThermal(clock=Clock()).read() == NOTHING


def test_the_manager_is_released(library: Path) -> None:
    opened = ctypes.CDLL(str(library))
    thermal = AndroidThermal(library, clock=Clock())
    thermal.read()
    assert opened.managers() == 1
    del thermal
    gc.collect()
    assert opened.managers() == 0
