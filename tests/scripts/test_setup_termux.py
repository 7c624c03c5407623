"""scripts/setup-termux in a fake Termux: what it installs, that it goes on where it was, what it says of failures."""

import os
import subprocess
from pathlib import Path

import pytest
from fake_termux import FAULTS, FakeTermux


@pytest.fixture
def termux(tmp_path: Path) -> FakeTermux:
    return FakeTermux(tmp_path)


def test_from_nothing_to_a_command(termux: FakeTermux) -> None:
    done = termux.run()
    assert done.code == 0, done.error
    calls = termux.calls()
    assert [call.split()[:2] for call in calls if call.startswith("pkg")][:2] == [
        ["pkg", "upgrade"],
        ["pkg", "install"],
    ]
    assert "wake-lock" in calls
    assert calls[-1] == "wake-unlock"
    tokenizer, libraries, core, *extras = termux.pip_calls()
    assert tokenizer.startswith("pip level=24 jobs=")
    assert "--no-deps tokenizers" in tokenizer
    assert "rich" in libraries
    assert "numpy" not in libraries
    assert "--no-deps -e " in core
    assert any("starlette" in call for call in extras)
    assert any("pypdfium2" in call for call in extras)
    command = termux.prefix / "bin" / "pocketseek"
    assert os.access(command, os.X_OK)
    assert f'exec "{termux.venv}/bin/pocketseek" "$@"' in command.read_text()
    assert "Ready" in done.error
    assert "Disable child process restrictions" in done.error
    assert "Unrestricted" in done.error
    assert "termux-setup-storage" in done.error


def test_a_second_run_repeats_nothing(termux: FakeTermux) -> None:
    termux.run()
    assert termux.run().code == 0
    assert [call for call in termux.calls() if call.startswith(("pkg", "venv", "pip"))] == []


def test_a_run_after_a_failure_goes_on(termux: FakeTermux) -> None:
    assert termux.run(faults=("pip-network",)).code == 1
    assert termux.run().code == 0
    assert not [call for call in termux.calls() if call.startswith(("pkg install python ", "venv"))]


def test_an_interruption_says_that_it_can_go_on_and_lets_the_phone_sleep(termux: FakeTermux) -> None:
    done = termux.run(faults=("pip-interrupted",))
    assert done.code == 130
    assert done.error.splitlines()[-1] == "interrupted; run this again to go on"
    assert termux.calls()[-1] == "wake-unlock"
    assert termux.run().code == 0


def test_another_python_gets_another_environment(termux: FakeTermux) -> None:
    termux.run()
    stale = termux.venv / "bin" / "python"
    stale.write_text(stale.read_text().replace('cat "$HERE/python-version"', "echo Python 3.13.1"))
    assert termux.run().code == 0
    assert "venv" in termux.calls()


def test_the_compiler_is_told_the_level_when_its_headers_promise_too_much(termux: FakeTermux) -> None:
    assert termux.run("--with", "none", faults=("pip-clockwait",)).code == 0
    first, second, *_ = termux.pip_calls()
    assert "flags= " in first
    assert "flags=-D__ANDROID_API__=24 " in second


def test_an_extra_that_fails_is_named_and_the_rest_works(termux: FakeTermux) -> None:
    done = termux.run("--with", "constrain,doc", faults=("extra",))
    assert done.code == 0
    assert "Left out: constrain" in done.error
    assert any("pypdfium2" in call for call in termux.pip_calls())
    again = termux.run("--with", "constrain,doc")
    assert "Left out" not in again.error
    assert len(termux.pip_calls()) == 1


