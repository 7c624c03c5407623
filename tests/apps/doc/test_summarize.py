"""A summary covers the whole document, merges as often as it must, says what it left out, and goes on where it was."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_task_engine import FakeTaskEngine, MemoryKeeper
from fakes import fake_engine

from pocketseek.apps.doc.document import Block, Document, Place, Remark
from pocketseek.apps.doc.read import read_document
from pocketseek.apps.doc.summarize import summarize
from pocketseek.apps.doc.summary_events import Planned, Progress, Summary, SummaryEvent, SummaryOptions, SummaryText
from pocketseek.errors import FormatError, ModelOutputError

NOTE, MERGE, SUMMARY = "take notes", "Make one set", "Write a summary"
PART_BEGINS, PART_ENDS = ":\n\n", "\n\nNotes on this part:"
PROJECT = Path(__file__).parents[3]
LONG_NOTE = " ".join(f"Fact {number} is noted." for number in range(15))


def document(num_sections: int = 6, remarks: tuple[Remark, ...] = ()) -> Document:
    blocks = []
    for number in range(1, num_sections + 1):
        place = Place(number, None, 1)
        blocks.append(Block("heading", f"Section {number}", place, level=1))
        blocks.append(Block("paragraph", f"Fact number {number} is here. " * 40 + f"End {number}.", place))
    return Document("facts", "text/plain", tuple(blocks), num_pages=num_sections, remarks=remarks)


def events(
    engine: FakeTaskEngine,
    found: Document | None = None,
    options: SummaryOptions | None = None,
    keeper: MemoryKeeper | None = None,
) -> list[SummaryEvent]:
    chosen = options or SummaryOptions(num_words=40)
    return list(summarize(found or document(), engine, chosen, keeper or MemoryKeeper()))


def summary_of(*arguments: object, **named: object) -> Summary:
    last = events(*arguments, **named)[-1]  # type: ignore[arg-type]
    assert isinstance(last, Summary)
    return last


def answering(note: Callable[[str], str | None] = lambda prompt: "A note.") -> Callable[[str], str | None]:
    """note: what is answered to the request for notes; merges and summaries work."""

    def answer(prompt: str) -> str | None:
        if MERGE in prompt:
            return "A merged note."
        return "The summary." if SUMMARY in prompt else note(prompt)

    return answer


def test_every_chunk_is_noted_and_the_notes_are_summarised_in_order() -> None:
    engine = FakeTaskEngine(answering(lambda prompt: f"Noted: {prompt.split('End ')[1][:2]}"), context_length=3500)
    result = summary_of(engine)
    notes = [part.note.text for part in result.coverage.parts if part.note]
    assert notes == [f"Noted: {number}." for number in range(1, 7)]
    assert "\n\n".join(notes) in engine.prompts[-1]
    assert result.text == "The summary."
    assert result.coverage.num_covered == 6
    assert result.coverage.left_out == ()


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "docs/security.md", "docs/serve-api.md"])
@pytest.mark.parametrize("overlap", [0, 64])
def test_every_token_of_a_real_document_is_read_once_and_the_overlap_once_more(name: str, overlap: int) -> None:
    """As the prompts have them; a character is a token here, and white space at a prompt's edges may go."""
    text = (found := read_document(PROJECT / name)).text
    engine = FakeTaskEngine(answering())
    summary = summary_of(engine, found, SummaryOptions(num_words=40, language="en", overlap_tokens=overlap))
    times_read, begin = [0] * len(text), 0
    for part, prompt in zip(summary.coverage.parts, (p for p in engine.prompts if NOTE in p), strict=True):
        shown = prompt[prompt.index(PART_BEGINS) + len(PART_BEGINS) : prompt.rindex(PART_ENDS)]
        assert shown == text[part.chunk.context_start : part.chunk.stop].strip()
        assert part.chunk.start == begin >= part.chunk.context_start >= begin - overlap
        begin = part.chunk.stop
        for place in range(part.chunk.context_start, part.chunk.stop):
            times_read[place] += 1
    repeated = sum(part.chunk.start - part.chunk.context_start for part in summary.coverage.parts)
    assert begin == len(text) == sum(part.num_tokens for part in summary.coverage.parts)
    assert set(times_read) <= {1, 2}
    assert times_read.count(2) == repeated
    assert overlap > 0 or repeated == 0
    if name.startswith("docs/"):  # where there are sentences that fit into the overlap
        assert (repeated > 0) == (overlap > 0)


