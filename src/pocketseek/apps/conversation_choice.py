"""Which kept conversation a person means: its id, the beginning of it, or a part of its title."""

from __future__ import annotations

from pocketseek.apps.conversation import ConversationInfo
from pocketseek.apps.conversations import ConversationStore
from pocketseek.errors import NotFoundError, UsageError

_LEAST_ID_CHARS = 4
_MOST_LOOKED_AT = 10_000
_MOST_NAMED = 5


def choose_conversation(store: ConversationStore, text: str) -> ConversationInfo:
    """Raises NotFoundError if none is meant, UsageError if several could be."""
    wanted = text.strip().casefold()
    infos = store.list(_MOST_LOOKED_AT)
    by_id = [info for info in infos if len(wanted) >= _LEAST_ID_CHARS and info.id.startswith(wanted)]
    found = by_id or [info for info in infos if wanted and wanted in info.title.casefold()]
    exact = [info for info in found if wanted in (info.id, info.title.casefold())]
    found = exact or found
    if not found:
        raise NotFoundError(f"no conversation is called {text!r:.60}; give its number, its id or a part of its title")
    if len(found) > 1:
        some = ", ".join(f"{info.id} {info.title!r:.40}" for info in found[:_MOST_NAMED])
        raise UsageError(f"{len(found)} conversations are called {text!r:.60}: {some}; give the id")
    return found[0]


def newest_conversation(store: ConversationStore) -> ConversationInfo:
    """Raises NotFoundError if none is kept."""
    infos = store.list(1)
    if not infos:
        raise NotFoundError("no conversation is kept yet; start one with `pocketseek chat`")
    return infos[0]
