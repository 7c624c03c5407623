"""The JSON that the page sends about conversations (conversations_api.py)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from pocketseek.apps.serve.bodies import SummaryBody
from pocketseek.apps.serve.document_answer import MAX_DOCUMENTS, DocumentMode

_Files = Annotated[list[str], Meta(max_length=MAX_DOCUMENTS)]


class NewBody(Struct):
    model: str | None = None
    system: str = ""
    title: str = ""
    documents: _Files = []


class SettingsBody(Struct, frozen=True):
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


class AgainBody(Struct):
    """documents: those of the conversation's that it is about; none: all. summary: how, where document_mode says so."""

    model: str | None = None
    settings: SettingsBody = SettingsBody()
    document_mode: DocumentMode = "passages"
    documents: _Files = []
    summary: SummaryBody = SummaryBody()


class TurnBody(AgainBody, kw_only=True):
    """index: of the question that is replaced, with all that follows it; None: a new one."""

    text: str
    index: Annotated[int, Meta(ge=0)] | None = None


class ChangeBody(Struct):
    title: str | None = None
    documents: _Files | None = None


class StopBody(Struct):
    pass


class VoiceBody(Struct):
    """conversation: "": a new one, with this system message. language: of speech, None: found out."""

    conversation: Annotated[str, Meta(max_length=64)] = ""
    model: str | None = None
    system: str = ""
    language: Annotated[str, Meta(pattern="^[a-z]{2,3}$")] | None = None
    push_to_talk: bool = False
    settings: SettingsBody = SettingsBody()
