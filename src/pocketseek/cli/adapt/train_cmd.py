"""`pocketseek adapt train MODEL --data FILE`: an adapter learns, the model stays as it is."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.adapt.train_libraries import find_training_libraries, require_training_libraries
from pocketseek.cli import options
from pocketseek.cli.adapt import train_messages as says
from pocketseek.cli.adapt import train_options as train_options
from pocketseek.cli.adapt.adapter_install import install_adapter, place_for
from pocketseek.cli.adapt.progress import StepBar, num_threads_of
from pocketseek.cli.console import print_json, print_text
from pocketseek.cli.messages import Words
from pocketseek.cli.run.model_choice import choose_model
from pocketseek.errors import UsageError
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.adapt.train_job import TrainResult, Validated
    from pocketseek.adapt.train_run import StepReport


def train(
    model: options.ModelName,
    data: train_options.Data,
    name: Annotated[
        str | None, typer.Option(help="Name of the adapter; default: from the data file.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where it goes, instead of being installed.", show_default=False),
    ] = None,
    rank: Annotated[int, typer.Option(min=1, max=256, help="Of each matrix's change.")] = 16,
    alpha: Annotated[
        float | None, typer.Option(help="The change is multiplied by alpha / rank.", show_default="twice the rank")
    ] = None,
    targets: Annotated[
        str, typer.Option(metavar="NAMES", help="all, attention, mlp, or names such as q_proj,v_proj.")
    ] = "all",
    steps: train_options.Steps = None,
    epochs: train_options.Epochs = None,
    lr: Annotated[float, typer.Option("--lr", help="Learning rate after the warm-up.")] = 2e-4,
    schedule: train_options.ScheduleName = "cosine",
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.")] = 0.0,
    batch: train_options.Batch = 8,
    context: train_options.Context = 512,
    memory: train_options.TrainMemory = None,
    validation: train_options.Validation = None,
    while_charging: train_options.WhileCharging = False,
    max_heat: train_options.MaxHeat = None,
    checkpoint_every: train_options.CheckpointEvery = 25,
    validate_every: train_options.ValidateEvery = 50,
    seed: train_options.Seed = 0,
    fresh: train_options.Fresh = False,
    replace: train_options.Replace = False,
    trust: options.Trust = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Train a LoRA adapter on conversations or texts. The same command again goes on with an interrupted training."""
    from pocketseek.adapt.data_file import read_data
    from pocketseek.adapt.train_settings import TrainSettings
    from pocketseek.package.store import ModelStore

    find_training_libraries()
    settings = read_settings()
    words = Words(settings.language)
    threads = num_threads_of(settings)
    wishes = TrainSettings(
        rank=rank,
        alpha=alpha,
        targets=_targets(targets),
        steps=steps,
        epochs=epochs,
        learning_rate=lr,
        schedule=schedule,
        weight_decay=weight_decay,
        batch=batch,
        context=context,
        seed=seed,
        memory_bytes=memory,
        num_threads=threads,
    )
    output = _output(settings, name, out, data)
    destination = None if out is not None else place_for(ModelStore(settings.models_dir), output.name, replace=replace)
    for file in (data,) if validation is None else (data, validation):
        read_data(file)  # before a model is fetched for it
    _, path = choose_model(settings, model, yes=yes, trust=trust)
    require_training_libraries()  # after all that can be told without them: they load for seconds

    from pocketseek.adapt.train_job import TrainJob, train_to_directory
    from pocketseek.adapt.train_pace import device_pace

    job = TrainJob(
        package=path,
        data=data,
        output=output,
        settings=wishes,
        validation=validation,
        checkpoint_every=checkpoint_every,
        validate_every=validate_every,
        fresh=fresh,
        replace=replace,
    )
    limit_c = max_heat if max_heat is not None else settings.temperature_limit_c
    with ExitStack() as bars:
        bar = StepBar(words, bars, quiet=json)
        with device_pace(
            settings.home,
            num_threads=threads,
            while_charging=while_charging,
            limit_c=limit_c,
            screen_off=settings.screen_off,
            tell=bar.waits,
        ) as pace:
            result = train_to_directory(job, pace=pace, teller=_Teller(bar))
    if not result.leads:
        return
    if destination is not None:
        install_adapter(settings, output, path, destination)
    _tell(result, output.name, model, words, is_installed=destination is not None, as_json=json)


def _tell(result: TrainResult, name: str, model: str, words: Words, *, is_installed: bool, as_json: bool) -> None:
    validations = result.validations
    if as_json:
        print_json(
            {
                "name": name,
                "path": str(result.output),
                "installed": is_installed,
                "steps": result.steps,
                "gone_on_from": result.gone_on_from,
                "tokens": result.num_tokens,
                "loss": result.losses[-1],
                "losses": list(result.losses),
                "perplexity_before": validations[0].perplexity if validations else None,
                "perplexity_after": validations[-1].perplexity if validations else None,
                "validations": [{"step": one.step, "perplexity": one.perplexity} for one in validations],
                "num_cut": result.num_cut,
                "planned_bytes": result.planned_bytes,
                "peak_rss_bytes": result.peak_rss_bytes,
                "duration_s": result.duration_s,
            }
        )
        return
    print_text(
        words(
            says.TRAINED,
            steps=result.steps,
            tokens=result.num_tokens,
            first=result.losses[0],
            last=result.losses[-1],
            seconds=result.duration_s,
        )
    )
    if validations:
        print_text(words(says.VALIDATION, before=validations[0].perplexity, after=validations[-1].perplexity))
    message = says.INSTALLED if is_installed else says.WRITTEN
    print_text(words(message, name=name, path=shlex.quote(str(result.output)), model=shlex.quote(model)))


class _Teller:
    def __init__(self, bar: StepBar) -> None:
        self._bar = bar
        self._loss = float("nan")
        self._num_steps = 0

    def began(self, *, num_steps: int, steps_done: int, num_sequences: int, num_tokens: int, num_cut: int) -> None:
        self._num_steps = num_steps
        self._bar.line(says.BEGINNING, tokens=num_tokens, sequences=num_sequences, steps=num_steps)
        if steps_done:
            self._bar.line(says.GOING_ON, done=steps_done, steps=num_steps)
        if num_cut:
            self._bar.line(says.CUT, count=num_cut)
        self._bar.show(says.TRAINING, steps_done, num_steps)

    def stepped(self, report: StepReport, num_steps: int) -> None:
        self._loss = report.loss
        self._bar.show(says.TRAINING, report.step, num_steps)

    def validated(self, found: Validated) -> None:
        if found.step == 0:
            self._bar.line(says.VALIDATED_BEFORE, perplexity=found.perplexity)
        else:
            self._bar.line(
                says.VALIDATED, step=found.step, steps=self._num_steps, loss=self._loss, perplexity=found.perplexity
            )


def _targets(text: str) -> tuple[str, ...]:
    from pocketseek.adapt.train_settings import TARGETS

    groups = {"all": tuple(TARGETS), "attention": tuple(TARGETS)[:4], "mlp": tuple(TARGETS)[4:]}
    return groups[text] if text in groups else tuple(part.strip() for part in text.split(",") if part.strip())


def _output(settings: Settings, name: str | None, out: Path | None, data: Path) -> Path:
    """Raises UsageError."""
    from pocketseek.convert.provenance import sanitised
    from pocketseek.package.paths import check_model_name

    if name is not None and out is not None:
        raise UsageError("--name and --out say the same in two ways; give one")
    if out is not None:
        return out.expanduser()
    return settings.adapters_dir / check_model_name(name if name is not None else sanitised(data.stem) or "adapter")
