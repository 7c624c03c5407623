"""How the program ends: one line and a code for every error, whatever raised it."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from pocketseek import __version__, errors
from pocketseek.cli.main import main
from pocketseek.cli.start import start_cmd
from pocketseek.errors import PocketseekError

COMMANDS = (
    *("chat", "generate", "convert", "models", "inspect", "verify", "remove"),
    *("eval", "bench", "device", "doctor", "doc"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run: Callable, command: str) -> None:
    ended = run(command, "--help")
    assert ended.code == 0
    assert "Usage: pocketseek" in ended.out


def test_help_lists_every_command(run: Callable) -> None:
    shown = run("--help").out
    assert all(command in shown for command in COMMANDS)


OPENING = {
    "POCKETSEEK_PASSPHRASE": (
        *(
            "seal",
            "unseal",
            "passwd",
            "chat",
            "generate",
            "serve",
            "verify",
            "pull",
            "update",
            "diff",
            "keygen",
            "sign",
        ),
        *("eval", "bench", "doc ask", "doc list", "voice listen", "voice bench"),
    ),
    "POCKETSEEK_NEW_PASSPHRASE": ("passwd",),
    "POCKETSEEK_DATA_KEY": ("unseal", "passwd", "chat", "serve", "doc ask", "doc list", "doc jobs"),
}


@pytest.mark.parametrize("variable", OPENING)
def test_the_help_of_a_command_names_what_it_takes_from_the_environment(run: Callable, variable: str) -> None:
    silent = [command for command in OPENING[variable] if variable not in run(*command.split(), "--help").out]
    assert silent == []


@pytest.mark.parametrize("command", ["seal", "unseal"])
def test_what_a_key_option_is_for_is_said_of_models_and_data(run: Callable, command: str) -> None:
    assert "Of a sealed model" not in run(command, "--help").out


def test_version_is_printed(run: Callable) -> None:
    assert run("--version").out == f"pocketseek {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["generate"],
        ["generate", "tiny", "hi", "--temperature", "warm"],
        ["generate", "tiny", "hi", "--max-tokens", "1.5"],
        ["convert", "a", "--quant", "q3"],
        ["eval", "tiny"],
        ["inspect"],
        ["models", "too", "many"],
    ],
)
def test_wrong_usage_is_one_line_and_code_2(run: Callable, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.code == 2
    assert "--help" in ended.error


@pytest.mark.parametrize("group", ["doc", "token", "trust"])
def test_a_group_without_a_command_shows_its_help_and_no_empty_error(run: Callable, group: str) -> None:
    ended = run(group)
    assert ended.code == 2
    assert "Commands" in ended.out + ended.err
    assert "error" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["doc", "search"], "pocketseek doc search --help"),
        (["doc", "nonsense"], "pocketseek doc --help"),
        (["nonsense"], "pocketseek --help"),
        (["generate"], "pocketseek generate --help"),
    ],
)
def test_the_help_that_is_named_is_that_of_the_command_that_was_meant(
    run: Callable, arguments: list[str], remedy: str
) -> None:
    assert f"`{remedy}`" in run(*arguments).error


def test_wrong_usage_of_a_command_points_to_its_own_help(run: Callable) -> None:
    assert "`pocketseek convert --help`" in run("convert").error
    assert "`pocketseek --help`" in run("nonsense").error


@pytest.mark.parametrize("kind", PocketseekError.__subclasses__())
def test_every_error_is_one_line_with_its_code(
    run: Callable, monkeypatch: pytest.MonkeyPatch, kind: type[PocketseekError]
) -> None:
    def fail() -> None:
        raise kind("first\nsecond; do this")

    monkeypatch.setattr(start_cmd, "start", fail)
    ended = run()
    assert ended.code == kind.exit_code
    assert ended.error == "pocketseek: error: first second; do this\n"


def test_ctrl_c_ends_with_130_and_no_traceback(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(start_cmd, "start", interrupt)
    ended = run()
    assert (ended.code, ended.out, ended.err) == (130, "", "")


def test_a_mistake_of_ours_is_not_dressed_up_as_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr(start_cmd, "start", fail)
    with pytest.raises(RuntimeError, match="bug"):
        main([])


def test_impossible_environment_is_a_usage_error(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_THREADS", "many")
    assert run("models").code == errors.UsageError.exit_code


PROGRAM = "import sys; from pocketseek.cli.main import main; sys.exit(main())"


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "models", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate()
    assert err == b""
    assert process.returncode == 141


def test_starting_imports_nothing_heavy() -> None:
    """What keeps `pocketseek --help` fast."""
    heavy = "numpy tokenizers jinja2 prompt_toolkit rich.progress pocketseek.runtime.engine pocketseek.convert.pipeline"
    check = f"import sys, pocketseek.cli.main; sys.exit(str([m for m in {heavy.split()!r} if m in sys.modules] or ''))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_package_front_page_imports_nothing_heavy() -> None:
    check = (
        "import sys, pocketseek; sys.exit(str([m for m in sys.modules if m[:11] in ('numpy', 'pocketseek.')] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
