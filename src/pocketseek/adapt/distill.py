"""A smaller student of an installed model: `distill_student`.

The teacher runs once over the data, and what it says is kept on disk (distill_cache.py); then the student, made of some
of its layers, learns that (torch_student.py); then it is written as a package (distill_package.py) and compared with
its teacher. Each goes on where it was interrupted, with the same result; a package appears when it is complete.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pocketseek.adapt.data_file import read_data
from pocketseek.adapt.data_tokens import TokenSequence
from pocketseek.adapt.distill_cache import TaughtSequence, TeacherCache
from pocketseek.adapt.distill_package import write_student
from pocketseek.adapt.distill_plan import StudentPlan, plan_student
from pocketseek.adapt.train import open_plain, tokens_of, training_budget
from pocketseek.adapt.train_batches import set_aside
from pocketseek.adapt.train_checkpoint import Checkpoint
from pocketseek.adapt.train_libraries import require_training_libraries
from pocketseek.adapt.train_memory import USUAL_TOKENS, plan_memory
from pocketseek.adapt.train_pace import TrainingPace
from pocketseek.adapt.train_settings import TrainSettings
from pocketseek.convert.recipe import Quant
from pocketseek.errors import ModelOutputError, UsageError
from pocketseek.kernels.divergence import Comparison, Divergence
from pocketseek.package.install import is_package_dir
from pocketseek.package.layer_tensors import layer_tensors
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import JsonValue, read_manifest, read_manifest_bytes, version_id
from pocketseek.package.reader import Package
from pocketseek.package.storage import storage_errors
from pocketseek.runtime.window_logits import WindowLogits

if TYPE_CHECKING:
    from pocketseek.adapt.train_run import StepReport, TrainingRun
    from pocketseek.adapt.train_team import Team

Phase = Literal["teacher", "student", "comparison"]
VALIDATION_SHARE = 0.05
_STATE_VERSION = 1


@dataclass(frozen=True)
class DistillJob:
    """student: as `plan_student` reads it. output: the package to make. top_k: of the teacher's likeliest tokens that
    are kept. state_weight: how much the state before the head counts at first. match_layers: those between layers, too,
    and the teacher's layers are computed again in every step. learns_from "text": without the teacher's word, for
    comparison. Of the settings rank, alpha and targets mean nothing here."""

    teacher: Path
    student: str
    data: Path
    output: Path
    settings: TrainSettings = field(default_factory=lambda: TrainSettings(learning_rate=1e-4))
    quant: Quant = "q4"
    top_k: int = 64
    state_weight: float = 1.0
    match_layers: bool = False
    learns_from: Literal["teacher", "text"] = "teacher"
    validation: Path | None = None
    checkpoint_every: int = 50
    validate_every: int = 100
    fresh: bool = False
    replace: bool = False


@dataclass(frozen=True)
class DistillResult:
    """validations: (step, nats): divergence from the teacher on data that was not learnt from, of the student in
    float32. comparison: of the package with its teacher, both as they are run, on the same data; None without any."""

    output: Path
    layers: tuple[int, ...]
    steps: int
    losses: tuple[float, ...]
    validations: tuple[tuple[int, float], ...]
    comparison: Comparison | None
    gone_on_from: int
    teacher_bytes: int
    duration_s: float
    leads: bool


class DistillTeller(Protocol):
    def progress(self, phase: Phase, done: int, total: int) -> None: ...

    def validated(self, step: int, num_steps: int, divergence: float) -> None: ...


class _Nobody:
    def progress(self, phase: Phase, done: int, total: int) -> None:
        pass

    def validated(self, step: int, num_steps: int, divergence: float) -> None:
        pass


def distill_student(
    job: DistillJob, *, pace: TrainingPace | None = None, teller: DistillTeller | None = None
) -> DistillResult:
    """Raises UsageError, NotFoundError, FormatError, UnsupportedError, MemoryLimitError, ModelOutputError (a loss that
    is no number), StorageError, BusyError; what was kept of an interrupted one stays."""
    _check(job)
    data = read_data(job.data)
    validation = None if job.validation is None else read_data(job.validation)
    require_training_libraries("distilling")
    with open_plain(job.teacher) as package, ExitStack() as resources:
        plan = plan_student(job.student, package.manifest.model)
        tokens = tokens_of(package, data.examples, job.settings, str(job.data))
        if validation is None:
            learnt, checked = set_aside(tokens.sequences, VALIDATION_SHARE)
        else:
            found = tokens_of(package, validation.examples, job.settings, str(job.validation))
            learnt, checked = list(tokens.sequences), list(found.sequences)
        key: dict[str, JsonValue] = {
            "version": _STATE_VERSION,
            "teacher": version_id(read_manifest_bytes(job.teacher)),
            "data": data.sha256,
            "validation": None if validation is None else validation.sha256,
            "layers": list(plan.layers),
            "intermediate_size": plan.model.intermediate_size,
            "top_k": job.top_k,
            "match_layers": job.match_layers,
            "learns_from": job.learns_from,
            "batch": job.settings.batch,
            "context": job.settings.context,
            "seed": job.settings.seed,
        }
        from pocketseek.adapt.train_team import Team, torch_threads

        resources.enter_context(torch_threads(job.settings.num_threads))
        team, checkpoint = Team(), Checkpoint(job.output, key, "distillation")
        if team.leads:
            with storage_errors(job.output):
                job.output.parent.mkdir(parents=True, exist_ok=True)
            resources.enter_context(destination_lock(checkpoint.folder))
        work = _Distillation(
            job, package, plan, learnt, checked, checkpoint, team, pace or TrainingPace(), teller or _Nobody()
        )
        return work.run()


class _Distillation:
    def __init__(
        self,
        job: DistillJob,
        package: Package,
        plan: StudentPlan,
        learnt: Sequence[TokenSequence],
        checked: Sequence[TokenSequence],
        checkpoint: Checkpoint,
        team: Team,
        pace: TrainingPace,
        teller: DistillTeller,
    ) -> None:
        self._job = job
        self._package = package
        self._plan = plan
        self._learnt = learnt
        self._checked = checked
        self._checkpoint = checkpoint
        self._team = team
        self._pace = pace
        self._teller = teller
        self._cache = TeacherCache(checkpoint.folder / "teacher", [*learnt, *checked], job.top_k)
        self._validations: list[tuple[int, float]] = []
        self._kept_steps = 0

    def run(self) -> DistillResult:
        began_s = time.monotonic()
        if self._team.leads:
            if self._job.fresh:
                self._checkpoint.remove()
            if self._checkpoint.load() is None:  # from here on what is there belongs to this distillation
                self._checkpoint.save({"steps": 0}, {})
            self._ask_teacher()
        self._team.wait()
        run = self._opened_run()
        gone_on_from = run.steps_done
        self._learn(run)
        tensors = run.tensors()
        comparison = None
        if self._team.leads:
            write_student(
                self._job.output, self._package, self._plan, tensors, quant=self._job.quant, record=self._record(run)
            )
            comparison = self._compared()
            self._checkpoint.remove()
        model = self._package.manifest.model
        return DistillResult(
            output=self._job.output,
            layers=self._plan.layers,
            steps=run.steps_done,
            losses=tuple(run.losses),
            validations=tuple(self._validations),
            comparison=comparison,
            gone_on_from=gone_on_from,
            teacher_bytes=self._cache.num_bytes(model.hidden_size),
            duration_s=time.monotonic() - began_s,
            leads=self._team.leads,
        )

    def _ask_teacher(self) -> None:
        """With what of it fits beside the rest of the process."""
        model = self._package.manifest.model
        total_bytes = sum(extent.num_bytes for one in self._package.manifest.tensors for extent in one.extents)
        room_bytes = training_budget(self._job.settings) - 2 * 4 * 64 * model.vocab_size

        def between(done: int, total: int) -> None:
            self._teller.progress("teacher", done, total)
            self._pace.pause()

        self._cache.fill(
            self._job.teacher,
            hidden_size=model.hidden_size,
            weight_bytes=None if total_bytes <= room_bytes else max(0, room_bytes),
            num_threads=self._job.settings.num_threads,
            first_needed=len(self._learnt) if self._by_text else 0,
            between=between,
        )

    def _opened_run(self) -> TrainingRun[TaughtSequence]:
        from pocketseek.adapt.torch_student import (
            DistilledStudent,
            StudentModel,
            TeacherStates,
            TextStudent,
            student_start,
        )
        from pocketseek.adapt.torch_weights import TorchWeights
        from pocketseek.adapt.train_run import TrainingRun

        model, settings = self._plan.model, self._job.settings
        sizes = [
            math.prod(shape) for layer in range(model.num_layers) for shape in layer_tensors(model, layer).values()
        ]
        longest = max(len(one.ids) for one in self._cache.sequences)
        goal_bytes = 4 * model.hidden_size * max(longest, USUAL_TOKENS) * len(self._plan.layers)
        room_bytes = training_budget(settings) - (goal_bytes if self._job.match_layers else 0)
        memory = plan_memory(model, sum(sizes), longest, room_bytes)
        teacher = TorchWeights(self._package, self._team.device)
        if memory.pins_head:
            teacher.pin_head()
        student = StudentModel(self._plan, teacher, student_start(self._plan, teacher))
        between = TeacherStates(self._plan, teacher) if self._job.match_layers else None
        distilled = DistilledStudent(
            student, teacher, self._cache.read, state_weight=self._job.state_weight, layer_states=between
        )
        learnt = self._cache.sequences[: len(self._learnt)]
        learner = TextStudent(student, teacher, self._learnt) if self._by_text else distilled
        run = TrainingRun[TaughtSequence](
            learner, learnt, settings, self._team, micro_tokens=memory.micro_tokens, between=self._between
        )
        self._judge: TrainingRun[TaughtSequence] = TrainingRun(
            distilled, learnt, settings, self._team, micro_tokens=memory.micro_tokens, between=self._between
        )
        kept = self._checkpoint.load()
        if kept is not None and kept.arrays:
            run.take_up(kept.arrays, _whole(kept.facts["num_tokens"]), _whole(kept.facts["micro_tokens"]))
            self._kept_steps = run.steps_done
            found = kept.facts["validations"]
            assert isinstance(found, list)
            self._validations = [(_whole(step), float(nats)) for step, nats in found]
        return run

    @property
    def _by_text(self) -> bool:
        return self._job.learns_from == "text"

    def _between(self, seconds: float) -> None:
        self._pace.worked(seconds)
        self._pace.pause()

    def _learn(self, run: TrainingRun[TaughtSequence]) -> None:
        if not self._validations:
            self._validate(run)
        while not run.is_done:
            self._pace.pause()
            report = self._step(run)
            if self._team.leads:
                self._teller.progress("student", report.step, run.num_steps)
            if run.is_done or report.step % self._job.validate_every == 0:
                self._validate(run)
            if not run.is_done and report.step % self._job.checkpoint_every == 0:
                self._keep(run)

    def _step(self, run: TrainingRun[TaughtSequence]) -> StepReport:
        try:
            return run.step()
        except ModelOutputError as error:
            kept = (
                f"the state after step {self._kept_steps} is kept" if self._kept_steps else "the teacher's word is kept"
            )
            raise ModelOutputError(f"{error} ({kept}: the same command goes on from there)") from error

    def _validate(self, run: TrainingRun[TaughtSequence]) -> None:
        if not self._checked:
            return
        found = self._judge.validate(self._cache.sequences[len(self._learnt) :])
        if not math.isfinite(found.loss):
            raise ModelOutputError(f"after step {run.steps_done} the student gives no numbers; use a lower --lr")
        self._validations.append((run.steps_done, found.loss))
        if self._team.leads:
            self._teller.validated(run.steps_done, run.num_steps, found.loss)

    def _keep(self, run: TrainingRun[TaughtSequence]) -> None:
        if self._team.leads:
            facts: dict[str, JsonValue] = {
                "num_tokens": run.num_tokens,
                "micro_tokens": run.micro_tokens,
                "validations": [list[JsonValue](one) for one in self._validations],
            }
            self._checkpoint.save(facts, run.state())
        self._kept_steps = run.steps_done

    def _record(self, run: TrainingRun[TaughtSequence]) -> dict[str, JsonValue]:
        job = self._job
        return {
            "steps": run.steps_done,
            "tokens": run.num_tokens,
            "batch": job.settings.batch,
            "context": job.settings.context,
            "learning_rate": job.settings.learning_rate,
            "top_k": job.top_k,
            "state_weight": job.state_weight,
            "match_layers": job.match_layers,
            "learns_from": job.learns_from,
            "divergence": self._validations[-1][1] if self._validations else None,
        }

    def _compared(self) -> Comparison | None:
        """The package with its teacher, as both are run."""
        if not self._checked:
            return None
        window, found = max(len(one.ids) for one in self._checked), Divergence()
        threads = self._job.settings.num_threads
        with (
            closing(WindowLogits(self._job.output, window=window, num_threads=threads, engine="native")) as student,
            closing(WindowLogits(self._job.teacher, window=window, num_threads=threads, engine="native")) as teacher,
        ):
            for index, sequence in enumerate(self._checked, start=1):
                ids, first = sequence.ids.tolist(), 0
                for own, other in zip(student.run(ids), teacher.run(ids), strict=True):
                    found.add(own, other, ids[first + 1 : first + 1 + len(own)])
                    first += len(own)
                self._teller.progress("comparison", index, len(self._checked))
        return found.comparison()


def _check(job: DistillJob) -> None:
    if not 1 <= job.top_k <= 1024:
        raise UsageError(f"top-k is {job.top_k}; use 1 to 1024, 64 is usual")
    if not (math.isfinite(job.state_weight) and 0 <= job.state_weight <= 1000):
        raise UsageError(f"the state weight is {job.state_weight}; use 0 (off) or a positive number such as 1")
    if min(job.checkpoint_every, job.validate_every) < 1:
        raise UsageError("checkpoints and validations come after 1 step or more; give a larger number")
    if job.output.exists() and not job.replace:
        raise UsageError(f"{job.output} is there already; give --replace to make it anew, or another --name")
    if job.output.exists() and not is_package_dir(job.output):
        raise UsageError(f"{job.output} is there and is no package; name another place")
    if job.output.exists() and job.output.samefile(job.teacher):
        raise UsageError("a student cannot take its teacher's place; give another --name")
    if job.output.exists() and "teacher" not in read_manifest(job.output).provenance:
        raise UsageError(f"{job.output} is there and is no student; only students are replaced, give another --name")


def _whole(value: JsonValue) -> int:
    if not isinstance(value, int):
        raise ValueError("not a whole number")
    return value
