"""For all tests: nothing depends on time, and each has a data directory of its own."""

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from line_of_models import convert_line

# A shell that starts tests in the background has them ignore Ctrl-C and hang-ups, and so would every program that they
# start: those who wait for one to end by that signal would wait for ever.
for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

# Times depend on what else the machine does: no test fails by the clock.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path / "own-home"))


@pytest.fixture(scope="session")
def line_of_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of `convert_line`; not to be changed."""
    return convert_line(tmp_path_factory.mktemp("line"))
