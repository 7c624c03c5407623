"""From files to an adapter on disk: going on after an interruption with the same bytes, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adapt.training_models import conversations, tiny_checkpoint, tiny_package

from pocketseek.adapt import train_checkpoint, train_output
from pocketseek.adapt.data_tokens import TokenSequence
from pocketseek.adapt.train_job import TrainJob, TrainResult, Validated, train_to_directory
from pocketseek.adapt.train_run import StepReport, TrainingRun
from pocketseek.adapt.train_settings import TrainSettings
from pocketseek.errors import BusyError, ModelOutputError, StorageError, UsageError
from pocketseek.package.lock import destination_lock

SETTINGS = TrainSettings(rank=2, steps=9, learning_rate=1e-2, batch=4, context=64)


class InterruptionError(Exception):
    """Somebody pulls the plug."""


class StopAfter:
    """Told of everything; ends the training after a step."""

    def __init__(self, step: int = 0) -> None:
        self.step = step
        self.began_at = -1
        self.validations: list[Validated] = []

    def began(self, *, num_steps: int, steps_done: int, num_sequences: int, num_tokens: int, num_cut: int) -> None:
        self.began_at = steps_done

    def stepped(self, report: StepReport, num_steps: int) -> None:
        if report.step == self.step:
            raise InterruptionError

    def validated(self, found: Validated) -> None:
        self.validations.append(found)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_package(tmp_path_factory.mktemp("packages"))


def write_data(path: Path, count: int = 24) -> Path:
    lines = [
        json.dumps({"messages": [{"role": one.role, "content": one.content} for one in example.messages]})
        for example in conversations(count)
    ]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def job(package: Path, tmp_path: Path) -> TrainJob:
    data = write_data(tmp_path / "data.jsonl")
    return TrainJob(package, data, tmp_path / "adapter", SETTINGS, checkpoint_every=2, validate_every=3)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def neighbours(job: TrainJob) -> set[str]:
    return {path.name for path in job.output.parent.iterdir() if path.name.startswith(".")}


def uninterrupted(job: TrainJob) -> tuple[TrainResult, dict[str, bytes]]:
    other = replace(job, output=job.output.with_name("other"))
    return train_to_directory(other), files(other.output)


def test_an_adapter_in_peft_s_form_comes_out_and_nothing_else(job: TrainJob) -> None:
    found = train_to_directory(job)
    assert set(files(job.output)) == {"adapter_config.json", "adapter_model.safetensors", "training.json"}
    assert neighbours(job) == set()
    assert [one.step for one in found.validations] == [0, 3, 6, 9]
    assert found.validations[-1].perplexity < found.validations[0].perplexity
    assert (found.steps, found.gone_on_from, found.leads) == (9, 0, True)
    record = json.loads((job.output / "training.json").read_text())
    assert record["losses"] == list(found.losses)


def test_peft_loads_it_and_computes_with_it(job: TrainJob, tmp_path: Path) -> None:
    train_to_directory(job)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        checkpoint = tiny_checkpoint(tmp_path)
        ids = torch.arange(20)[None]
        plain = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
        before = plain(ids).logits.detach()
        adapted = PeftModel.from_pretrained(plain, str(job.output))(ids).logits.detach()
    assert float((adapted - before).abs().max()) > 0.01


@pytest.mark.parametrize("step", [1, 2, 5, 8])
def test_an_interrupted_training_ends_with_the_same_bytes(job: TrainJob, step: int) -> None:
    expected, expected_files = uninterrupted(job)
    with pytest.raises(InterruptionError):
        train_to_directory(job, teller=StopAfter(step))
    assert not job.output.exists()
    teller = StopAfter()
    found = train_to_directory(job, teller=teller)
    assert teller.began_at == found.gone_on_from == step // 2 * 2 - (2 if step % 2 == 0 else 0)
    assert found.losses == expected.losses
    assert found.validations == expected.validations
    own = files(job.output)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert own[name] == expected_files[name]
    assert neighbours(job) == set()


_WORKER = """
import sys
from pathlib import Path
from pocketseek.adapt.data_tokens import TokenSequence
from pocketseek.adapt.train_job import TrainJob, train_to_directory
from pocketseek.adapt.train_settings import TrainSettings
package, data, output = map(Path, sys.argv[1:])
settings = TrainSettings(rank=2, steps=9, learning_rate=1e-2, batch=4, context=64)
class Teller:
    def began(self, **facts): pass
    def stepped(self, report, num_steps):
        print(report.step, flush=True)
        if report.step == 5: sys.stdin.read()
    def validated(self, found): pass
