"""`bench --report`, `--minutes` and `--compare`: what is written and printed, and what is refused."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sample_reports import DEVICE, phone_record

from pocketseek.apps.report.measure import ReportRun
from pocketseek.apps.report.record import SCHEMA, Record
from pocketseek.apps.report.record_file import read_record, record_json
from pocketseek.cli.bench import bench_cmd, report_run
from pocketseek.errors import FormatError, NotFoundError, StorageError, UnsupportedError, UsageError

QUICK = ("--prompt-tokens", "16", "--new-tokens", "4", "--repeats", "1")


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bench_cmd, report_run):
        monkeypatch.setattr(module, "IDLE_S", 0.0)
        monkeypatch.setattr(module, "SHORT_IDLE_S", 0.0)


def written(folder: Path, name: str, record: Record) -> Path:
    path = folder / name
    path.write_bytes(record_json(record))
    return path


def test_a_page_and_its_figures_are_written_and_the_table_names_the_claims(
    run: Callable, tiny_package: Path, tmp_path: Path
) -> None:
    page = tmp_path / "out.html"
    ended = run("bench", tiny_package, *QUICK, "--report", page)
    assert ended.code == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    record = read_record(tmp_path / "out.json")
    assert not record.cut_short
    assert record.sustained is None
    assert record.conditions.prompt_tokens == 16
    assert "\t320 ms\n" in ended.out
    assert str(page) in ended.err


def test_minutes_without_a_report_print_the_object_of_the_file(run: Callable, tiny_package: Path) -> None:
    facts = run("bench", tiny_package, "--minutes", "0.01", "--prompt-tokens", "16", "--repeats", "1", "--json").json
    assert facts["schema"] == SCHEMA
    assert facts["sustained"]["num_tokens"] > 0
    assert facts["model"]["package_bytes"] > 0


def test_a_measurement_that_was_interrupted_is_written_and_marked(
    run: Callable, tiny_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: ReportRun, engine: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ReportRun, "_load", interrupted)
    ended = run("bench", tiny_package, *QUICK, "--minutes", "1", "--report", tmp_path / "out.html")
    assert ended.code == 130
    assert ended.out == ""
    assert "Cut short" in ended.err
    record = read_record(tmp_path / "out.json")
    assert record.cut_short
    assert record.speed is not None
    assert "Cut short" in (tmp_path / "out.html").read_text(encoding="utf-8")


def test_nothing_is_written_before_there_is_a_figure(
    run: Callable, tiny_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: ReportRun) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ReportRun, "_rest", interrupted)
    assert run("bench", tiny_package, "--report", tmp_path / "out.html").code == 130
    assert os.listdir(tmp_path) == []


def test_a_comparison_has_both_ratios_and_a_page_with_both_curves(run: Callable, tmp_path: Path) -> None:
    first = written(tmp_path, "a.json", phone_record())
    second = written(tmp_path, "b.json", replace(phone_record(pace=1.25), device=replace(DEVICE, soc_model="other")))
    ended = run("bench", "--compare", first, second, "--report", tmp_path / "c.html")
    assert "decode, 128 tokens\t60.0 tokens/s\t75.0 tokens/s\t1.25x better\n" in ended.out
    (short,) = (line for line in ended.out.splitlines() if line.startswith("short answer"))
    assert short.endswith("\t1.25x better")
    assert "different devices" in ended.err
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert page.count("<polyline") == 2 * 8
    assert "different devices" in page
    facts = run("bench", "--compare", first, second, "--json").json
    assert facts["differences"] == ["device"]
    assert facts["figures"]["short_answer"]["ratio"] == pytest.approx(0.8)
    assert facts["figures"]["short_answer"]["better"] is True


def test_other_work_is_told_in_words_instead_of_a_verdict(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = replace(phone_record().conditions, prompt_tokens=64, new_tokens=16)
    first = written(tmp_path, "a.json", phone_record())
    second = written(tmp_path, "b.json", replace(phone_record(pace=2), conditions=conditions))
    ended = run("bench", "--compare", first, second, "--report", tmp_path / "c.html")
    (decode,) = (line for line in ended.out.splitlines() if line.startswith("decode"))
    assert decode.startswith("decode, 128 / 16 tokens\t")
    assert decode.endswith("\tnot comparable: prompt 512 / 64 tokens, answer 128 / 16 tokens")
    (short,) = (line for line in ended.out.splitlines() if line.startswith("short answer"))
    assert short.endswith("\t2.00x better")
    assert "measured differently, A / B: prompt 512 / 64 tokens, answer 128 / 16 tokens" in ended.err
    assert "not comparable: prompt 512 / 64 tokens" in (tmp_path / "c.html").read_text(encoding="utf-8")
    figures = run("bench", "--compare", first, second, "--json").json["figures"]
    assert (figures["decode"]["ratio"], figures["decode"]["better"]) == (None, None)
    assert figures["prefill"]["other_work"] == ["prompt_tokens"]
    monkeypatch.setenv("POCKETSEEK_LANG", "zh")
    assert "不可比：输入 512 / 64 词元" in run("bench", "--compare", first, second).out


def test_a_report_is_kept_when_standard_output_is_full(
    run: Callable, tiny_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("print_table", "print_json"):
        monkeypatch.setattr(report_run, name, full)
    for name, more in (("a", ()), ("b", ("--json",))):
        ended = run("bench", tiny_package, *QUICK, *more, "--report", tmp_path / f"{name}.html")
        assert ended.code == StorageError.exit_code
        assert read_record(tmp_path / f"{name}.json").speed is not None
        assert (tmp_path / f"{name}.html").exists()


def test_figures_are_shown_when_the_report_cannot_be_written(
    run: Callable, tiny_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_args: object) -> None:
        raise StorageError("no space; free some")

    monkeypatch.setattr("pocketseek.apps.report.write_pair.write_pair", refused)
    ended = run("bench", tiny_package, *QUICK, "--report", tmp_path / "a.html")
    assert ended.code == StorageError.exit_code
    assert "\t320 ms\n" in ended.out


def test_files_that_cannot_be_compared_are_refused(run: Callable, tmp_path: Path) -> None:
    good = written(tmp_path, "a.json", phone_record())
    other = tmp_path / "b.json"
    other.write_text(json.dumps({**json.loads(good.read_bytes()), "version": 99}))
    assert run("bench", "--compare", good, other).code == UnsupportedError.exit_code
    other.write_text("{}")
    assert "not a bench report" in run("bench", "--compare", good, other).error
    assert run("bench", "--compare", other, good).code == FormatError.exit_code
    other.write_text("<!doctype html>")
    assert "use the .json file" in run("bench", "--compare", good, other).error
    assert run("bench", "--compare", good, tmp_path / "absent").code == NotFoundError.exit_code


def test_temperatures_are_compared_by_their_difference(run: Callable, tmp_path: Path) -> None:
    record = phone_record()
    hotter = replace(record, heat=tuple(replace(heat, peak_c=heat.peak_c + 3) for heat in record.heat))
    first, second = written(tmp_path, "a.json", record), written(tmp_path, "b.json", hotter)
    lines = run("bench", "--compare", first, second).out.splitlines()
    assert [line.split("\t")[3] for line in lines if "peak temperature" in line] == ["+3.0 °C worse"] * len(record.heat)


def test_what_comparing_has_no_use_for_is_named_as_it_was_typed(run: Callable, tmp_path: Path) -> None:
    good = written(tmp_path, "a.json", phone_record())
    assert "leave out --minutes and" in run("bench", "--compare", good, good, "--minutes", "3").error
    assert "leave out 'demo' and" in run("bench", "demo", "--compare", good, good).error


@pytest.mark.parametrize(
    "arguments",
    [
        ("--report", "nowhere/r.html"),
        ("--report", "r.json"),
        ("--minutes", "0"),
        ("--minutes", "nan"),
        ("--minutes", "1", "--profile", "chat"),
        ("--compare", "a.json", "b.json", "--minutes", "1"),
        ("--compare", "a.json", "b.json", "--report", "c.txt"),
    ],
)
def test_what_makes_no_sense_is_refused_before_measuring(
    run: Callable, tiny_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = () if "--report" in arguments and "--compare" in arguments else (tiny_package,)
    assert run("bench", *model, *arguments).code == UsageError.exit_code
    assert os.listdir(tmp_path) == []
