"""`pocketseek doc ask WHAT "question"`: an answer out of documents, with quotes that are really there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.completion import complete_model
from pocketseek.cli.doc import library_messages as said
from pocketseek.cli.doc.collection_cmd import open_store
from pocketseek.cli.doc.extraction import run_extraction
from pocketseek.cli.doc.reading import Comments, FileReader, Ocr, Password, file_reader
from pocketseek.cli.doc.summarize_cmd import answering_identity
from pocketseek.cli.doc.talk import LazyModel, OpenedModel, Talk
from pocketseek.cli.doc.whole import run_whole
from pocketseek.cli.guard.key_options import KeyCommand, KeyFile, KeyOptions
from pocketseek.cli.messages import Words
from pocketseek.cli.run.engine_choice import EngineOptions, tell_change
from pocketseek.cli.run.model_choice import choose_model, open_engine, opened_sampling, sampling_params
from pocketseek.cli.text_input import MAX_PROMPT_BYTES, read_stdin_line, read_text_file
from pocketseek.errors import UsageError
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.apps.doc.ask import Asker
    from pocketseek.apps.doc.extract import ExtractionOptions
    from pocketseek.apps.doc.passage_index import Scope
    from pocketseek.apps.doc.store import DocumentStore

_MAX_TOKENS = 512


def ask(
    what: Annotated[
        str,
        typer.Argument(metavar="FILE|COLLECTION", help="A file, a collection or a kept document.", show_default=False),
    ],
    question: Annotated[
        str | None,
        typer.Argument(
            metavar="QUESTION",
            help="None: questions from standard input, each following the one before.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Who answers.",
            show_default="the installed one",
            autocompletion=complete_model,
        ),
    ] = None,
    go_on: Annotated[bool, typer.Option("--continue", help="The question follows the last one about this.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Keep the file's text, questions and answers; see doc list.")
    ] = True,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Read all of the file or collection, for questions about all of it."),
    ] = False,
    schema: Annotated[
        Path | None,
        typer.Option(
            "--schema", metavar="FILE", help="Read all and fill in this JSON schema instead.", show_default=False
        ),
    ] = None,
    password: Password = None,
    comments: Comments = False,
    ocr: Ocr = False,
    max_tokens: options.MaxTokens = _MAX_TOKENS,
    temperature: options.Temperature = 0.0,
    seed: options.Seed = None,
    kv: options.Kv = None,
    memory: options.Memory = None,
    adapter: options.Adapter = None,
    temperature_limit: options.TemperatureLimit = None,
    engine: options.Engine = None,
    provider: options.Provider = None,
    key_file: KeyFile = None,
    key_command: KeyCommand = None,
    trust: options.Trust = None,
    verbose: options.Verbose = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Answer a question out of documents, with citations. What is not in them is said to be not in them."""
    settings = read_settings()
    start_s = time.perf_counter()
    _check(question, json=json, whole=whole, schema=schema, go_on=go_on)
    if whole or schema is not None:
        _check_fixed("--whole" if whole else "--schema", max_tokens, temperature, seed)
    extraction = None if schema is None else _extraction_options(schema, question or "")
    words = Words(settings.language)
    reading = partial(file_reader, words, password=password, comments=comments, ocr=ocr, quiet=json)
    with _store(settings, what, keep=keep) as store, ExitStack() as stack:
        scope = _scope(store, what, reading)

        def opened() -> OpenedModel:
            name, path = choose_model(settings, model, yes=yes, may_be_onnx=True, trust=trust)
            sampling_params(path, temperature=temperature, seed=seed)  # a mistake is told before anything is opened
            engine_options = EngineOptions(engine, provider, verbose)
            identity = answering_identity(settings, path, engine_options, kv, adapter)
            engine_of_it = open_engine(
                settings,
                path,
                kv=kv,
                memory_bytes=memory,
                prefix_on_disk=False,
                temperature_limit_c=temperature_limit,
                engine=engine_options,
                key=KeyOptions(key_file, key_command),
                adapter=adapter,
                quiet=json,
            )
            stack.enter_context(closing(engine_of_it))
            stack.callback(lambda: tell_change(engine_of_it.provider_choice, words, engine_options, quiet=json))
            sampling = opened_sampling(engine_of_it, temperature=temperature, seed=seed)
            return OpenedModel(name, engine_of_it, sampling, identity)

        if whole:
            run_whole(settings, store, scope, question or "", opened(), keep=keep, quiet=json, start_s=start_s)
            return
        if extraction is not None:
            number = _single_document(scope, what)
            run_extraction(settings, store, number, opened(), extraction, keep=keep, quiet=json, start_s=start_s)
            return
        talk = Talk(_asker(store, scope, keeps=keep), LazyModel(opened), words, max_tokens, quiet=json)
        if question is not None:
            talk.answer(question, follows=go_on)
            return
        for number, line in enumerate(_questions(talk.words)):
            talk.answer(line, follows=go_on or number > 0)


def _check(question: str | None, *, json: bool, whole: bool, schema: Path | None, go_on: bool) -> None:
    if whole and schema is not None:
        raise UsageError("--schema reads the whole file anyway; leave out --whole")
    if go_on and (whole or schema is not None):
        raise UsageError("--continue is for questions to passages; leave it out")
    if question is None and (whole or (json and schema is None)):
        raise UsageError(f"{'--whole' if whole else '--json'} answers one question; give it")


def _check_fixed(option: str, max_tokens: int, temperature: float | None, seed: int | None) -> None:
    """What reads all of a document decides these itself: a run that was stopped goes on only if nothing differs."""
    given = [
        name
        for name, is_given in (
            ("--max-tokens", max_tokens != _MAX_TOKENS),
            ("--temperature", temperature != 0.0),
            ("--seed", seed is not None),
        )
        if is_given
    ]
    if given:
        raise UsageError(f"{option} reads at temperature 0 and decides lengths itself; leave out {', '.join(given)}")


@contextmanager
def _store(settings: Settings, what: str, *, keep: bool) -> Iterator[DocumentStore]:
    """A file that is not to be kept goes into a store of its own, in memory; what else is asked is kept already."""
    is_kept = keep or not Path(what).expanduser().is_file()
    with open_store(settings, in_memory=not is_kept) as store:
        yield store


def _extraction_options(path: Path, question: str) -> ExtractionOptions:
    from pocketseek.apps.doc.extract import ExtractionOptions, parse_schema

    return ExtractionOptions(parse_schema(read_text_file(path, MAX_PROMPT_BYTES)), question)


def _single_document(scope: Scope, what: str) -> int:
    if scope.document_id is None:
        raise UsageError(f"{what!r:.60} is a collection; name one of its documents")
    return scope.document_id


def _scope(store: DocumentStore, what: str, reading: Callable[[], AbstractContextManager[FileReader]]) -> Scope:
    from pocketseek.apps.doc.ask import scope_of

    with reading() as reader:
        return scope_of(store, what, reader, reader.extras)


def _asker(store: DocumentStore, scope: Scope, *, keeps: bool) -> Asker:
    from pocketseek.apps.doc.ask import Asker

    return Asker(store, scope, keeps=keeps)


def _questions(words: Words) -> Iterator[str]:
    """Lines until an empty one or the end."""
    while True:
        if sys.stdin.isatty():
            print(words(said.ASK_PROMPT), end="", file=sys.stderr, flush=True)
        line = read_stdin_line().strip()
        if not line:
            return
        yield line