def test_onnxruntime_is_termuxs_and_reinstalled_when_it_does_not_load(termux: FakeTermux) -> None:
    done = termux.run("--with=voice", faults=("onnxruntime",))
    assert done.code == 0
    assert "Left out: voice" in done.error
    assert any(call.startswith("pkg reinstall") and "python-onnxruntime" in call for call in termux.calls())
    assert termux.run("--with=voice").code == 0
    assert any("sherpa-onnx" in call for call in termux.pip_calls())


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        ("pkg-space", "storage is full"),
        ("pkg-interrupted", "dpkg --configure -a"),
        ("pkg-lock", "another pkg or apt is running"),
        ("pkg-unknown", "termux-change-repo"),
        ("pkg-network", "termux-change-repo"),
        ("pkg-link", "pkg upgrade"),
        ("pkg-else", "all of it:"),
        ("venv-else", "virtual environment"),
        ("pip-killed", "Disable child process restrictions"),
        ("pip-network", "package index"),
        ("pip-space", "storage is full"),
        ("pip-rust", "--debian"),
        ("pip-else", "nobody has seen"),
        ("core", "compiled core does not load"),
    ],
)
def test_every_failure_is_explained(termux: FakeTermux, fault: str, remedy: str) -> None:
    assert fault in FAULTS
    english = termux.run(faults=(fault,))
    assert english.code == 1
    assert remedy in english.error
    assert [line for line in english.error.splitlines() if line.startswith("error: ")] == english.error.splitlines()[
        -1:
    ]
    assert not (termux.prefix / "bin" / "pocketseek").exists()
    chinese = termux.run(faults=(fault,), POCKETSEEK_LANG="zh")
    assert chinese.code == 1
    assert "错误：" in chinese.error


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("machine", "armv8l", "64-bit"),
        ("uid", "0", "as root"),
        ("free_kb", "900000", "900 MB are free"),
        ("properties", "ro.build.version.sdk=23\nro.build.version.release=6.0\n", "Android 6.0 is too old"),
    ],
)
def test_phones_that_cannot_do_it_are_told_why(termux: FakeTermux, name: str, value: str, said: str) -> None:
    termux.set(name, value)
    done = termux.run()
    assert done.code == 1
    assert said in done.error
    assert termux.calls() == []


def test_old_and_other_builds_of_termux_are_known(termux: FakeTermux) -> None:
    assert "too old" in termux.run(TERMUX_VERSION="0.101").error
    assert "too old" in termux.run(TERMUX_VERSION="0.117").error
    assert "Google Play" in termux.run("--check", TERMUX_VERSION="googleplay.2026.06.21").error


def test_elsewhere_it_says_what_to_use_instead(termux: FakeTermux) -> None:
    done = termux.run(PREFIX="/usr")
    assert (done.code, done.out) == (1, "")
    assert "scripts/demo" in done.error


def test_a_log_that_cannot_be_written_is_told_before_anything_is_done(termux: FakeTermux) -> None:
    (termux.home / "a file").touch()
    done = termux.run(TMPDIR=str(termux.home / "a file"))
    assert done.code == 1
    assert done.error.splitlines()[-1].startswith(f"error: {termux.home}/a file/pocketseek-setup.log cannot be written")
    assert termux.calls() == []


def test_check_changes_nothing(termux: FakeTermux) -> None:
    before = sorted(str(path) for path in termux.files.rglob("*"))
    assert termux.run("--check").code == 0
    after = sorted(str(path) for path in termux.files.rglob("*"))
    assert [path for path in after if not path.endswith(("faults", "calls", "setup.log"))] == [
        path for path in before if not path.endswith(("faults", "calls", "setup.log"))
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--fast",),
        ("--with", "everything"),
        ("--with",),
        ("--debian", "--wheel", "nowhere.whl"),
        ("--wheel", str(Path(__file__))),
    ],
)
def test_wrong_options_are_refused_before_anything_is_done(termux: FakeTermux, arguments: tuple[str, ...]) -> None:
    done = termux.run(*arguments)
    assert done.code == 2
    assert termux.calls() == []


def test_the_phone_decides_the_language(termux: FakeTermux) -> None:
    termux.set("properties", "ro.build.version.sdk=31\npersist.sys.locale=zh-Hans-CN\n")
    done = termux.run("--check")
    assert "没有发现问题" in done.error
    assert "max_phantom_processes" in done.error


@pytest.mark.parametrize(
    ("sdk", "has"),
    [("30", ""), ("31", "max_phantom"), ("33", "settings_enable_monitor"), ("34", "Developer"), ("", "Developer")],
)
def test_the_advice_on_phantom_processes_fits_the_android(termux: FakeTermux, sdk: str, has: str) -> None:
    termux.set("properties", f"ro.build.version.sdk={sdk}\n")
    said = termux.run("--check").error
    assert ("signal 9" in said) is bool(has)
    assert has in said


def test_entries_for_boot_and_widget_are_programs_that_parse(termux: FakeTermux) -> None:
    assert termux.run("--with=none", "--boot", "--widget").code == 0
    entries = [
        path
        for folder in (".termux/boot", ".shortcuts")
        for path in (termux.home / folder).rglob("*")
        if path.is_file()
    ]
    assert sorted(entry.name for entry in entries) == [
        "pocketseek",
        "pocketseek chat",
        "pocketseek page",
        "pocketseek stop",
    ]
    for entry in entries:
        assert os.access(entry, os.X_OK)
        subprocess.run(["sh", "-n", str(entry)], check=True)
    assert "termux-wake-lock" in (termux.home / ".termux/boot/pocketseek").read_text()


