"""Questions to documents and their answers in the terminal, or as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from pocketseek.cli import messages
from pocketseek.cli.console import AnswerPrinter, note, print_indented, print_json, print_text
from pocketseek.cli.doc import library_messages as said
from pocketseek.cli.doc.collection_cmd import found_facts, place_facts, place_line
from pocketseek.cli.messages import Words
from pocketseek.cli.run.heat_note import HeatNote

if TYPE_CHECKING:
    from pocketseek.apps.doc.answer import AnswerPrompt
    from pocketseek.apps.doc.ask import Asker, Looked, Reply
    from pocketseek.apps.doc.citations import Citation
    from pocketseek.runtime.engine import Engine
    from pocketseek.types import SamplingParams, TextEvent


@dataclass(frozen=True)
class OpenedModel:
    """identity: of what decides its answers, see model_identity.py."""

    name: str
    engine: Engine
    sampling: SamplingParams
    identity: str


class LazyModel:
    """The model, opened when it is first needed."""

    def __init__(self, opened: Callable[[], OpenedModel]) -> None:
        self._opened = opened
        self._model: OpenedModel | None = None

    def __call__(self) -> OpenedModel:
        self._model = self._model or self._opened()
        return self._model


class Talk:
    """Questions and answers in the terminal."""

    def __init__(self, asker: Asker, model: LazyModel, words: Words, max_tokens: int, *, quiet: bool) -> None:
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
        model = self._model()
        prompt = prompt_for(model.engine, looked, max_tokens=self._max_tokens)
        events = self._streamed(model.engine, prompt, model.sampling)
        text = "".join(event.text for event in events)
        reply = self._asker.reply(looked, prompt.passages, text)
        facts: dict[str, object] = {
            "model": model.name,
            "finish_reason": events[-1].finish_reason,
            "completion_tokens": events[-1].num_tokens,
        }
        self._tell(looked, prompt, reply, facts, start_s)

    def _streamed(self, engine: Engine, prompt: AnswerPrompt, sampling: SamplingParams) -> list[TextEvent]:
        """Until it ends, or goes round in circles; then its last event says that it was cut."""
        printer, events = AnswerPrinter("" if self._quiet else self.words(messages.READING_PROMPT)), []
        heat = HeatNote(self.words)
        from pocketseek.apps.doc.written_answer import WrittenAnswer

        answer = engine.stream_text(list(prompt.messages), max_tokens=self._max_tokens, sampling=sampling)
        written = WrittenAnswer(self._max_tokens)
        try:
            for event in answer:
                events.append(event)
                if not self._quiet:
                    printer.write(event.text, event.reasoning)
                if not written.add(event) and event.finish_reason is None:
                    events[-1] = replace(event, finish_reason="length")
                    break
        finally:
            answer.close()
            printer.end()
        if not self._quiet:
            heat.see(engine.thermal_status())
            if events[-1].finish_reason == "length":
                note(self.words(said.CIRCLES if written.goes_round else messages.ANSWER_CUT))
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
                    "citations": [citation_facts(citation) for citation in reply.citations],
                    "dropped": list(reply.dropped),
                    "passages": [found_facts(passage) for passage in (prompt.passages if prompt else ())],
                    "seconds": time.perf_counter() - start_s,
                }
            )
        elif prompt is None:
            print_text(self.words(said.NOT_IN_DOCUMENT))
            note(self.words(said.NO_PASSAGE))
        else:
            tell_sources(reply, self.words)


def tell_sources(reply: Reply, words: Words) -> None:
    """Where the answer comes from, after it."""
    if not reply.is_there:
        return
    if reply.dropped:
        note(words(said.DROPPED, marks=" ".join(f"[{number}]" for number in reply.dropped)))
    if not reply.citations:
        note(words(said.NO_SOURCE))
        return
    if not reply.citations[0].is_marked:
        note(words(said.UNMARKED))
    print_text("\n" + words(said.SOURCES))
    for one in reply.citations:
        place = place_line(words, one.title, one.place, one.heading)
        print_text(f"[{one.number}] {place}")
        print_indented(f"“{one.quote}”")


def citation_facts(citation: Citation) -> dict[str, object]:
    facts = asdict(citation)
    del facts["place"], facts["document_id"]
    return {**facts, "document": citation.document_id, **place_facts(citation.place), "heading": list(citation.heading)}
