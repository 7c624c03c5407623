"""Options that `adapt federate server` and `simulate` share: they are the plan (adapt/federated/plan.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Name = Annotated[
    str, typer.Option(help="Of the federation; its log, state and adapter lie in federations/NAME.", show_default=True)
]
Rounds = Annotated[
    int, typer.Option(min=1, help="Rounds in all, those too that change nothing; a larger number goes on later.")
]
MinClients = Annotated[int, typer.Option(min=1, help="Devices that a round needs; fewer answers change nothing.")]
SampleRate = Annotated[float, typer.Option(help="Probability with which a device that is there is asked.")]
LocalSteps = Annotated[int, typer.Option(min=1, help="Training steps of a device in a round.")]
Lr = Annotated[float, typer.Option("--lr", help="Learning rate on the devices.")]
Batch = Annotated[int, typer.Option(min=1, help="Sequences that a step learns from.")]
Context = Annotated[int, typer.Option(min=8, help="Longest sequence, in tokens.")]
Rank = Annotated[int, typer.Option(min=1, max=256, help="Of each matrix's change.")]
Alpha = Annotated[
    float | None, typer.Option(help="Changes are multiplied by alpha / rank.", show_default="twice the rank")
]
Targets = Annotated[str, typer.Option(metavar="NAMES", help="all, attention, mlp, or names such as q_proj,v_proj.")]
ClipNorm = Annotated[float, typer.Option(help="What every device shortens its change to.")]
Noise = Annotated[float, typer.Option(help="Noise in the sum, as a multiple of the clip norm; 0: none.")]
Delta = Annotated[float, typer.Option(help="Of the epsilon that is told.")]
ProximalMu = Annotated[float, typer.Option(help="FedProx: pull towards the common adapter; 0: FedAvg.")]
Weigh = Annotated[
    Literal["equal", "tokens"], typer.Option(help="What a device counts for; tokens only without --secure and noise.")
]
Secure = Annotated[bool, typer.Option("--secure/--open", help="The server sees sums only (SecAgg+), or each answer.")]
Validation = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Tell perplexity of this after each round.", show_default=False)
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Do not go on with what is there; begin anew.")]
Seed = Annotated[int, typer.Option(min=0, help="For the adapter's beginning and the devices' batches.")]
RoundS = Annotated[float, typer.Option("--round-seconds", min=1, help="Who has not answered by then is absent.")]
GiveUpS = Annotated[
    float, typer.Option("--give-up-seconds", min=1, help="End if for so long there were too few devices for a round.")
]
Install = Annotated[
    str | None,
    typer.Option("--install", metavar="NAME", help="Install the adapter under this name.", show_default=False),
]
Sign = Annotated[
    bool, typer.Option("--sign", help="Sign what is installed with the only key in keys/, as the next release.")
]
