"""Arguments and options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pocketseek.cli.completion import complete_installed, complete_model
from pocketseek.cli.run.min_speed import parse_speed
from pocketseek.cli.sizes import parse_size
from pocketseek.settings import parse_temperature_limit

_OWN = "the model's own"  # what its makers recommend, else the defaults of SamplingParams

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Name of an installed model, path of one, or 'demo'.",
        show_default=False,
        autocompletion=complete_model,
    ),
]
AllowOlder = Annotated[
    bool, typer.Option("--allow-older", help="Also a version that is older than one that was here before.")
]
SealedName = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="Name of an installed model, or path of one.",
        show_default=False,
        autocompletion=complete_installed,
    ),
]
DataInstead = Annotated[
    bool, typer.Option("--data", help="Not a model: conversations, documents and what was read of them.")
]
InstalledName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Name of an installed model.", show_default=False, autocompletion=complete_installed
    ),
]
OptionalModelName = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="As for generate; by default the one that is installed.",
        show_default=False,
        autocompletion=complete_model,
    ),
]
Kv = Annotated[
    Literal["f16", "q8"] | None,
    typer.Option(
        "--kv",
        help="How keys and values are kept; q8 takes about half the memory.",
        show_default="POCKETSEEK_KV, else f16",
    ),
]
Memory = Annotated[
    int | None,
    typer.Option(
        "--memory",
        parser=parse_size,
        metavar="SIZE",
        help="Take no more than this in all (3GB); weights that do not fit are read again and again.",
        show_default="what is free",
    ),
]
MinSpeed = Annotated[
    float | None,
    typer.Option(
        "--min-speed",
        parser=parse_speed,
        metavar="TOKENS_PER_S",
        help="If less is expected: int8 keys and values, a smaller context or a smaller installed model of the line.",
        show_default=False,
    ),
]
Engine = Annotated[
    Literal["native", "onnx"] | None,
    typer.Option(
        "--engine",
        help="Who computes: our own core or ONNX Runtime.",
        show_default="POCKETSEEK_ENGINE, else native; onnx for ONNX models",
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="Execution provider of ONNX Runtime: QNN, NNAPI, CoreML, XNNPACK, OpenVINO or CPU.",
        show_default="POCKETSEEK_PROVIDER, else what fits the device",
    ),
]
Trust = Annotated[
    str | None,
    typer.Option(
        "--trust",
        metavar="FINGERPRINT",
        help="Trust the key with this fingerprint, which must have signed the model.",
        show_default=False,
    ),
]
Adapter = Annotated[
    str | None,
    typer.Option(
        "--adapter", metavar="NAME", help="With this adapter of the model (`adapt list`).", show_default=False
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell what ONNX Runtime computes with, and why.")]
TemperatureLimit = Annotated[
    float | None,
    typer.Option(
        "--temperature-limit",
        parser=parse_temperature_limit,
        metavar="CELSIUS",
        help="Slow down so that skin or battery stay below this; 0 or off: do not.",
        show_default="POCKETSEEK_TEMPERATURE_LIMIT, else 45",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
AllowMetered = Annotated[
    bool, typer.Option("--allow-metered", help="Fetch also where the network is paid for by the byte.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer yes to every question.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=0, help="Longest answer, in tokens.", show_default=True)]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", help="Randomness; 0 always takes the likeliest token.", show_default=_OWN),
]
TopK = Annotated[
    int | None, typer.Option("--top-k", help="Choose among the K likeliest tokens; 0: all.", show_default=_OWN)
]
TopP = Annotated[
    float | None, typer.Option("--top-p", help="Choose among the likeliest that make up P; 1: all.", show_default=_OWN)
]
MinP = Annotated[
    float | None, typer.Option("--min-p", help="Leave out tokens below P times the likeliest.", show_default=_OWN)
]
RepetitionPenalty = Annotated[
    float | None,
    typer.Option("--repetition-penalty", help="Above 1: what was said becomes less likely.", show_default=_OWN),
]
PresencePenalty = Annotated[float, typer.Option("--presence-penalty", help="Subtracted once a token was used.")]
FrequencyPenalty = Annotated[float, typer.Option("--frequency-penalty", help="Subtracted for each use of a token.")]
Seed = Annotated[
    int | None,
    typer.Option("--seed", help="The same seed gives the same answer; by default a new one.", show_default=False),
]
PrefixCache = Annotated[
    bool,
    typer.Option("--prefix-cache/--no-prefix-cache", help="Keep what was computed of prompts, on disk too."),
]
Speculation = Annotated[
    bool,
    typer.Option(
        "--speculation/--no-speculation", help="Check guesses of what comes next; faster or not, the same answer."
    ),
]
System = Annotated[
    str | None, typer.Option("--system", help="What the model is told about its role.", show_default=False)
]
