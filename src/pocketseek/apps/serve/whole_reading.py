"""Reading all of uploaded documents, for a summary or a question: which job keeps the notes, and what happens.

Notes belong to the file that they are about and go with it; those of several files go with any of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pocketseek.apps.doc.document import Document
from pocketseek.apps.doc.document_rows import DocumentInfo
from pocketseek.apps.doc.jobs import Job, JobRequest
from pocketseek.apps.doc.summarize import summarize
from pocketseek.apps.doc.summary_events import SummaryOptions
from pocketseek.apps.doc.whole import answer_whole, options_for
from pocketseek.apps.doc.written_answer import Note
from pocketseek.apps.serve.kept_files import FileStore, KeptFile
from pocketseek.apps.serve.summary_stream import SummaryStream
from pocketseek.errors import NotFoundError
from pocketseek.runtime.engine import Engine


@dataclass(frozen=True)
class WholeReading:
    """What all readings share. model, identity: who reads, by name and as of `apps/doc/model_identity.py`."""

    engine: Engine
    store: FileStore
    model: str
    identity: str
    announce: Callable[[], None]

    def summary(self, file: KeptFile, info: DocumentInfo, options: SummaryOptions) -> SummaryStream:
        document = self.store.documents.document(info.id)
        job = self._begin(self._of_one(file, info, document, options))
        events = summarize(document, self.engine, options, _KeptWhileThere(job, self.store, (file,)))
        return SummaryStream(events, job, self.count_tokens, self.announce)

    def answer(self, files: Sequence[KeptFile], infos: Sequence[DocumentInfo], question: str) -> SummaryStream:
        """infos: of the files, in the same order."""
        options = options_for(question)
        if len(infos) == 1:
            request = self._of_one(files[0], infos[0], self.store.documents.document(infos[0].id), options)
        else:
            request = self._of_several(infos, options)
        job = self._begin(request)
        keeper = _KeptWhileThere(job, self.store, files)
        events = answer_whole(self.store.documents, infos, self.engine, question, keeper)
        return SummaryStream(events, job, self.count_tokens, self.announce, is_streamed=len(infos) == 1)

    def count_tokens(self, text: str) -> int:
        return len(self.engine.tokenizer.encode(text, add_special=False, parse_special=False))

    def _begin(self, request: JobRequest) -> Job:
        return self.store.summaries.begin(request)

    def _of_one(self, file: KeptFile, info: DocumentInfo, document: Document, options: SummaryOptions) -> JobRequest:
        return JobRequest(self.store.path(file), info.sha256, document, self.model, self.identity, options)

    def _of_several(self, infos: Sequence[DocumentInfo], options: SummaryOptions) -> JobRequest:
        digest = hashlib.sha256(" ".join(info.sha256 for info in infos).encode()).hexdigest()
        title = ", ".join(info.title for info in infos)
        document = Document(title, "text/plain", ())
        return JobRequest(self.store.path_of_several, digest, document, self.model, self.identity, options)


class _KeptWhileThere:
    """The keeper of a job on files: what is written after one of them was deleted is not kept."""

    def __init__(self, job: Job, store: FileStore, files: Sequence[KeptFile]) -> None:
        self._job = job
        self._store = store
        self._files = files

    def find(self, key: str) -> Note | None:
        return self._job.find(key)

    def keep(self, key: str, note: Note) -> None:
        if self._is_there():
            self._job.keep(key, note)
        if not self._is_there():  # looked at again, as it may have gone in between
            self._store.summaries.remove(self._job.id)
            raise NotFoundError("the document was deleted meanwhile; upload it again")

    def _is_there(self) -> bool:
        return all(self._store.has(file.id) for file in self._files)
