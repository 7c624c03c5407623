"""`bench` prints a table or one JSON object with every figure."""

from collections.abc import Callable
from pathlib import Path

from pocketseek.errors import NotFoundError, UsageError

SMALL = ("--prompt-tokens", "16", "--new-tokens", "4", "--repeats", "1")


def test_json_has_every_figure(run: Callable, tiny_package: Path) -> None:
    facts = run("bench", tiny_package, *SMALL, "--json").json
    assert facts["model"] == str(tiny_package)
    for name in ("load_s", "first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s", "peak_rss_bytes"):
        assert facts[name] > 0, name
    assert facts["memory"] is None
    assert facts["per_token"]["weight_bytes"] > 0
    assert facts["per_token"]["estimated_joules"] > 0


def test_the_only_installed_model_is_taken_by_default(run: Callable, installed: Path) -> None:
    assert "decode, 4 tokens\t" in run("bench", *SMALL).out


def test_nothing_installed_is_an_error_for_a_script(run: Callable) -> None:
    assert run("bench", *SMALL).code == NotFoundError.exit_code


def test_senseless_figures_are_refused(run: Callable, tiny_package: Path) -> None:
    assert run("bench", tiny_package, "--new-tokens", "1").code == UsageError.exit_code


LOAD = ("--concurrency", "2", "--profile", "mixed", "--seconds", "0.3")


def test_load_json_has_every_figure_and_the_page_is_written(run: Callable, tiny_package: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    ended = run("bench", tiny_package, *LOAD, "--report", page, "--json")
    facts = ended.json
    assert facts["model"] == str(tiny_package)
    for name in ("tokens_per_s", "tokens_per_pass", "passes_per_s", "peak_pages"):
        assert facts[name] > 0, name
    for figure in ("p50_s", "p95_s", "p99_s"):
        assert facts["interactive"]["first_token"][figure] > 0, figure
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert str(page) in ended.err


def test_load_table_names_both_classes(run: Callable, tiny_package: Path) -> None:
    out = run("bench", tiny_package, *LOAD).out
    assert "interactive: time to first token" in out
    assert "background: time to first token" in out
    assert "pre-emptions / of these to disk\t0 / 0" in out


def test_a_page_that_cannot_be_is_refused_before_measuring(run: Callable, tiny_package: Path, tmp_path: Path) -> None:
    nowhere = run("bench", tiny_package, *LOAD, "--report", tmp_path / "absent" / "r.html")
    assert nowhere.code == UsageError.exit_code
    assert "absent" in nowhere.error


def test_a_load_that_makes_no_sense_is_refused(run: Callable, tiny_package: Path) -> None:
    for wrong in (("--profile", "other"), ("--profile", "mixed"), ("--profile", "chat", "--seconds", "0")):
        assert run("bench", tiny_package, *wrong).code == UsageError.exit_code, wrong
