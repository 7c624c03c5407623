"""Training an adapter on a package: `train_adapter` for those who have examples, and how a training is opened.

torch is imported by what is called here, not by importing this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.adapt.data_file import Example
from pocketseek.adapt.data_tokens import TokenData, encode_examples
from pocketseek.adapt.train_libraries import require_training_libraries
from pocketseek.adapt.train_memory import USUAL_TOKENS, TrainMemory, plan_memory
from pocketseek.adapt.train_settings import TrainSettings
from pocketseek.adapt.train_tensors import (
    AdapterTensors,
    Floats,
    adapter_shapes,
    check_tensors,
    initial_tensors,
)
from pocketseek.convert.dense_only import require_dense
from pocketseek.device.memory_watch import MemoryWatch
from pocketseek.errors import UnsupportedError, UsageError
from pocketseek.govern.elastic import ElasticBudget
from pocketseek.package.reader import Package
from pocketseek.package.sealing.seal_record import read_record
from pocketseek.package.trust.gatekeeper import Gatekeeper
from pocketseek.runtime.opening import template_of
from pocketseek.settings import read_settings
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pocketseek.adapt.data_tokens import TokenSequence
    from pocketseek.adapt.train_run import StepReport, TrainingRun
    from pocketseek.adapt.train_team import Team


@dataclass(frozen=True, eq=False)
class TrainedAdapter:
    """tensors: by PEFT's names. losses: nats per token, of each step's batch before the step. num_tokens: learnt from,
    each as often as it was."""

    tensors: AdapterTensors
    losses: tuple[float, ...]
    num_tokens: int


def train_adapter(
    package_dir: Path,
    examples: Sequence[Example],
    settings: TrainSettings | None = None,
    start: Mapping[str, Floats] | None = None,
    proximal_mu: float = 0.0,
    *,
    tell: Callable[[StepReport], None] | None = None,
) -> TrainedAdapter:
    """Train on all examples and return what came of it; nothing is written. See TrainSettings for the rest.

    start: the adapter to begin with, of this model, rank and targets; None: a fresh one. proximal_mu: how strongly it
    is pulled back to where it began (FedProx). tell: is told of every step.
    Raises UsageError, FormatError, UnsupportedError (a library, or a kind of model), MemoryLimitError,
    ModelOutputError (the loss is no number), and what opening a package raises.
    """
    settings = settings or TrainSettings()
    if not (math.isfinite(proximal_mu) and proximal_mu >= 0):
        raise UsageError(f"proximal_mu is {proximal_mu}; use 0 (off) or a positive number such as 0.01")
    require_training_libraries()
    with open_plain(package_dir) as package:
        data = tokens_of(package, examples, settings)
        with opened_run(package, data.sequences, settings, start=start, proximal_mu=proximal_mu) as opened:
            run = opened.run
            while not run.is_done:
                report = run.step()
                if tell is not None:
                    tell(report)
            return TrainedAdapter(run.tensors(), tuple(run.losses), run.num_tokens)


def open_plain(package_dir: Path) -> Package:
    """As `Package.open`, if this device may use it (TrustError); UnsupportedError for a sealed one, whose weights exist
    in the clear in the runtime alone."""
    if read_record(package_dir) is not None:
        raise UnsupportedError(
            f"{package_dir} is sealed, and sealed models cannot be trained on yet; open it with `pocketseek unseal`"
        )
    return Package.open(package_dir, admit=Gatekeeper.of(read_settings()).admit)


def tokens_of(
    package: Package, examples: Sequence[Example], settings: TrainSettings, source: str = "the data"
) -> TokenData:
    """Raises UsageError if there are none, or the context is too long; FormatError, TemplateError."""
    if not examples:
        raise UsageError("there are no examples to learn from; give at least one")
    require_dense(package.manifest.model, "training", "train a dense model")
    most = package.manifest.model.context_length
    if settings.context > most:
        raise UsageError(f"the model has a context of {most} tokens; give a --context of that or less")
    text_settings = parse_text_settings(package.file("text.json"))
    tokenizer = Tokenizer.from_json(package.file("tokenizer.json"), text_settings)
    template = template_of(package, text_settings)
    return encode_examples(examples, tokenizer, template, context=settings.context, source=source)


@dataclass(frozen=True)
class OpenedRun:
    run: TrainingRun[TokenSequence]
    team: Team
    memory: TrainMemory


@contextmanager
def opened_run(
    package: Package,
    sequences: Sequence[TokenSequence],
    settings: TrainSettings,
    *,
    start: Mapping[str, Floats] | None = None,
    proximal_mu: float = 0.0,
    most_tokens: int = USUAL_TOKENS,
    longest: int = 0,
    between: Callable[[float], None] = lambda seconds: None,
) -> Iterator[OpenedRun]:
    """most_tokens: at once. longest: of sequences that are only validated with. between: as of TrainingRun."""
    from pocketseek.adapt.torch_model import LoraModel
    from pocketseek.adapt.torch_weights import TorchWeights
    from pocketseek.adapt.train_run import TrainingRun
    from pocketseek.adapt.train_team import Team, torch_threads

    model = package.manifest.model
    shapes = adapter_shapes(model, settings.rank, settings.targets)
    if start is not None:
        check_tensors(start, shapes)
    else:
        start = initial_tensors(model, settings.rank, settings.targets, settings.seed)
    with torch_threads(settings.num_threads):
        team = Team()
        weights = TorchWeights(package, team.device)
        longest = max(longest, max(len(sequence.ids) for sequence in sequences))
        num_parameters = sum(rows * columns for rows, columns in shapes.values())
        memory = plan_memory(model, num_parameters, longest, training_budget(settings), most_tokens)
        weights.pin_layers(memory.num_pinned_layers)
        if memory.pins_head:
            weights.pin_head()
        lora = LoraModel(weights, start, settings.scale)
        run = TrainingRun(
            lora,
            sequences,
            settings,
            team,
            micro_tokens=memory.micro_tokens,
            proximal_mu=proximal_mu,
            between=between,
        )
        yield OpenedRun(run, team, memory)


def training_budget(settings: TrainSettings) -> int:
    """What the process may take in all, now."""
    return ElasticBudget(cap_bytes=settings.memory_bytes).update(MemoryWatch().read(), 0.0)
