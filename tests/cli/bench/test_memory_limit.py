"""`bench --memory` measures inside the limit, or says that nobody enforces it; a killed child is one clear line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.apps import memory_group
from pocketseek.apps.memory_group import unavailable
from pocketseek.cli.main import main
from pocketseek.errors import MemoryLimitError, NotFoundError, UsageError

SMALL = ("--prompt-tokens", "16", "--new-tokens", "4", "--repeats", "1")
REASON = unavailable()
needs_group = pytest.mark.skipif(REASON is not None, reason=f"no memory control group here: {REASON}")

Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bench(capfd: pytest.CaptureFixture[str]) -> Bench:
    """As `run`, but with what children write: (code, out, err)."""

    def bench(*arguments: object) -> tuple[int, str, str]:
        code = main(["bench", *map(str, arguments)])
        out, err = capfd.readouterr()
        return code, out, err

    return bench


@pytest.fixture
def no_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_group, "_own_groups", lambda: iter(()))


@needs_group
def test_the_limit_is_enforced_and_the_peak_reported(bench: Bench, tiny_package: Path) -> None:
    code, out, err = bench(tiny_package, *SMALL, "--memory", "400MB", "--kv", "q8", "--no-speculation", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["memory"]["limit_bytes"] == 400_000_000
    assert facts["memory"]["enforced"]
    assert 0 < facts["memory"]["peak_bytes"] < 400_000_000
    assert (facts["model"], facts["kv"], facts["new_tokens"]) == (str(tiny_package), "q8", 4)  # as asked for


@needs_group
def test_the_table_has_the_limit(bench: Bench, tiny_package: Path) -> None:
    code, out, _ = bench(tiny_package, *SMALL, "--memory", "400MB")
    assert code == 0
    assert "memory limit\t400.0 MB, enforced by the kernel\n" in out


@needs_group
def test_the_load_benchmark_has_a_limit_too(bench: Bench, tiny_package: Path) -> None:
    code, out, err = bench(tiny_package, "--profile", "chat", "--seconds", "0.3", "--memory", "400MB", "--json")
    assert code == 0, err
    assert json.loads(out)["memory"]["enforced"]


@needs_group
def test_killed_for_lack_of_memory_is_one_line_and_a_code_of_its_own(bench: Bench, tiny_package: Path) -> None:
    code, out, err = bench(tiny_package, *SMALL, "--memory", "12MB", "--json")
    assert code == MemoryLimitError.exit_code
    assert out == ""
    assert "killed: it needs more than 12.0 MB of memory; give --memory more" in err.splitlines()[-1]


@needs_group
def test_an_error_inside_keeps_its_code_and_is_said_once(bench: Bench, tiny_package: Path) -> None:
    code, out, err = bench(tiny_package, "--prompt-tokens", "100000", "--memory", "400MB", "--json")
    assert (code, out) == (UsageError.exit_code, "")
    assert err.count("pocketseek: error:") == 1


@pytest.mark.usefixtures("no_groups")
def test_without_rights_the_limit_is_said_not_to_be_enforced(bench: Bench, tiny_package: Path) -> None:
    # Much, since it is this very process, with all that other tests have loaded, that has to stay below.
    code, out, err = bench(tiny_package, *SMALL, "--memory", "4GB", "--json")
    assert code == 0
    assert json.loads(out)["memory"] == {"limit_bytes": 4_000_000_000, "enforced": False, "peak_bytes": None}
    assert sum("not enforced" in line for line in err.splitlines()) == 1
    assert "memory limit\t4.0 GB, not enforced\n" in bench(tiny_package, *SMALL, "--memory", "4GB")[1]


def test_what_is_wrong_is_found_before_a_group_is_made(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_group, "MemoryGroup", lambda *_, **__: pytest.fail("must not be made"))
    assert bench(tmp_path / "absent", "--memory", "400MB")[0] == NotFoundError.exit_code
    code, _, err = bench(tmp_path / "absent", "--memory", "lots")
    assert code == UsageError.exit_code
    assert "'lots' is not a size" in err


def test_dropping_the_caches_changes_no_figure_that_is_there(run: Callable, tiny_package: Path) -> None:
    facts = run("bench", tiny_package, *SMALL, "--drop-caches", "--json").json
    assert facts["load_s"] > 0
    assert facts["memory"] is None
