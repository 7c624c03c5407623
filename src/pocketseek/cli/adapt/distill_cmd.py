"""`pocketseek adapt distill TEACHER --student layers=N --data FILE`: a smaller model that says much the same."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pocketseek.adapt.train_libraries import find_training_libraries, require_training_libraries
from pocketseek.cli import options
from pocketseek.cli.adapt import train_messages as says
from pocketseek.cli.adapt import train_options as train_options
from pocketseek.cli.adapt.progress import StepBar, num_threads_of
from pocketseek.cli.console import format_bytes, print_json, print_text
from pocketseek.cli.messages import Words
from pocketseek.cli.run.model_choice import choose_model
from pocketseek.errors import UsageError
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.adapt.distill import DistillResult, Phase


def distill(
    teacher: Annotated[
        str,
        typer.Argument(
            metavar="TEACHER", help="Name of an installed model, path of one, or 'demo'.", show_default=False
        ),
    ],
    student: Annotated[
        str,
        typer.Option(
            metavar="FORM", help="layers=15, layers=0,2,4 or a config.json with fewer layers.", show_default=False
        ),
    ],
    data: train_options.Data,
    name: Annotated[
        str | None, typer.Option(help="Name of the student; default: from teacher and layers.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where it goes, instead of being installed.", show_default=False),
    ] = None,
    quant: Annotated[Literal["q4", "q4-pure", "q8", "keep"], typer.Option(help="Bits of its layers.")] = "q4",
    steps: train_options.Steps = None,
    epochs: train_options.Epochs = None,
    lr: Annotated[float, typer.Option("--lr", help="Learning rate after the warm-up.")] = 1e-4,
    schedule: train_options.ScheduleName = "cosine",
    batch: train_options.Batch = 8,
    context: train_options.Context = 512,
    top_k: Annotated[int, typer.Option(help="Of the teacher's likeliest tokens that are learnt one by one.")] = 64,
    state_weight: Annotated[
        float, typer.Option(help="How much the teacher's last hidden state counts at first; it falls to 0.")
    ] = 1.0,
    match_layers: Annotated[
        bool,
        typer.Option(help="Learn the states between the teacher's layers, too; a third more time."),
    ] = False,
    memory: train_options.TrainMemory = None,
    validation: train_options.Validation = None,
    while_charging: train_options.WhileCharging = False,
    max_heat: train_options.MaxHeat = None,
    checkpoint_every: train_options.CheckpointEvery = 50,
    validate_every: train_options.ValidateEvery = 100,
    seed: train_options.Seed = 0,
    fresh: train_options.Fresh = False,
    replace: train_options.Replace = False,
    trust: options.Trust = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Make a smaller student of an installed model. The same command again goes on with an interrupted one."""
    from pocketseek.adapt.data_file import read_data
    from pocketseek.adapt.distill_plan import plan_student
    from pocketseek.adapt.train_settings import TrainSettings
    from pocketseek.package.manifest import read_manifest

    find_training_libraries()
    settings = read_settings()
    words = Words(settings.language)
    threads = num_threads_of(settings)
    wishes = TrainSettings(
        steps=steps,
        epochs=epochs,
        learning_rate=lr,
        schedule=schedule,
        batch=batch,
        context=context,
        seed=seed,
        memory_bytes=memory,
        num_threads=threads,
    )
    for file in (data,) if validation is None else (data, validation):
        read_data(file)  # before a model is fetched for it
    called, path = choose_model(settings, teacher, yes=yes, trust=trust)
    output = _output(settings, name, out, called, student)
    plan_student(student, read_manifest(path).model)  # what is senseless is told before libraries load for seconds
    require_training_libraries()

    from pocketseek.adapt.distill import DistillJob, distill_student
    from pocketseek.adapt.train_pace import device_pace

    job = DistillJob(
        teacher=path,
        student=student,
        data=data,
        output=output,
        settings=wishes,
        quant=quant,
        top_k=top_k,
        state_weight=state_weight,
        match_layers=match_layers,
        validation=validation,
        checkpoint_every=checkpoint_every,
        validate_every=validate_every,
        fresh=fresh,
        replace=replace,
    )
    with ExitStack() as bars:
        bar = StepBar(words, bars, quiet=json)
        with device_pace(
            settings.home,
            num_threads=threads,
            while_charging=while_charging,
            limit_c=max_heat if max_heat is not None else settings.temperature_limit_c,
            screen_off=settings.screen_off,
            tell=bar.waits,
        ) as pace:
            result = distill_student(job, pace=pace, teller=_Teller(bar))
    if not result.leads:
        return
    if out is None:
        from pocketseek.package.trust.audit import AuditLog

        AuditLog(settings.audit_path).note("model-installed", model=output.name)
    _tell(result, path, words, as_json=json)


def _tell(result: DistillResult, teacher: Path, words: Words, *, as_json: bool) -> None:
    from dataclasses import asdict

    from pocketseek.package.manifest import read_manifest

    manifest, compared = read_manifest(result.output), result.comparison
    if as_json:
        print_json(
            {
                "name": manifest.name,
                "path": str(result.output),
                "num_bytes": manifest.num_bytes,
                "layers": list(result.layers),
                "steps": result.steps,
                "gone_on_from": result.gone_on_from,
                "losses": list(result.losses),
                "validations": [{"step": step, "divergence": nats} for step, nats in result.validations],
                "comparison": None if compared is None else asdict(compared),
                "teacher_cache_bytes": result.teacher_bytes,
                "duration_s": result.duration_s,
            }
        )
        return
    of = read_manifest(teacher).model.num_layers
    print_text(words(says.DISTILLED, layers=len(result.layers), of=of, steps=result.steps, seconds=result.duration_s))
    if compared is not None:
        print_text(
            words(
                says.COMPARED,
                kl=compared.mean_kl,
                top1=100 * compared.top1_agreement,
                perplexity=compared.perplexity,
                reference=compared.reference_perplexity,
            )
        )
    print_text(words(says.STUDENT_WRITTEN, path=shlex.quote(str(result.output)), size=format_bytes(manifest.num_bytes)))


class _Teller:
    def __init__(self, bar: StepBar) -> None:
        self._bar = bar

    def progress(self, phase: Phase, done: int, total: int) -> None:
        self._bar.show(says.DISTILLING[phase], done, total)

    def validated(self, step: int, num_steps: int, divergence: float) -> None:
        self._bar.line(says.DIVERGENCE, step=step, steps=num_steps, nats=divergence)


def _output(settings: Settings, name: str | None, out: Path | None, teacher: str, student: str) -> Path:
    """Raises UsageError."""
    from pocketseek.convert.provenance import sanitised
    from pocketseek.package.store import ModelStore

    if name is not None and out is not None:
        raise UsageError("--name and --out say the same in two ways; give one")
    if out is not None:
        return out.expanduser()
    form = Path(student).stem if student.endswith(".json") else f"{student.removeprefix('layers=')}-layers"
    called = name if name is not None else sanitised(f"{Path(teacher).name}-{form}")
    return ModelStore(settings.models_dir).path_for_new(called)
