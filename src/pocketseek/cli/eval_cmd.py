"""`pocketseek eval MODEL --text FILE`: perplexity on a text."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.console import print_json, print_text, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.cli.model_choice import choose_model, open_engine
from pocketseek.cli.text_input import read_text_file
from pocketseek.settings import read_settings


def evaluate(
    model: options.ModelName,
    text: Annotated[
        Path, typer.Option("--text", metavar="FILE", help="A UTF-8 text file; '-': standard input.", show_default=False)
    ],
    window: Annotated[int, typer.Option(min=2, help="Tokens in a window; windows do not overlap.")] = 512,
    kv: options.Kv = None,
    memory: options.Memory = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Score a text: every token after the first of each window. Lower perplexity is better."""
    from pocketseek.apps.evaluate import evaluate_text
    from pocketseek.kernels.kv_memory import choose_kv_format

    content = read_text_file(text)
    settings = read_settings()
    words = Words(settings.language)
    name, path = choose_model(settings, model, yes=yes)
    with (
        closing(open_engine(settings, path, kv=kv, memory_bytes=memory)) as engine,
        progress_bar(unit="tokens") as show,
    ):
        label = words(messages.SCORING)
        result = evaluate_text(engine, content, window=window, progress=lambda done, total: show(label, done, total))
    if json:
        print_json({"model": name, "kv": choose_kv_format(kv or settings.kv), **dataclasses.asdict(result)})
    else:
        print_text(
            words(
                messages.EVAL_RESULT,
                perplexity=result.perplexity,
                tokens=result.tokens,
                window=result.window,
                seconds=result.duration_s,
            )
        )
