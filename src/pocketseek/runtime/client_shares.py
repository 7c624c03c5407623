"""Equal shares between clients: who was served how many tokens, within one class of requests.

The client that was served least goes first. One that comes (back) starts level with the least served of those present:
it neither claims what it did not use while away nor loses what it had ahead. With one client, or none named, it changes
nothing and the order of arrival decides.
"""

from __future__ import annotations

from collections import Counter

from pocketseek.runtime.sequence import SequenceState

Client = tuple[str, str]  # class and name


class ClientShares:
    """Told of every arrival, end and served token."""

    def __init__(self) -> None:
        self._served: dict[Client, int] = {}
        self._present: Counter[Client] = Counter()

    def arrive(self, sequence: SequenceState) -> None:
        client = client_of(sequence)
        if not self._present[client]:
            level = self._least_served(client[0])
            self._forget_up_to(level, client[0])
            self._served[client] = max(level, self._served.get(client, 0))
        self._present[client] += 1

    def leave(self, sequence: SequenceState) -> None:
        client = client_of(sequence)
        self._present[client] -= 1
        if self._present[client] == 0:
            del self._present[client]
            if all(present[0] != client[0] for present in self._present):
                self._forget_up_to(None, client[0])

    def charge(self, sequence: SequenceState, num_tokens: int) -> None:
        self._served[client_of(sequence)] += num_tokens

    def served(self, sequence: SequenceState) -> int:
        return self._served[client_of(sequence)]

    @property
    def num_clients(self) -> int:
        """Clients that are remembered, those present included."""
        return len(self._served)

    def _least_served(self, priority: str) -> int:
        return min((self._served[client] for client in self._present if client[0] == priority), default=0)

    def _forget_up_to(self, level: int | None, priority: str) -> None:
        """The absent ones that were served no more than the level; all of them if it is None."""
        for client in [*self._served]:
            absent = client[0] == priority and client not in self._present
            if absent and (level is None or self._served[client] <= level):
                del self._served[client]


def client_of(sequence: SequenceState) -> Client:
    return sequence.request.priority, sequence.request.client
