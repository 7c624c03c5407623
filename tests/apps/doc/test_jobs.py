"""Jobs: what was answered is on the disk, and nothing decides a job but what decides its summary."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_task_engine import FakeTaskEngine

from pocketseek.apps.doc.document import Block, Document, Place
from pocketseek.apps.doc.jobs import KEPT_JOBS, KEPT_S, JobRequest, JobStore, file_sha256
from pocketseek.apps.doc.summarize import summarize
from pocketseek.apps.doc.summary_events import Planned, Summary, SummaryOptions
from pocketseek.apps.doc.written_answer import Note
from pocketseek.errors import NotFoundError, UsageError

HERE = Path(__file__).resolve()
BLOCKS = tuple(Block("paragraph", f"Fact {n} is here. " * 60 + f"End {n}.", Place(n, None, 1)) for n in range(1, 13))
REQUEST = JobRequest(
    Path("/texts/facts.txt"), "f" * 64, Document("facts", "text/plain", BLOCKS), "demo", "m" * 64, SummaryOptions()
)
NOTE = Note("A note.", "cut", 3, 200, 64)

RUN = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from fake_task_engine import FakeTaskEngine
from test_jobs import REQUEST
from pocketseek.apps.doc.jobs import JobStore
from pocketseek.apps.doc.summarize import summarize
store = JobStore(Path(sys.argv[1]))
engine = FakeTaskEngine(lambda prompt: "Noted: " + prompt.split("End ")[1][:2] + "x" * 10 * engine.num_open, 3500)
for event in summarize(REQUEST.document, engine, REQUEST.options, store.begin(REQUEST)):
    print(getattr(event, "done", 0), flush=True)
    time.sleep(0.002)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "summaries.db"


@pytest.fixture
def store(path: Path) -> Iterator[JobStore]:
    store = JobStore(path)
    yield store
    store.close()


def other(number: int) -> JobRequest:
    return replace(REQUEST, file_sha256=f"{number:064}")


def test_the_jobs_of_a_file_go_with_it(path: Path, store: JobStore) -> None:
    elsewhere = replace(other(1), path=Path("/texts/else.txt"))
    moved = replace(other(2), path=Path("/texts/moved.txt"))
    for request in (REQUEST, elsewhere, moved):
        store.begin(request).keep("k", NOTE)
    assert store.remove_of([REQUEST.file_sha256], [moved.path]) == 2
    assert [job.path for job in store.list()] == ["/texts/else.txt"]
    assert store.remove_of([], []) == 0


def test_an_answer_is_there_at_the_next_opening(path: Path) -> None:
    first = JobStore(path)
    first.begin(REQUEST).keep("key", NOTE)
    first.close()
    again = JobStore(path)
    assert again.begin(REQUEST).find("key") == NOTE
    assert again.begin(REQUEST).find("another") is None
    again.close()


def test_the_file_belongs_to_its_owner_alone(store: JobStore, path: Path) -> None:
    store.begin(REQUEST)
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir() if file.name.startswith(path.name)} == {0o600}


def test_whatever_decides_a_summary_decides_the_job() -> None:
    requests = [
        REQUEST,
        replace(REQUEST, file_sha256="0" * 64),
        replace(REQUEST, model_identity="0" * 64),
        replace(REQUEST, document=replace(REQUEST.document, blocks=BLOCKS[1:])),
        replace(REQUEST, options=SummaryOptions(focus="Why?")),
        replace(REQUEST, options=SummaryOptions(num_words=99)),
    ]
    assert len({request.id for request in requests}) == len(requests)
    assert replace(REQUEST, path=Path("/elsewhere"), model="another name").id == REQUEST.id


def test_a_fresh_start_forgets_what_was_kept(store: JobStore) -> None:
    store.begin(REQUEST).keep("key", NOTE)
    assert store.begin(REQUEST, fresh=True).find("key") is None


def test_the_list_has_how_far_a_job_is(store: JobStore) -> None:
    job = store.begin(REQUEST)
    job.plan(12)
    job.keep("key", NOTE)
    (info,) = store.list()
    assert (info.id, info.title, info.num_chunks, info.num_answers, info.is_done) == (job.id, "facts", 12, 1, False)
    job.finish()
    assert store.find(job.id[:6]).is_done


def test_a_job_is_found_by_the_beginning_of_its_id(store: JobStore) -> None:
    for number in range(40):
        store.begin(other(number))
    with pytest.raises(NotFoundError, match="doc jobs"):
        store.find("ffff0000ffff")
    with pytest.raises((UsageError, NotFoundError)):
        store.find("")


def test_what_is_removed_leaves_no_trace(store: JobStore, path: Path) -> None:
    secret = Note("A very peculiar secret.", "complete")
    job = store.begin(REQUEST)
    job.keep("key", secret)
    store.remove(job.id)
    assert store.list() == []
    assert not any(secret.text.encode() in file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def test_a_job_removed_while_it_runs_is_there_again_with_its_next_answer(store: JobStore) -> None:
    job = store.begin(REQUEST)
    store.remove(job.id)
    job.keep("key", NOTE)
    assert job.find("key") == NOTE


def test_old_jobs_go_when_another_begins(path: Path) -> None:
    now_s = [1000.0]
    store = JobStore(path, clock=lambda: now_s[0])
    store.begin(REQUEST)
    now_s[0] += KEPT_S + 1
    for number in range(KEPT_JOBS + 3):
        now_s[0] += 1
        store.begin(other(number))
    kept = [job.id for job in store.list()]
    assert kept == [other(number).id for number in range(KEPT_JOBS + 2, 2, -1)]
    store.close()


def test_a_text_that_no_file_can_hold_is_kept_without_it(store: JobStore) -> None:
    job = store.begin(replace(REQUEST, path=Path("/a\udcffb")))
    job.keep("key", replace(NOTE, text="a\ud800b\0c"))
    found = job.find("key")
    assert found is not None
    assert found.text == "a?b\ufffdc"


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert file_sha256(tmp_path / "x").startswith("ba7816bf")


def test_after_kill_9_finished_work_is_not_repeated(path: Path) -> None:
    """Once in the middle of the notes, then to the end."""
    folders = [str(HERE.parent), str(HERE.parents[2])]
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(path), *folders], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        for line in worker.stdout:
            if int(line) >= 4:
                break
        os.kill(worker.pid, signal.SIGKILL)
    store = JobStore(path)
    job = store.begin(REQUEST)
    num_kept = store.find(job.id).num_answers
    assert 4 <= num_kept < len(BLOCKS)
    engine = FakeTaskEngine(lambda prompt: "Noted.", 3500)
    planned, *_, last = summarize(REQUEST.document, engine, REQUEST.options, job)
    assert isinstance(planned, Planned)
    assert isinstance(last, Summary)
    assert planned.num_kept == num_kept
    assert len(engine.prompts) == planned.num_chunks - num_kept + 1
    assert last.coverage.num_covered == planned.num_chunks
    store.close()
