"""`pocketseek doc ask WHAT "question"`: an answer out of documents, with quotes that are really there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import doc_library_messages as said
from pocketseek.cli import doc_summarize_cmd, messages, options
from pocketseek.cli.console import AnswerPrinter, note, print_json, print_text
from pocketseek.cli.doc_collection_cmd import Password, found_facts, open_store, place_facts, place_line
from pocketseek.cli.doc_extraction import run_extraction
from pocketseek.cli.engine_choice import EngineOptions
from pocketseek.cli.heat_note import HeatNote
from pocketseek.cli.messages import Words
from pocketseek.cli.model_choice import choose_model, open_engine, sampling_params
from pocketseek.cli.text_input import MAX_PROMPT_BYTES, read_stdin_line, read_text_file
from pocketseek.errors import UsageError
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.apps.doc.answer import AnswerPrompt
    from pocketseek.apps.doc.ask import Asker, Looked, Reply
    from pocketseek.apps.doc.citations import Citation
    from pocketseek.apps.doc.document import Document
    from pocketseek.apps.doc.extract import Json
    from pocketseek.apps.doc.passage_index import Scope
    from pocketseek.apps.doc.store import DocumentStore
    from pocketseek.runtime.engine import Engine
    from pocketseek.types import SamplingParams, TextEvent


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
        str | None, typer.Option("--model", metavar="MODEL", help="Who answers.", show_default="the installed one")
    ] = None,
    go_on: Annotated[bool, typer.Option("--continue", help="The question follows the last one about this.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Keep the file's text, questions and answers; see doc list.")
    ] = True,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Read all of the file, for questions about all of it; see doc summarize --focus."),
    ] = False,
    schema: Annotated[
        Path | None,
        typer.Option(
            "--schema", metavar="FILE", help="Read all and fill in this JSON schema instead.", show_default=False
        ),
    ] = None,
    password: Password = None,
    max_tokens: options.MaxTokens = 512,
    temperature: options.Temperature = 0.0,
    seed: options.Seed = None,
    kv: options.Kv = None,
    memory: options.Memory = None,
    temperature_limit: options.TemperatureLimit = None,
    engine: options.Engine = None,
    provider: options.Provider = None,
    verbose: options.Verbose = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Answer a question out of documents, with citations. What is not in them is said to be not in them."""
    settings = read_settings()
    _check(question, json=json, whole=whole, schema=schema, go_on=go_on)
    if whole:
        doc_summarize_cmd.summarize(
            file=_file_of(settings, what),
            model=model,
            focus=question or "",
            kv=kv,
            memory=memory,
            temperature_limit=temperature_limit,
            engine=engine,
            provider=provider,
            verbose=verbose,
            yes=yes,
            json=json,
        )
        return
    with _store(settings, what, keep=keep) as store, ExitStack() as stack:

        def opened() -> tuple[str, Engine, SamplingParams]:
            name, path = choose_model(settings, model, yes=yes, may_be_onnx=True)
            sampling = sampling_params(path, temperature=temperature, seed=seed)
            engine_of_it = open_engine(
                settings,
                path,
                kv=kv,
                memory_bytes=memory,
                temperature_limit_c=temperature_limit,
                engine=EngineOptions(engine, provider, verbose),
                quiet=json,
            )
            return name, stack.enter_context(closing(engine_of_it)), sampling

        if schema is not None:
            parsed = _schema(schema)
            document = _single_document(store, _scope(store, what, password), what)
            name, opened_engine, _ = opened()
            run_extraction(document, opened_engine, parsed, question or "", Words(settings.language), name, quiet=json)
            return
        talk = _Talk(
            _asker(store, _scope(store, what, password), keeps=keep),
            _Lazy(opened),
            Words(settings.language),
            max_tokens,
            quiet=json,
        )
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


class _Lazy:
    """The model, opened when it is first needed."""

    def __init__(self, opened: Callable[[], tuple[str, Engine, SamplingParams]]) -> None:
        self._opened = opened
        self._parts: tuple[str, Engine, SamplingParams] | None = None

    def __call__(self) -> tuple[str, Engine, SamplingParams]:
        self._parts = self._parts or self._opened()
        return self._parts


