"""A student learns from its teacher, becomes a package, and goes on where it was interrupted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from adapt.training_models import tiny_package

from pocketseek.adapt import distill_cache
from pocketseek.adapt.distill import DistillJob, Phase, distill_student
from pocketseek.adapt.distill_plan import plan_student
from pocketseek.adapt.torch_student import StudentModel, TeacherStates, student_start
from pocketseek.adapt.torch_weights import TorchWeights
from pocketseek.adapt.train_settings import TrainSettings
from pocketseek.errors import FormatError, MemoryLimitError, NotFoundError, StorageError, UsageError
from pocketseek.package.lineage import smaller_siblings
from pocketseek.package.manifest import read_manifest, read_manifest_bytes, version_id
from pocketseek.package.reader import Package
from pocketseek.package.store import ModelStore
from pocketseek.types import ModelConfig

SETTINGS = TrainSettings(steps=8, learning_rate=2e-3, batch=4, context=32)
TEACHER = ModelConfig("llama", 30, 576, 1536, 9, 3, 64, 49152, 8192, 1e-5, 1e5)


class InterruptionError(Exception):
    """Somebody pulls the plug."""


class StopAt:
    def __init__(self, phase: Phase | None = None, done: int = 0) -> None:
        self.at = (phase, done)
        self.teacher_runs = 0

    def progress(self, phase: Phase, done: int, total: int) -> None:
        self.teacher_runs += phase == "teacher"
        if (phase, done) == self.at:
            raise InterruptionError

    def validated(self, step: int, num_steps: int, divergence: float) -> None:
        pass


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_package(tmp_path_factory.mktemp("packages") / "models", "qwen2", num_layers=6, quant="q8")


@pytest.fixture
def job(teacher: Path, tmp_path: Path) -> DistillJob:
    words = np.random.default_rng(0).choice(["the", "quick", "brown", "fox", "jumps", "over", "a", "dog"], 900)
    (tmp_path / "data.txt").write_text(" ".join(words))
    output = tmp_path / "models" / "student"
    return DistillJob(
        teacher,
        "layers=3",
        tmp_path / "data.txt",
        output,
        SETTINGS,
        "q8",
        top_k=32,
        checkpoint_every=2,
        validate_every=4,
    )


def weights(package: Path) -> set[str]:
    return {path.name for path in (package / "chunks").iterdir()}


def test_a_student_comes_nearer_to_its_teacher_and_is_a_package(job: DistillJob) -> None:
    found = distill_student(replace(job, top_k=320))  # all there are, so that both divergences are the same
    assert found.layers == (0, 2, 5)
    assert [step for step, _ in found.validations] == [0, 4, 8]
    assert found.validations[-1][1] < 0.8 * found.validations[0][1]
    assert found.comparison is not None
    assert abs(found.comparison.mean_kl / found.validations[-1][1] - 1) < 0.1  # 8 bits in weights and activations
    manifest, of_teacher = read_manifest(job.output), read_manifest(job.teacher)
    assert manifest.model == replace(of_teacher.model, num_layers=3)
    assert manifest.files == of_teacher.files
    assert manifest.provenance["teacher"] == {
        "name": of_teacher.name,
        "manifest": version_id(read_manifest_bytes(job.teacher)),
        "layers": 6,
    }
    with Package.open(job.output, verify="full") as package, Package.open(job.teacher) as other:
        for name in ("embed.weight", "head.weight"):
            pairs = zip(package.tensor(name).parts, other.tensor(name).parts, strict=True)
            assert all(np.array_equal(one.data, two.data) for one, two in pairs)
    assert [path.name for path in job.output.parent.iterdir()] == ["student"]


def test_layers_are_to_be_given_what_the_teachers_are(teacher: Path) -> None:
    with Package.open(teacher) as package:
        weights, ids = TorchWeights(package), torch.arange(40).reshape(2, 20)
        every, few = (plan_student(form, package.manifest.model) for form in ("layers=6", "layers=0,2,5"))
        *given, _ = StudentModel(every, weights, student_start(every, weights)).states(ids)
        assert len(given) == 5
        for own, goal in zip(given, TeacherStates(every, weights).states(ids), strict=True):
            torch.testing.assert_close(own, goal)
        goals = TeacherStates(few, weights).states(ids)
        torch.testing.assert_close(goals, [given[1], given[4]])
        assert TeacherStates(plan_student("layers=1", package.manifest.model), weights).states(ids) == []


def test_states_between_layers_are_learnt_if_wished(job: DistillJob) -> None:
    plain, matched = (
        distill_student(replace(job, match_layers=wished, output=job.output.with_name(f"match-{wished}")))
        for wished in (False, True)
    )
    assert matched.losses[0] > plain.losses[0]
    assert matched.validations[0] == plain.validations[0]
    assert matched.validations[-1][1] < matched.validations[0][1]
    told = read_manifest(matched.output).provenance["distillation"]
    assert isinstance(told, dict)
    assert told["match_layers"] is True


def test_a_student_stands_in_for_its_teacher(job: DistillJob, teacher: Path) -> None:
    distill_student(replace(job, settings=replace(SETTINGS, steps=1)))
    siblings = smaller_siblings(ModelStore(job.output.parent), teacher, read_manifest(teacher))
    assert [one.name for one in siblings] == ["student"]


@pytest.mark.parametrize(("phase", "done"), [("teacher", 16), ("student", 1), ("student", 5), ("comparison", 1)])
def test_an_interrupted_distillation_ends_with_the_same_weights(job: DistillJob, phase: Phase, done: int) -> None:
    other = replace(job, output=job.output.with_name("other"))
    distill_student(other)
    with pytest.raises(InterruptionError):
        distill_student(job, teller=StopAt(phase, done))
    again = StopAt()
    found = distill_student(replace(job, replace=phase == "comparison"), teller=again)
    assert found.gone_on_from == (4 if done == 5 else 6 if phase == "comparison" else 0)
    assert weights(job.output) == weights(other.output)
    if phase != "teacher":
        assert again.teacher_runs == 0  # it had been asked about everything


def test_the_teacher_s_word_of_other_data_is_not_used(job: DistillJob) -> None:
    with pytest.raises(InterruptionError):
        distill_student(job, teller=StopAt("student", 1))
    with pytest.raises(UsageError, match=r"interrupted distillation that differs in layers"):
        distill_student(replace(job, student="layers=2"))
    assert distill_student(replace(job, student="layers=2", fresh=True)).layers == (0, 5)


def test_a_damaged_word_of_the_teacher_is_told(job: DistillJob) -> None:
    with pytest.raises(InterruptionError):
        distill_student(job, teller=StopAt("student", 1))
    for path in job.output.parent.rglob("teacher/*.safetensors"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FormatError, match="--fresh"):
        distill_student(job)
    assert not job.output.exists()
    assert distill_student(replace(job, fresh=True)).gone_on_from == 0


def test_a_teacher_that_is_streamed_says_the_same(job: DistillJob, tmp_path: Path) -> None:
    words = {}
    for name, weight_bytes in (("whole", None), ("streamed", 0)):
        sequences = [
            distill_cache.TokenSequence(np.arange(20, dtype=np.int32) + 5 * i, np.ones(20, bool)) for i in range(3)
        ]
        cache = distill_cache.TeacherCache(tmp_path / name, sequences, 8)
        cache.fill(job.teacher, hidden_size=64, weight_bytes=weight_bytes)
        words[name] = [cache.read(one) for one in cache.sequences]
    for whole, streamed in zip(words["whole"], words["streamed"], strict=True):
        np.testing.assert_array_equal(whole.ids, streamed.ids)
        np.testing.assert_array_equal(whole.log_probabilities, streamed.log_probabilities)
        np.testing.assert_array_equal(whole.states, streamed.states)


def test_learning_from_the_text_alone_is_the_same_student_otherwise(job: DistillJob) -> None:
    found = distill_student(replace(job, learns_from="text", settings=replace(SETTINGS, steps=2)))
    assert len(found.losses) == 2
    assert read_manifest(job.output).provenance["distillation"]["learns_from"] == "text"  # type: ignore[index, call-overload]


def test_a_disk_that_is_too_small_is_told_before_the_teacher_runs(
    job: DistillJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(parent: Path, needed_bytes: int) -> None:
        raise StorageError("needs more; free some space")

    monkeypatch.setattr(distill_cache, "check_free_space", full)
    with pytest.raises(StorageError, match="free some space"):
        distill_student(job)
    assert not job.output.exists()


def test_what_cannot_be_made_is_refused(job: DistillJob, teacher: Path) -> None:
    with pytest.raises(UsageError, match="take its teacher's place"):
        distill_student(replace(job, output=teacher, replace=True))
    with pytest.raises(MemoryLimitError):
        distill_student(replace(job, settings=replace(SETTINGS, memory_bytes=1_000_000)))
    with pytest.raises(UsageError, match="top-k"):
        distill_student(replace(job, top_k=0))
    shutil.copytree(teacher, job.output)
    with pytest.raises(UsageError, match="no student"):
        distill_student(replace(job, replace=True))
    shutil.rmtree(job.output)
    job.output.mkdir(parents=True)
    with pytest.raises(UsageError, match="--replace"):
        distill_student(job)
    with pytest.raises(UsageError, match="no package"):
        distill_student(replace(job, replace=True))


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("layers=1", (0,)),
        ("layers=2", (0, 29)),
        ("layers=0,7,29", (0, 7, 29)),
        ("layers=30", tuple(range(30))),
    ],
)
def test_layers_are_spread_evenly_or_as_they_are_named(text: str, layers: tuple[int, ...]) -> None:
    plan = plan_student(text, TEACHER)
    assert plan.layers == layers
    assert plan.model == replace(TEACHER, num_layers=len(layers))


@pytest.mark.parametrize(
    "text", ["layers=", "layers=0", "layers=31", "layers=3,2", "layers=1,1", "layers=a", "layers=2,30", "x"]
)
def test_senseless_students_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"give layers=15"):
        plan_student(text, TEACHER)


def test_a_config_says_how_many_layers_and_how_wide(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"num_hidden_layers": 10, "intermediate_size": 512, "hidden_size": 576}))
    plan = plan_student(str(path), TEACHER)
    assert plan.model == replace(TEACHER, num_layers=10, intermediate_size=512)
    assert len(plan.layers) == 10
    for bad, error in (
        ({"hidden_size": 64}, UsageError),
        ({"num_hidden_layers": "ten"}, FormatError),
        ({"num_hidden_layers": 31}, UsageError),
        ({"intermediate_size": 2048}, UsageError),
    ):
        path.write_text(json.dumps(bad))
        with pytest.raises(error):
            plan_student(str(path), TEACHER)
    path.write_text("{")
    with pytest.raises(FormatError):
        plan_student(str(path), TEACHER)
    with pytest.raises(NotFoundError):
        plan_student(str(tmp_path / "absent.json"), TEACHER)


def test_a_narrower_student_keeps_the_neurons_that_weigh_most(job: DistillJob, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"num_hidden_layers": 3, "intermediate_size": 64}))
    distill_student(replace(job, student=str(path), settings=replace(SETTINGS, steps=1)))
    assert read_manifest(job.output).model.intermediate_size == 64
