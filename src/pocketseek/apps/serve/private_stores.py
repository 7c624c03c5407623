"""Whose conversations: each access token has its own, and who needs no token has those of the terminal.

So whoever is given a token reads nobody else's chats. The file of a token follows from its name: a token that is
revoked and made again under the same name finds what was kept.
"""

from __future__ import annotations

import hashlib
import weakref
from threading import Lock

from pocketseek.apps.conversations import ConversationStore
from pocketseek.apps.serve.access import Caller


class PrivateStores:
    """Opens stores when they are first wanted, beside the shared one; closes them, and not that one, when dropped."""

    def __init__(self, shared: ConversationStore) -> None:
        self._shared = shared
        self._stores: dict[str, ConversationStore] = {}
        self._lock = Lock()
        weakref.finalize(self, _close_all, self._stores)

    def of(self, caller: Caller) -> ConversationStore:
        """From any thread; opening asks the disk."""
        if not caller.has_token:
            return self._shared
        with self._lock:
            if (store := self._stores.get(caller.name)) is None:
                digest = hashlib.sha256(caller.name.encode()).hexdigest()[:16]
                store = ConversationStore(
                    self._shared.path.with_name(f"conversations-{digest}.db"),
                    key=self._shared.key,
                    erase=self._shared.erase,
                )
                self._stores[caller.name] = store
            return store


def _close_all(stores: dict[str, ConversationStore]) -> None:
    for store in stores.values():
        store.close()