class _Talk:
    """Questions and answers in the terminal."""

    def __init__(self, asker: Asker, model: _Lazy, words: Words, max_tokens: int, *, quiet: bool) -> None:
        self._asker = asker
        self._model = model
        self.words = words
        self._max_tokens = max_tokens
        self._quiet = quiet

    def answer(self, question: str, *, follows: bool) -> None:
        from pocketseek.apps.doc.ask import prompt_for

        start_s = time.perf_counter()
        looked = self._asker.look(question, follows=follows)
        if not looked.found:
            self._tell(looked, None, self._asker.reply(looked, (), ""), {}, start_s)
            return
        name, engine, sampling = self._model()
        prompt = prompt_for(engine, looked, max_tokens=self._max_tokens)
        events = self._streamed(engine, prompt, sampling)
        text = "".join(event.text for event in events)
        reply = self._asker.reply(looked, prompt.passages, text)
        facts: dict[str, object] = {
            "model": name,
            "finish_reason": events[-1].finish_reason,
            "completion_tokens": events[-1].num_tokens,
        }
        self._tell(looked, prompt, reply, facts, start_s)

    def _streamed(self, engine: Engine, prompt: AnswerPrompt, sampling: SamplingParams) -> list[TextEvent]:
        printer, events = AnswerPrinter(), []
        heat = HeatNote(self.words)
        try:
            for event in engine.stream_text(list(prompt.messages), max_tokens=self._max_tokens, sampling=sampling):
                events.append(event)
                if not self._quiet:
                    printer.write(event.text, event.reasoning)
        finally:
            printer.end()
        if not self._quiet:
            heat.see(engine.thermal_status())
        return events

    def _tell(
        self, looked: Looked, prompt: AnswerPrompt | None, reply: Reply, facts: dict[str, object], start_s: float
    ) -> None:
        if self._quiet:
            print_json(
                {
                    **facts,
                    "question": looked.question,
                    "answer": reply.answer,
                    "not_in_document": not reply.is_there,
                    "citations": [_citation_facts(citation) for citation in reply.citations],
                    "dropped": list(reply.dropped),
                    "passages": [found_facts(passage) for passage in (prompt.passages if prompt else ())],
                    "seconds": time.perf_counter() - start_s,
                }
            )
        elif prompt is None:
            print_text(self.words(said.NOT_IN_DOCUMENT))
            note(self.words(said.NO_PASSAGE))
        else:
            if facts["finish_reason"] == "length":
                note(self.words(messages.CHAT_CUT))
            self._tell_sources(reply)

    def _tell_sources(self, reply: Reply) -> None:
        if not reply.is_there:
            return
        if reply.dropped:
            note(self.words(said.DROPPED, marks=" ".join(f"[{number}]" for number in reply.dropped)))
        if not reply.citations:
            note(self.words(said.NO_SOURCE))
            return
        if not reply.citations[0].is_marked:
            note(self.words(said.UNMARKED))
        print_text("\n" + self.words(said.SOURCES))
        for one in reply.citations:
            place = place_line(self.words, one.title, one.place, one.heading)
            print_text(f"[{one.number}] {place}\n    “{one.quote}”")


@contextmanager
def _store(settings: Settings, what: str, *, keep: bool) -> Iterator[DocumentStore]:
    """A file that is not to be kept goes into a store of its own, for this command; what else is asked is kept."""
    is_kept = keep or not Path(what).expanduser().is_file()
    with ExitStack() as stack:
        folder = None if is_kept else Path(stack.enter_context(TemporaryDirectory(prefix="pocketseek-")))
        yield stack.enter_context(open_store(settings, folder))


def _schema(path: Path) -> dict[str, Json]:
    from pocketseek.apps.doc.extract import parse_schema

    return parse_schema(read_text_file(path, MAX_PROMPT_BYTES))


def _single_document(store: DocumentStore, scope: Scope, what: str) -> Document:
    if scope.document_id is None:
        raise UsageError(f"{what!r:.60} is a collection; name one of its documents")
    return store.document(scope.document_id)


def _file_of(settings: Settings, what: str) -> Path:
    """The file itself, or that of a kept document."""
    from pocketseek.apps.doc.collections import paths_meant

    path = Path(what).expanduser()
    if path.exists():
        return path
    with open_store(settings) as store:
        if any(one.name == what for one in store.collections()):
            raise UsageError(f"{what!r:.60} is a collection; --whole reads one document")
        return paths_meant(store, what)[0]


def _scope(store: DocumentStore, what: str, password: str | None) -> Scope:
    from pocketseek.apps.doc.ask import scope_of
    from pocketseek.apps.doc.read import read_document

    return scope_of(store, what, partial(read_document, password=password))


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


def _citation_facts(citation: Citation) -> dict[str, object]:
    facts = asdict(citation)
    del facts["place"], facts["document_id"]
    return {**facts, "document": citation.document_id, **place_facts(citation.place), "heading": list(citation.heading)}