train_to_directory(TrainJob(package, data, output, settings, checkpoint_every=2, validate_every=3), teller=Teller())
"""


def test_a_training_that_was_killed_ends_with_the_same_bytes(job: TrainJob) -> None:
    _, expected = uninterrupted(job)
    arguments = [sys.executable, "-c", _WORKER, str(job.package), str(job.data), str(job.output)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert [worker.stdout.readline().strip() for _ in range(5)] == ["1", "2", "3", "4", "5"]
        with pytest.raises(BusyError):  # its lock is held
            train_to_directory(job)
        worker.send_signal(signal.SIGKILL)
    found = train_to_directory(job)
    assert found.gone_on_from == 4
    assert files(job.output)["adapter_model.safetensors"] == expected["adapter_model.safetensors"]


def test_what_is_kept_is_not_used_for_another_training_nor_lost(job: TrainJob) -> None:
    with pytest.raises(InterruptionError):
        train_to_directory(job, teller=StopAfter(5))
    other = replace(job, settings=replace(SETTINGS, rank=4))
    with pytest.raises(UsageError, match=r"differs in rank, alpha; .* --fresh"):
        train_to_directory(other)
    write_data(job.data, 25)
    with pytest.raises(UsageError, match="differs in data"):
        train_to_directory(job)
    write_data(job.data)
    assert train_to_directory(job).gone_on_from == 4
    assert train_to_directory(replace(other, replace=True)).gone_on_from == 0


def test_fresh_begins_anew(job: TrainJob) -> None:
    with pytest.raises(InterruptionError):
        train_to_directory(job, teller=StopAfter(5))
    assert train_to_directory(replace(job, fresh=True)).gone_on_from == 0


@pytest.mark.parametrize("place", [10, -100, b"num_tokens", b"validations"])
def test_a_damaged_state_is_told_and_stays_until_it_may_go(job: TrainJob, place: int | bytes) -> None:
    with pytest.raises(InterruptionError):
        train_to_directory(job, teller=StopAfter(5))
    (state,) = job.output.with_name(".adapter.pocketseek-training").iterdir()
    data = bytearray(state.read_bytes())
    data[place if isinstance(place, int) else data.index(place)] ^= 0x55 if isinstance(place, int) else 1
    state.write_bytes(data)
    with pytest.raises(UsageError, match="damaged"):
        train_to_directory(job)
    assert state.read_bytes() == data
    assert train_to_directory(replace(job, fresh=True)).gone_on_from == 0


def test_an_adapter_gives_way_only_when_told_and_other_things_never(job: TrainJob, tmp_path: Path) -> None:
    train_to_directory(job)
    before = files(job.output)
    with pytest.raises(UsageError, match="--replace"):
        train_to_directory(job)
    again = replace(job, settings=replace(SETTINGS, steps=2), replace=True)
    with pytest.raises(InterruptionError):
        train_to_directory(again, teller=StopAfter(1))
    assert files(job.output) == before
    train_to_directory(again)
    assert files(job.output) != before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="no adapter"):
        train_to_directory(replace(job, output=tmp_path / "mine", replace=True))


def test_two_trainings_of_one_output_cannot_run(job: TrainJob) -> None:
    with destination_lock(job.output), pytest.raises(BusyError):
        train_to_directory(job)


def test_a_loss_that_becomes_no_number_leaves_the_last_good_state(
    job: TrainJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients = TrainingRun._gradients

    def explode(run: TrainingRun[TokenSequence], *arguments: object) -> float:
        loss = gradients(run, *arguments)  # type: ignore[arg-type]
        return float("nan") if run.steps_done == 5 else loss

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "_gradients", explode)
        with pytest.raises(ModelOutputError, match=r"step 6 .* lower --lr .*after step 4 is kept"):
            train_to_directory(job)
    slower = replace(job, settings=replace(SETTINGS, learning_rate=1e-3))
    assert train_to_directory(slower).gone_on_from == 4
    parts = json.loads((job.output / "training.json").read_text())["parts"]
    assert [(part["from_step"], part["learning_rate"]) for part in parts] == [(0, 1e-2), (4, 1e-3)]


@pytest.mark.parametrize("module", [train_checkpoint, train_output])
def test_a_full_disk_is_one_line_and_the_next_one_goes_on(
    job: TrainJob, monkeypatch: pytest.MonkeyPatch, module: object
) -> None:
    write, calls = train_checkpoint.write_file, []

    def full(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == 2:
            write(path, data[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_file", full)
        with pytest.raises(StorageError, match="disk is full"):
            train_to_directory(job)
    assert not job.output.exists()
    assert neighbours(job) == {".adapter.pocketseek-training"}
    assert train_to_directory(job).gone_on_from == (2 if module is train_checkpoint else 8)


def test_a_validation_file_is_used_whole(job: TrainJob, tmp_path: Path) -> None:
    checked = write_data(tmp_path / "checked.jsonl", 5)
    found = train_to_directory(replace(job, validation=checked, settings=replace(SETTINGS, steps=1)))
    assert [one.step for one in found.validations] == [0, 1]


def test_two_processes_of_accelerate_learn_what_one_does(job: TrainJob, tmp_path: Path) -> None:
    _, expected = uninterrupted(job)
    script = tmp_path / "worker.py"
    script.write_text(_WORKER.replace("if report.step == 5: sys.stdin.read()", "pass"))
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    options = ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    began_s = time.monotonic()
    done = subprocess.run(
        [*launch, *options, str(script), str(job.package), str(job.data), str(job.output)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, (done.stderr[-3000:], time.monotonic() - began_s)
    assert done.stdout.split() == [str(step) for step in range(1, 10)]  # one of them tells
    from safetensors.numpy import load

    own, alone = load(files(job.output)["adapter_model.safetensors"]), load(expected["adapter_model.safetensors"])
    for name, values in alone.items():
        np.testing.assert_allclose(own[name], values, atol=2e-4, err_msg=name)
