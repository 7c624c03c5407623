"""`pocketseek doc summarize FILE`: a summary of the whole file, however long; stopped at any moment, it goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pocketseek.apps.doc.chunk import DEFAULT_CHUNK_TOKENS
from pocketseek.apps.doc.summary_events import LEAST_WORDS, LENGTHS, MEDIUM_WORDS, MOST_WORDS
from pocketseek.cli import options
from pocketseek.cli.completion import complete_model
from pocketseek.cli.console import AnswerPrinter, note, print_json, print_text
from pocketseek.cli.doc import doc_messages
from pocketseek.cli.doc.reading import Comments, Ocr, Password, file_reader
from pocketseek.cli.guard.key_options import KeyCommand, KeyFile, KeyOptions
from pocketseek.cli.guard.state_key import state_key
from pocketseek.cli.messages import Words
from pocketseek.cli.run.engine_choice import EngineOptions, engine_facts, is_onnx, tell_change
from pocketseek.cli.run.heat_note import HeatNote, heat_facts
from pocketseek.cli.run.model_choice import adapter_paths, choose_model, open_engine
from pocketseek.errors import UsageError
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.apps.doc.document import Document
    from pocketseek.apps.doc.jobs import Job, JobRequest
    from pocketseek.apps.doc.summary_events import Planned, Summary, SummaryOptions
    from pocketseek.runtime.engine import Engine

_LEAST_CHUNK_TOKENS = 512


def parse_length(text: str | int) -> int:
    """Words of the summary. Raises UsageError."""
    value = str(text).strip().lower()
    if value in LENGTHS:
        return LENGTHS[value]
    if value.isascii() and value.isdigit() and len(value) < 9 and LEAST_WORDS <= int(value) <= MOST_WORDS:
        return int(value)
    names = ", ".join(LENGTHS)
    raise UsageError(
        f"{value[:40]!r} is no length; use {names} or a number of words from {LEAST_WORDS} to {MOST_WORDS}"
    )


def summarize(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The document.", show_default=False)],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="As for chat.",
            show_default="the one that is installed",
            autocompletion=complete_model,
        ),
    ] = None,
    focus: Annotated[
        str, typer.Option("--focus", metavar="QUESTION", help="What the summary is to answer.", show_default=False)
    ] = "",
    length: Annotated[
        int,
        typer.Option(
            "--length", parser=parse_length, metavar="LENGTH", help="short, medium, long or a number of words, about."
        ),
    ] = MEDIUM_WORDS,
    language: Annotated[
        Literal["auto", "en", "zh"], typer.Option("--language", help="Of the summary; auto: the document's.")
    ] = "auto",
    outline: Annotated[bool, typer.Option("--outline", help="Also show the notes on each chapter.")] = False,
    chunk_tokens: Annotated[
        int,
        typer.Option(
            "--chunk-tokens", min=_LEAST_CHUNK_TOKENS, help="The most that the model is given of it at a time."
        ),
    ] = DEFAULT_CHUNK_TOKENS,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew; what is kept of this summary is dropped.")
    ] = False,
    password: Password = None,
    comments: Comments = False,
    ocr: Ocr = False,
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
    """Summarise a document of any length, all of it. Stopped or killed, the same command goes on where it was."""
    from pocketseek.apps.doc.jobs import JobStore
    from pocketseek.apps.doc.summary_events import SummaryOptions

    start_s = time.perf_counter()
    settings = read_settings()
    words = Words(settings.language)
    with file_reader(words, password=password, comments=comments, ocr=ocr, quiet=json) as reader:
        document = reader(file)
    summary_options = SummaryOptions(
        " ".join(focus.split()), length, None if language == "auto" else language, chunk_tokens, outline=outline
    )
    engine_options = EngineOptions(engine, provider, verbose)
    name, path = choose_model(settings, model, yes=yes, may_be_onnx=True, trust=trust)
    identity = answering_identity(settings, path, engine_options, kv, adapter)
    request = _request(file, document, name, identity, summary_options)
    with (
        closing(JobStore(settings.summaries_path, key=state_key(settings))) as store,
        closing(
            open_engine(
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
        ) as opened,
    ):
        heat_note = HeatNote(words)
        with nullcontext() if json else heat_note.watching(opened.thermal_status):
            run = _Run(request, summary_options, store.begin(request, fresh=fresh), opened, words, quiet=json)
            summary = run.summary()
        heat = opened.thermal_status()
        facts = {**engine_facts(opened.provider_choice), **heat_facts(heat)}
        if not json:
            heat_note.see(heat)
        tell_change(opened.provider_choice, words, engine_options, quiet=json)
    if json:
        print_json({**run.facts(summary), "seconds": time.perf_counter() - start_s, "model": name, **facts})
    else:
        _show(summary, words)


class _Run:
    """Shows what happens unless `quiet`, and keeps what --json reports."""

    def __init__(
        self, request: JobRequest, options: SummaryOptions, job: Job, engine: Engine, words: Words, *, quiet: bool
    ) -> None:
        self._request = request
        self._options = options
        self._job = job
        self._engine = engine
        self._words = words
        self._quiet = quiet
        self._num_kept = 0

    def summary(self) -> Summary:
        with self._stoppable():
            return self._summary()

    def _summary(self) -> Summary:
        from pocketseek.apps.doc.summarize import summarize
        from pocketseek.apps.doc.summary_events import Planned, Progress, Summary, SummaryText
        from pocketseek.cli.doc.progress import summary_progress

        request, printer = self._request, AnswerPrinter()
        events = summarize(request.document, self._engine, self._options, self._job)
        with closing(events):
            with summary_progress(self._words, quiet=self._quiet) as show:
                for event in events:
                    if isinstance(event, Planned):
                        self._see_plan(event)
                    elif isinstance(event, Progress):
                        show(event)
                        if event.phase == "summary":
                            break
            try:
                for event in events:
                    if isinstance(event, SummaryText) and not self._quiet:
                        printer.write(event.text, "")
                    elif isinstance(event, Summary):
                        self._job.finish()
                        return event
            finally:
                printer.end()
        raise AssertionError("a summary ends with a Summary")

    def _see_plan(self, plan: Planned) -> None:
        self._num_kept = plan.num_kept
        self._job.plan(plan.num_chunks)
        if not self._quiet:
            message = doc_messages.GOING_ON if plan.num_kept else doc_messages.PLANNED
            note(self._words(message, chunks=plan.num_chunks, tokens=plan.num_tokens, kept=plan.num_kept))

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Says how to go on when somebody ends the program."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            note(self._words(doc_messages.STOPPED, count=self._job.num_answers()))
            raise

    def facts(self, summary: Summary) -> dict[str, object]:
        from pocketseek.cli.doc.summary_view import outline_facts

        return {
            "summary": summary.text,
            "coverage": summary.coverage.facts(),
            "chunks": len(summary.coverage.parts),
            "chunks_kept": self._num_kept,
            "answers_computed": summary.num_computed,
            "title": self._request.document.title,
            "language": summary.language,
            "outline": outline_facts(summary.chapters),
            "job": self._job.id,
        }


def answering_identity(
    settings: Settings, path: Path, engine_options: EngineOptions, kv: str | None, adapter: str | None
) -> str:
    """Of a model as it answers here: see model_identity.py."""
    from pocketseek.apps.doc.model_identity import model_identity

    if is_onnx(settings, path, engine_options):
        return model_identity(path, "onnx", engine_options.provider or settings.provider or "")
    identity = model_identity(path, "native", kv or settings.kv or "f16")
    for adapter_path in adapter_paths(settings, adapter):
        identity = model_identity(adapter_path, "native", identity)
    return identity


def _request(file: Path, document: Document, model: str, identity: str, options: SummaryOptions) -> JobRequest:
    from pocketseek.apps.doc.jobs import JobRequest, file_sha256

    return JobRequest(file.absolute(), file_sha256(file), document, model, identity, options)


def _show(summary: Summary, words: Words) -> None:
    """The summary itself is on the screen already."""
    from pocketseek.cli.doc.summary_view import coverage_lines, outline_text

    if summary.chapters:
        print_text("\n" + outline_text(summary.chapters, words))
    sys.stdout.flush()
    for line in coverage_lines(summary.coverage, words):
        note(line)
