"""Options that `adapt train` and `adapt distill` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pocketseek.cli.sizes import parse_size
from pocketseek.settings import parse_temperature_limit

Data = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="FILE",
        help="What to learn from: .jsonl with conversations or texts, a line each, or .txt.",
        show_default=False,
    ),
]
Validation = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Of the same kinds; told is how well it is predicted. By default a twentieth of the data is set aside.",
        show_default=False,
    ),
]
Steps = Annotated[
    int | None, typer.Option(min=1, help="How often weights are changed; in place of --epochs.", show_default=False)
]
Epochs = Annotated[
    float | None, typer.Option(help="How often the data is gone through.", show_default="3, unless --steps")
]
Batch = Annotated[int, typer.Option(min=1, help="Sequences that a step learns from.")]
Context = Annotated[int, typer.Option(min=8, help="Longest sequence, in tokens; longer texts are cut.")]
ScheduleName = Annotated[
    Literal["cosine", "linear", "constant"], typer.Option(help="How the learning rate falls after the warm-up.")
]
TrainMemory = Annotated[
    int | None,
    typer.Option(
        "--memory",
        parser=parse_size,
        metavar="SIZE",
        help="Take no more than this in all (3GB).",
        show_default="what is free",
    ),
]
WhileCharging = Annotated[bool, typer.Option("--while-charging", help="Wait whenever the device is not being charged.")]
MaxHeat = Annotated[
    float | None,
    typer.Option(
        "--max-heat",
        parser=parse_temperature_limit,
        metavar="CELSIUS",
        help="Rest so that skin or battery stay below this; 0 or off: do not.",
        show_default="POCKETSEEK_TEMPERATURE_LIMIT, else 45",
    ),
]
CheckpointEvery = Annotated[int, typer.Option(min=1, help="Steps between states that an interrupted run goes on from.")]
ValidateEvery = Annotated[int, typer.Option(min=1, help="Steps between validations.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed, data and machine give the same result.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Do not go on with an interrupted run; begin anew.")]
Replace = Annotated[bool, typer.Option("--replace", help="What is there already gives way when the new one is done.")]
