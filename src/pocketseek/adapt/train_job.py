"""A training from files to an adapter on disk: early refusals, validation, checkpoints, going on, the record.

The output is there when it is complete, never before. What an interruption leaves lies hidden beside it
(train_checkpoint.py) until the same training is asked for again or `fresh` says that it may go. With the same data,
settings and machine a training that was interrupted ends with the same bytes as one that was not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pocketseek.adapt.data_file import DataFile, read_data
from pocketseek.adapt.data_tokens import TokenSequence
from pocketseek.adapt.train import OpenedRun, open_plain, opened_run, tokens_of
from pocketseek.adapt.train_batches import set_aside
from pocketseek.adapt.train_checkpoint import Checkpoint
from pocketseek.adapt.train_libraries import require_training_libraries
from pocketseek.adapt.train_output import check_output, write_adapter
from pocketseek.adapt.train_pace import TrainingPace
from pocketseek.adapt.train_settings import TrainSettings
from pocketseek.device.memory import process_memory
from pocketseek.errors import ModelOutputError, UsageError
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import JsonValue, read_manifest_bytes, version_id
from pocketseek.package.reader import Package
from pocketseek.package.storage import storage_errors

if TYPE_CHECKING:
    from pocketseek.adapt.train_run import StepReport

VALIDATION_SHARE = 0.05
CHECKPOINT_EVERY, VALIDATE_EVERY = 25, 50
_STATE_VERSION = 1


@dataclass(frozen=True)
class TrainJob:
    """validation: a file of the same kinds; None: a part of the data is set aside. checkpoint_every, validate_every:
    steps. fresh: what an interrupted training left is removed. replace: an adapter that is there gives way."""

    package: Path
    data: Path
    output: Path
    settings: TrainSettings = field(default_factory=TrainSettings)
    validation: Path | None = None
    checkpoint_every: int = CHECKPOINT_EVERY
    validate_every: int = VALIDATE_EVERY
    fresh: bool = False
    replace: bool = False


@dataclass(frozen=True)
class Validated:
    step: int
    perplexity: float


@dataclass(frozen=True)
class TrainResult:
    """validations: before the first step, now and then, and after the last; empty without validation data.
    gone_on_from: steps that an interrupted training had done. leads: False in processes that only help."""

    output: Path
    steps: int
    num_tokens: int
    losses: tuple[float, ...]
    validations: tuple[Validated, ...]
    gone_on_from: int
    num_cut: int
    planned_bytes: int
    peak_rss_bytes: int | None
    duration_s: float
    leads: bool


class TrainTeller(Protocol):
    """Is told how a training goes on."""

    def began(self, *, num_steps: int, steps_done: int, num_sequences: int, num_tokens: int, num_cut: int) -> None:
        """num_tokens: that are learnt from, in one epoch."""

    def stepped(self, report: StepReport, num_steps: int) -> None: ...

    def validated(self, found: Validated) -> None: ...


class _Nobody:
    def began(self, *, num_steps: int, steps_done: int, num_sequences: int, num_tokens: int, num_cut: int) -> None:
        pass

    def stepped(self, report: StepReport, num_steps: int) -> None:
        pass

    def validated(self, found: Validated) -> None:
        pass


def train_to_directory(
    job: TrainJob, *, pace: TrainingPace | None = None, teller: TrainTeller | None = None
) -> TrainResult:
    """Raises as `train_adapter`; BusyError if another training of the same output runs; StorageError, and what was kept
    last is still there."""
    check_output(job.output, replace=job.replace)
    if min(job.checkpoint_every, job.validate_every) < 1:
        raise UsageError("checkpoints and validations come after 1 step or more; give a larger number")
    data = read_data(job.data)
    validation = None if job.validation is None else read_data(job.validation)
    require_training_libraries()
    with open_plain(job.package) as package, ExitStack() as resources:
        tokens = tokens_of(package, data.examples, job.settings, str(job.data))
        if validation is None:
            learnt, checked = set_aside(tokens.sequences, VALIDATION_SHARE)
        else:
            found = tokens_of(package, validation.examples, job.settings, str(job.validation))
            learnt, checked = list(tokens.sequences), list(found.sequences)
        pace = pace or TrainingPace()
        opened = resources.enter_context(
            opened_run(
                package,
                learnt,
                job.settings,
                longest=max((len(one.ids) for one in checked), default=0),
                between=_between(pace),
            )
        )
        if opened.team.leads:
            with storage_errors(job.output):
                job.output.parent.mkdir(parents=True, exist_ok=True)
            resources.enter_context(destination_lock(job.output))
        training = _Training(job, package, opened, checked, _key(job, data, validation), pace, teller or _Nobody())
        return training.run(num_cut=tokens.num_cut, num_sequences=len(learnt), num_tokens=tokens.num_wanted)


class _Training:
    def __init__(
        self,
        job: TrainJob,
        package: Package,
        opened: OpenedRun,
        checked: Sequence[TokenSequence],
        key: dict[str, JsonValue],
        pace: TrainingPace,
        teller: TrainTeller,
    ) -> None:
        self._job = job
        self._package = package
        self._opened = opened
        self._run = opened.run
        self._checked = checked
        self._checkpoint = Checkpoint(job.output, key)
        self._key = key
        self._pace = pace
        self._teller = teller
        self._validations: list[Validated] = []
        self._parts: list[JsonValue] = []
        self._kept_steps = 0

    def run(self, *, num_cut: int, num_sequences: int, num_tokens: int) -> TrainResult:
        began_s, run = time.monotonic(), self._run
        self._take_up()
        gone_on_from = run.steps_done
        self._parts.append({"from_step": gone_on_from, **_plain(asdict(self._job.settings))})
        if self._leads:
            self._teller.began(
                num_steps=run.num_steps,
                steps_done=gone_on_from,
                num_sequences=num_sequences,
                num_tokens=num_tokens,
                num_cut=num_cut,
            )
        if not self._validations:
            self._validate()
        while not run.is_done:
            self._step()
        self._end()
        return TrainResult(
            output=self._job.output,
            steps=run.steps_done,
            num_tokens=run.num_tokens,
            losses=tuple(run.losses),
            validations=tuple(self._validations),
            gone_on_from=gone_on_from,
            num_cut=num_cut,
            planned_bytes=self._opened.memory.total_bytes,
            peak_rss_bytes=process_memory().peak_rss_bytes,
            duration_s=time.monotonic() - began_s,
            leads=self._leads,
        )

    @property
    def _leads(self) -> bool:
        return self._opened.team.leads

    def _step(self) -> None:
        self._pace.pause()
        try:
            report = self._run.step()
        except ModelOutputError as error:
            raise ModelOutputError(f"{error} ({self._what_is_kept()})") from error
        if self._leads:
            self._teller.stepped(report, self._run.num_steps)
        is_last = self._run.is_done
        if is_last or report.step % self._job.validate_every == 0:
            self._validate()
        if not is_last and report.step % self._job.checkpoint_every == 0:
            self._keep()

    def _validate(self) -> None:
        if not self._checked:
            return
        found = self._run.validate(self._checked)
        if not math.isfinite(found.loss):
            raise ModelOutputError(
                f"after step {self._run.steps_done} the model gives no numbers any more; use a lower --lr "
                f"({self._what_is_kept()})"
            )
        validated = Validated(self._run.steps_done, found.perplexity)
        self._validations.append(validated)
        if self._leads:
            self._teller.validated(validated)

    def _what_is_kept(self) -> str:
        if not self._kept_steps:
            return "nothing was kept: the next training begins anew"
        return (
            f"the state after step {self._kept_steps} is kept: the same command goes on from there, --fresh begins anew"
        )

    def _take_up(self) -> None:
        if self._leads and self._job.fresh:
            self._checkpoint.remove()
        self._opened.team.wait()
        kept = self._checkpoint.load()
        if kept is None:
            return
        facts = kept.facts
        self._run.take_up(kept.arrays, _whole(facts["num_tokens"]), _whole(facts["micro_tokens"]))
        self._kept_steps = self._run.steps_done
        validations, parts = facts["validations"], facts["parts"]
        assert isinstance(validations, list)
        assert isinstance(parts, list)
        self._validations = [Validated(**one) for one in validations]
        self._parts = list(parts)

    def _keep(self) -> None:
        if self._leads:
            facts: dict[str, JsonValue] = {
                "num_tokens": self._run.num_tokens,
                "micro_tokens": self._run.micro_tokens,
                "validations": [_plain(asdict(one)) for one in self._validations],
                "parts": self._parts,
            }
            self._checkpoint.save(facts, self._run.state())
        self._kept_steps = self._run.steps_done

    def _end(self) -> None:
        if not self._leads:
            return
        run, settings = self._run, self._job.settings
        record: dict[str, JsonValue] = {
            **self._key,
            "model_name": self._package.manifest.name,
            "steps": run.steps_done,
            "tokens": run.num_tokens,
            "losses": list[JsonValue](run.losses),
            "validations": [_plain(asdict(one)) for one in self._validations],
            "parts": self._parts,
        }
        write_adapter(self._job.output, run.tensors(), settings, self._package.manifest.name, record)
        self._checkpoint.remove()


def _key(job: TrainJob, data: DataFile, validation: DataFile | None) -> dict[str, JsonValue]:
    """What a training is. How far and how fast it goes may change while it is interrupted."""
    settings = job.settings
    return {
        "version": _STATE_VERSION,
        "model": version_id(read_manifest_bytes(job.package)),
        "data": data.sha256,
        "validation": None if validation is None else validation.sha256,
        "rank": settings.rank,
        "alpha": settings.scaled_alpha,
        "targets": list(settings.targets),
        "batch": settings.batch,
        "context": settings.context,
        "seed": settings.seed,
    }


def _between(pace: TrainingPace) -> Callable[[float], None]:
    def rest(seconds: float) -> None:
        pace.worked(seconds)
        pace.pause()

    return rest


def _plain(value: object) -> dict[str, JsonValue]:
    """As JSON has it: tuples become lists."""
    found = json.loads(json.dumps(value))
    assert isinstance(found, dict)
    return found


def _whole(value: JsonValue) -> int:
    if not isinstance(value, int):
        raise ValueError("not a whole number")
    return value