@pytest.mark.parametrize(
    ("way", "program"), [((), "venv/bin/pocketseek"), (("--debian",), "/opt/pocketseek/bin/pocketseek")]
)
def test_the_entries_start_and_stop_the_server(termux: FakeTermux, way: tuple[str, ...], program: str) -> None:
    assert termux.run("--with=none", "--widget", "--boot", *way).code == 0
    page, stop, boot = (
        termux.home / entry
        for entry in (".shortcuts/tasks/pocketseek page", ".shortcuts/tasks/pocketseek stop", ".termux/boot/pocketseek")
    )
    termux.fake("pkill", 'note "pkill $*"')
    termux.fake("curl", "note curl; [ -e $HERE/serving ]")  # nobody serves, until the server is started
    termux.fake("pocketseek", 'note "pocketseek $*"; : >$HERE/serving')
    termux.fake("termux-open-url", 'note "open $*"')
    assert termux.call(page)[-1] == "wake-unlock"
    assert "pocketseek serve --yes" in termux.calls()
    assert "open http://127.0.0.1:8080/" in termux.calls()
    again = termux.call(page)  # somebody serves, so nothing is started and nothing let sleep
    assert again == ["curl", "open http://127.0.0.1:8080/"]
    (called, unlocked) = termux.call(stop)
    assert called.startswith("pkill -INT -f ")
    assert called.endswith(f"{program} serve")
    assert unlocked == "wake-unlock"
    assert termux.call(boot) == ["wake-lock", "pocketseek serve --yes", "wake-unlock"]


def test_a_program_of_that_name_is_not_overwritten(termux: FakeTermux) -> None:
    (termux.prefix / "bin" / "pocketseek").write_text("mine")
    done = termux.run("--with=none")
    assert done.code == 1
    assert "another program" in done.error
    assert (termux.prefix / "bin" / "pocketseek").read_text() == "mine"


def test_the_way_through_debian(termux: FakeTermux) -> None:
    done = termux.run("--debian", "--with", "serve")
    assert done.code == 0, done.error
    calls = termux.calls()
    assert any("proot-distro install debian:bookworm --name pocketseek" in call for call in calls)
    assert any("g++" in call for call in calls)
    assert not termux.pip_calls()
    assert "proot-distro login pocketseek" in (termux.prefix / "bin" / "pocketseek").read_text()
    termux.run("--debian", "--with", "serve")
    assert not [call for call in termux.calls() if "apt-get" in call or "install debian" in call]


def test_a_wheel_from_a_computer_needs_no_compiler(termux: FakeTermux, tmp_path: Path) -> None:
    wheel = tmp_path / "pocketseek-0.1.0-cp311-cp311-manylinux_2_34_aarch64.whl"
    wheel.write_bytes(b"wheel")
    assert termux.run("--debian", "--wheel", str(wheel)).code == 0
    installed = next(call for call in termux.calls() if f"{wheel}[serve,doc,pull,update]" in call)
    assert f" {wheel} {wheel}[" in installed
    assert '--force-reinstall --no-deps "$wheel"' in "\n".join(termux.calls())
    assert not any("g++" in call for call in termux.calls())


def test_a_newer_wheel_of_the_same_version_is_installed(termux: FakeTermux, tmp_path: Path) -> None:
    wheel = tmp_path / "pocketseek-0.1.0-cp311-cp311-linux_aarch64.whl"
    wheel.write_bytes(b"wheel")
    termux.run("--debian", "--wheel", str(wheel))
    termux.run("--debian", "--wheel", str(wheel))
    assert not [call for call in termux.calls() if str(wheel) in call]
    wheel.write_bytes(b"newer")
    termux.run("--debian", "--wheel", str(wheel))
    assert [call for call in termux.calls() if str(wheel) in call]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("debian-network", "Debian could not be fetched"),
        ("debian-old", "older than version 5"),
        ("debian-exists", "proot-distro remove pocketseek"),
        ("pkg-network", "cannot be reached"),
        ("pip-killed", "Android ended the compiler"),
    ],
)
def test_failures_of_the_way_through_debian(termux: FakeTermux, fault: str, said: str) -> None:
    done = termux.run("--debian", faults=(fault,))
    assert done.code == 1
    assert said in done.error
