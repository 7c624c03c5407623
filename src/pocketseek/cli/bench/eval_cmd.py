"""`pocketseek eval MODEL --text FILE`: perplexity on a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.bench import bench_messages
from pocketseek.cli.console import print_json, print_text, progress_bar
from pocketseek.cli.guard.key_options import KeyCommand, KeyFile, KeyOptions, secret_for
from pocketseek.cli.messages import Words
from pocketseek.cli.run.engine_choice import EngineOptions, engine_facts, prepare_engine, tell_change, tell_provider
from pocketseek.cli.run.model_choice import choose_model, open_engine
from pocketseek.cli.text_input import read_text_file
from pocketseek.errors import UsageError
from pocketseek.settings import read_settings
from pocketseek.types import EngineKind

if TYPE_CHECKING:
    from pocketseek.kernels.divergence import Comparison
    from pocketseek.package.sealing.key_slots import Secret


def evaluate(
    model: options.ModelName,
    text: Annotated[
        list[Path],
        typer.Option(
            "--text",
            metavar="FILE",
            help="A UTF-8 text file; '-': standard input. With --against several times, one for each kind.",
            show_default=False,
        ),
    ],
    window: Annotated[int, typer.Option(min=2, help="Tokens in a window; windows do not overlap.")] = 512,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="MODEL",
            help="Compare with this one of the same tokenizer: with more bits say, or as ONNX model.",
            show_default=False,
        ),
    ] = None,
    kv: options.Kv = None,
    memory: options.Memory = None,
    adapter: options.Adapter = None,
    engine: options.Engine = None,
    provider: options.Provider = None,
    key_file: KeyFile = None,
    key_command: KeyCommand = None,
    trust: options.Trust = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Score a text: every token after the first of each window. Lower perplexity is better. Or compare two models."""
    from pocketseek.apps.evaluate import evaluate_text
    from pocketseek.kernels.kv_memory import choose_kv_format

    contents = {path.stem: read_text_file(path) for path in text}
    if len(contents) < len(text):
        raise UsageError("two texts have the same name; rename one, since results are told by name")
    if against is None and len(contents) > 1:
        raise UsageError("several texts go with --against; score them one after another")
    settings = read_settings()
    words = Words(settings.language)
    engine_options, key = EngineOptions(engine, provider), KeyOptions(key_file, key_command)
    name, path = choose_model(settings, model, yes=yes, may_be_onnx=True, trust=trust)
    if against is not None:
        if memory is not None or kv is not None or adapter is not None:
            raise UsageError(
                "--against compares weights, with all of them in memory; leave --memory, --kv and --adapter out"
            )
        other = choose_model(settings, against, yes=yes, may_be_onnx=True)
        kind = prepare_engine(settings, path, engine_options, quiet=json)
        secrets = secret_for(path, settings, key), secret_for(other[1], settings, key)
        _compare(name, path, kind, engine_options, other, secrets, contents, window, words, as_json=json)
        return
    (content,) = contents.values()
    with (
        closing(
            open_engine(
                settings,
                path,
                kv=kv,
                memory_bytes=memory,
                engine=engine_options,
                key=key,
                adapter=adapter,
                quiet=json,
            )
        ) as opened,
        progress_bar(unit="tokens") as show,
    ):
        label = words(bench_messages.SCORING)
        result = evaluate_text(opened, content, window=window, progress=lambda done, total: show(label, done, total))
    tell_change(opened.provider_choice, words, engine_options, quiet=json)
    if json:
        with_adapter = {} if adapter is None else {"adapter": adapter}
        facts = {
            "model": name,
            **with_adapter,
            "kv": choose_kv_format(kv or settings.kv),
            **engine_facts(opened.provider_choice),
        }
        print_json({**facts, **dataclasses.asdict(result)})
    else:
        print_text(
            words(
                bench_messages.EVAL_RESULT,
                perplexity=result.perplexity,
                tokens=result.tokens,
                window=result.window,
                seconds=result.duration_s,
            )
        )


def _compare(
    name: str,
    path: Path,
    kind: EngineKind,
    engine: EngineOptions,
    other: tuple[str, Path],
    secrets: tuple[Secret | None, Secret | None],
    contents: Mapping[str, str],
    window: int,
    words: Words,
    *,
    as_json: bool,
) -> None:
    from pocketseek.apps.compare_models import compare_texts
    from pocketseek.runtime.window_logits import WindowLogits

    with (
        closing(WindowLogits(path, window=window, engine=kind, provider=engine.provider, secret=secrets[0])) as model,
        closing(WindowLogits(other[1], window=window, secret=secrets[1])) as reference,
        progress_bar(unit="tokens") as show,
    ):
        if window > model.context_length:
            raise UsageError(f"the window is {window}; use 2 to {model.context_length}, the model's context")
        for opened in (model, reference):
            tell_provider(opened.provider_choice, words, engine, quiet=as_json)
        label = words(bench_messages.SCORING)
        texts = {title: model.tokenizer.encode(content) for title, content in contents.items()}
        kinds, result = compare_texts(
            model, reference, texts, window=window, progress=lambda done, total: show(label, done, total)
        )
    tell_change(model.provider_choice, words, engine, quiet=as_json)
    if as_json:
        by_kind = {"kinds": {title: dataclasses.asdict(one) for title, one in kinds.items()}} if len(kinds) > 1 else {}
        facts = {"model": name, "against": other[0], "window": window, **engine_facts(model.provider_choice)}
        print_json({**facts, **dataclasses.asdict(result), **by_kind})
        return
    if len(kinds) > 1:
        for title, one in kinds.items():
            print_text(f"{title}: {_sentence(one, words)}")
        print_text(f"{words(messages.HELD_OUT_ALL)}: {_sentence(result, words)}")
    else:
        print_text(_sentence(result, words))


def _sentence(found: Comparison, words: Words) -> str:
    return words(
        bench_messages.COMPARE_RESULT,
        mean_kl=found.mean_kl,
        p99_kl=found.p99_kl,
        top1=100 * found.top1_agreement,
        perplexity=found.perplexity,
        reference=found.reference_perplexity,
        positions=found.positions,
    )