def test_the_summary_streams_and_its_pieces_are_the_text() -> None:
    found = events(FakeTaskEngine(answering()))
    assert "".join(event.text for event in found if isinstance(event, SummaryText)) == "The summary."


def test_progress_counts_notes_and_only_grows() -> None:
    found = events(FakeTaskEngine(answering(), context_length=3500))
    assert isinstance(found[0], Planned)
    assert found[0].num_chunks == 6
    progress = [event for event in found if isinstance(event, Progress)]
    shares = [event.share for event in progress]
    assert shares == sorted(shares)
    assert [event.done for event in progress if event.phase == "notes"][-1] == 6


def test_notes_that_do_not_fit_are_merged_in_levels() -> None:
    def note(prompt: str) -> str:
        return LONG_NOTE

    engine = FakeTaskEngine(answering(note), context_length=3000)
    result = summary_of(engine, document(60))
    assert result.coverage.num_levels == 1
    assert any("A merged note.\n\nA merged note." in prompt for prompt in engine.prompts if SUMMARY in prompt)

    def merge(prompt: str) -> str:
        return note(prompt) if MERGE in prompt else answering(note)(prompt) or ""

    assert summary_of(FakeTaskEngine(merge, context_length=3000), document(120)).coverage.num_levels >= 2


def test_a_document_of_one_chunk_is_summarised_from_its_text() -> None:
    engine = FakeTaskEngine(answering())
    result = summary_of(engine, document(1))
    (prompt,) = engine.prompts
    assert "Fact number 1 is here." in prompt
    assert result.coverage.num_covered == 1


def test_what_was_kept_is_never_computed_again() -> None:
    keeper = MemoryKeeper()
    engine = FakeTaskEngine(answering(), context_length=3500)
    first = summary_of(engine, keeper=keeper)
    again = FakeTaskEngine(lambda prompt: pytest.fail("computed again"), context_length=3500)
    found = events(again, keeper=keeper)
    second = found[-1]
    assert isinstance(second, Summary)
    assert again.prompts == []
    assert (second.text, second.coverage, second.num_computed) == (first.text, first.coverage, 0)
    assert found[0] == Planned(6, 6, first.coverage.num_tokens)


def test_who_is_stopped_goes_on_with_what_is_missing() -> None:
    keeper = MemoryKeeper()
    engine = FakeTaskEngine(answering(), context_length=3500)
    running = summarize(document(), engine, SummaryOptions(num_words=40), keeper)
    for event in running:
        if isinstance(event, Progress) and event.done == 2:
            break
    running.close()
    num_kept = len(keeper.notes)
    assert engine.num_open == 0
    again = FakeTaskEngine(answering(), context_length=3500)
    result = summary_of(again, keeper=keeper)
    assert len(again.prompts) == 6 - num_kept + 1
    assert result.num_computed == len(again.prompts)


def test_a_chunk_without_a_usable_note_is_told() -> None:
    def note(prompt: str) -> str | None:
        if "End 2." in prompt:
            return "I'm sorry, but I can't help with that."
        if "End 3." in prompt:
            return ""
        if "End 4." in prompt:
            return None
        return "word " * 200 if "End 5." in prompt else "A note."

    result = summary_of(FakeTaskEngine(answering(note), context_length=3500))
    left_out = [(item.reason, item.page, item.first) for item in result.coverage.left_out]
    assert left_out == [("refused", 2, 2), ("empty", 3, 3), ("failed", 4, 4)]
    assert result.coverage.cut_off == (5,)
    assert result.coverage.num_covered == 3


def test_what_failed_is_tried_again_next_time() -> None:
    keeper = MemoryKeeper()
    summary_of(FakeTaskEngine(answering(lambda p: None if "End 4." in p else "A note."), 3500), keeper=keeper)
    again = FakeTaskEngine(answering(), context_length=3500)
    assert summary_of(again, keeper=keeper).coverage.num_covered == 6
    assert len([prompt for prompt in again.prompts if NOTE in prompt]) == 1


