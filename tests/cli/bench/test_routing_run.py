"""`bench --trace` and `bench --replay`: recorded, replayed, and refused in one line where it makes no sense."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import routing_traces
from tiny_models import write_hf
from tiny_sparse import tiny_sparse

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError, MemoryLimitError, NotFoundError, UsageError
from pocketseek.runtime.residency.routing_trace import read_trace, write_trace

SMALL = ("--prompt-tokens", "16", "--new-tokens", "6", "--repeats", "1")


@pytest.fixture(scope="module")
def sparse_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sparse")
    return convert_checkpoint(
        write_hf(folder / "hf", tiny_sparse("deepseek_v2")), folder / "package", models_dir=folder
    )


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    write_trace(tmp_path / "a.trace", routing_traces.header(), routing_traces.passes(30))
    return tmp_path / "a.trace"


def test_a_run_is_recorded_and_replayed(run: Callable, sparse_package: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    ended = run("bench", sparse_package, *SMALL, "--concurrency", "2", "--trace", path, "--json")
    assert ended.json["decode_tokens_per_s"] > 0
    assert str(path) in ended.err
    header, passes = read_trace(path)
    assert (header.layers, header.num_experts, header.experts_per_token) == ((1,), 8, 3)
    assert sum(one.num_rows for one in passes) >= 2 * 2 * (16 + 5)
    assert all(one.compute_s > 0 for one in passes)
    facts = run("bench", "--replay", path, "--json").json
    assert facts["statistics"]["num_passes"] == len(passes)
    assert [size["num_slots"] for size in facts["sizes"]] == [6, 8]  # less than twice a token's three does not run


def test_prompts_are_pieces_of_a_text(run: Callable, sparse_package: Path, tmp_path: Path) -> None:
    text = tmp_path / "t.txt"
    text.write_text("abc def " * 40)
    paths = [tmp_path / "a.trace", tmp_path / "b.trace"]
    for path in paths:
        assert run("bench", sparse_package, *SMALL, "--trace", path, "--text", text).code == 0
    first, second = (b"".join(one.chosen.tobytes() for one in read_trace(path)[1]) for path in paths)
    assert first == second
    text.write_text("")
    ended = run("bench", sparse_package, *SMALL, "--trace", tmp_path / "c.trace", "--text", text)
    assert (ended.code, "the text is empty" in ended.error) == (UsageError.exit_code, True)
    assert not (tmp_path / "c.trace").exists()


def test_the_table_has_every_policy_and_says_that_times_are_a_model(run: Callable, trace: Path) -> None:
    out = run("bench", "--replay", trace, "--memory", "1GB", "--storage-speed", "10MB/s").out
    for name in ("least-recent\t100.0%", "decayed-frequency (used)\t", "blend\t", "optimum (knows the future)\t"):
        assert name in out
    assert "10.0 MB/s of storage; unmeasured on a device" in out
    assert "chosen again by the next token (by chance)" in out


def test_chinese_has_the_table_too(run: Callable, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_LANG", "zh")
    assert "最优（预知未来）" in run("bench", "--replay", trace).out


def test_json_has_every_figure(run: Callable, trace: Path) -> None:
    facts = run("bench", "--replay", trace, "--storage-speed", "1MB/s", "--json").json
    assert facts["storage_bytes_per_s"] == 1_000_000
    for size in facts["sizes"]:
        assert [one["policy"] for one in size["replays"]] == ["least-recent", "decayed-frequency", "blend", "optimum"]
        assert size["bound_tokens_per_s"] > 0
        assert all(one["lookups"] >= one["hits"] >= 0 and one["tokens_per_s"] > 0 for one in size["replays"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trace", "t", "--minutes", "1"), "leave out --profile, --minutes and --report"),
        (("--text", "t"), "--text belongs to --trace"),
        (("--storage-speed", "1GB/s"), "--storage-speed belongs to --replay"),
        (("--replay", "t", "--seconds", "3"), "leave out --seconds and use only --memory, --storage-speed and --json"),
        (("--trace", "absent/t"), "name a file in a folder that is there"),
        (("--replay", "t", "--storage-speed", "fast"), "not a rate"),
    ],
)
def test_senseless_combinations_are_refused(
    run: Callable, sparse_package: Path, arguments: tuple[str, ...], message: str
) -> None:
    ended = run("bench", *(() if "--replay" in arguments else (sparse_package,)), *arguments)
    assert (ended.code, message in ended.error) == (UsageError.exit_code, True)


def test_a_model_without_experts_has_no_routing(run: Callable, tiny_package: Path, tmp_path: Path) -> None:
    ended = run("bench", tiny_package, *SMALL, "--trace", tmp_path / "a.trace")
    assert (ended.code, "has no experts" in ended.error) == (UsageError.exit_code, True)
    assert not (tmp_path / "a.trace").exists()


def test_bad_traces_are_one_line(run: Callable, trace: Path, tmp_path: Path) -> None:
    assert run("bench", "--replay", tmp_path / "no.trace").code == NotFoundError.exit_code
    trace.write_bytes(trace.read_bytes()[:-1])
    ended = run("bench", "--replay", trace)
    assert (ended.code, "record it again" in ended.error) == (FormatError.exit_code, True)
    write_trace(trace, routing_traces.header(), [])
    assert "holds no pass" in run("bench", "--replay", trace).error
    trace.write_bytes(json.dumps({"kind": "x"}).encode() + b"\n")
    assert run("bench", "--replay", trace).code == FormatError.exit_code


def test_too_little_memory_is_told_with_what_is_enough(run: Callable, tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    write_trace(path, routing_traces.header(beside_bytes=50_000_000), routing_traces.passes(2))
    ended = run("bench", "--replay", path, "--memory", "20MB")
    assert (ended.code, "allow at least 51 MB" in ended.error) == (MemoryLimitError.exit_code, True)