def test_merges_that_are_refused_are_told() -> None:
    refusals = iter(["I cannot help with that."])

    def answer(prompt: str) -> str | None:
        if MERGE in prompt:
            return next(refusals, "A merged note.")
        return answering(lambda prompt: LONG_NOTE)(prompt)

    coverage = summary_of(FakeTaskEngine(answer, context_length=3000), document(40)).coverage
    (lost,) = coverage.left_out
    assert (lost.reason, lost.first) == ("merge", 1)
    assert lost.last is not None
    assert coverage.num_covered == 40 - lost.last


def test_what_the_reader_left_out_is_in_the_coverage() -> None:
    remark = Remark("picture-page", 3, "a scanned page")
    coverage = summary_of(FakeTaskEngine(answering()), document(2, (remark,))).coverage
    assert [(item.reason, item.page, item.detail) for item in coverage.left_out] == [
        ("picture-page", 3, "a scanned page")
    ]


def test_parts_without_anything_about_the_focus_are_left_out_and_told() -> None:
    engine = FakeTaskEngine(answering(lambda prompt: "It is seven." if "End 3." in prompt else "None."), 3500)
    result = summary_of(engine, options=SummaryOptions("How many?", num_words=40))
    assert result.coverage.facts()["nothing_about_focus"] == [1, 2, 4, 5, 6]
    assert "None." not in engine.prompts[-1]
    assert all("How many?" in prompt for prompt in engine.prompts)


def test_a_focus_that_nothing_is_about_needs_no_summary() -> None:
    engine = FakeTaskEngine(answering(lambda prompt: "none"), context_length=3500)
    result = summary_of(engine, options=SummaryOptions("How many?", num_words=40))
    assert result.text == "The document says nothing about it."
    assert not any(SUMMARY in prompt for prompt in engine.prompts)


def test_a_model_without_a_single_note_is_an_error() -> None:
    with pytest.raises(ModelOutputError, match="another model"):
        events(FakeTaskEngine(answering(lambda prompt: ""), context_length=3500))


def test_an_empty_document_is_an_error() -> None:
    with pytest.raises(FormatError, match="no text"):
        events(FakeTaskEngine(answering()), Document("empty", "text/plain", ()))


def test_a_chinese_document_is_summarised_in_chinese_unless_told_otherwise() -> None:
    found = Document("文档", "text/plain", (Block("paragraph", "这是一个句子。" * 300, Place(None, None, 1)),))
    engine = FakeTaskEngine(lambda prompt: "摘要。")
    assert summary_of(engine, found).language == "zh"
    assert "中文" in engine.prompts[0]
    summary_of(engine, found, options=SummaryOptions(language="en", num_words=40))
    assert "in English" in engine.prompts[-1]


def test_the_outline_has_the_notes_of_every_chapter() -> None:
    engine = FakeTaskEngine(answering(lambda prompt: f"Noted: {prompt.split('End ')[1][:2]}"), context_length=3500)
    result = summary_of(engine, options=SummaryOptions(num_words=40, outline=True))
    assert [(chapter.title, chapter.place.page, chapter.notes) for chapter in result.chapters] == [
        (f"Section {number}", number, (f"Noted: {number}.",)) for number in range(1, 7)
    ]


def test_a_model_that_always_reasons_has_room_for_it() -> None:
    plain, reasoning = FakeTaskEngine(answering(), 2600), FakeTaskEngine(answering(), 2600, starts_in_reasoning=True)
    found = Document("one", "text/plain", (Block("paragraph", "A short fact. " * 500, Place(None, None, 1)),))
    summary_of(plain, found), summary_of(reasoning, found)
    assert max(map(len, reasoning.prompts)) < max(map(len, plain.prompts))


def test_a_real_engine_summarises_a_document() -> None:
    """On fake parts, whose answers make no sense."""
    found = document(3)
    with fake_engine(num_pages=128) as engine:
        options = SummaryOptions(num_words=10, overlap_tokens=10)
        (last,) = [event for event in summarize(found, engine, options, MemoryKeeper()) if isinstance(event, Summary)]
    assert sum(part.chunk.stop - part.chunk.start for part in last.coverage.parts) == len(found.text)
