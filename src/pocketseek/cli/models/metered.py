"""Whether much may be fetched over the network as it is: asked on a terminal where it is paid for by the byte."""

from __future__ import annotations

from pocketseek.cli.console import confirm, format_bytes, is_interactive
from pocketseek.cli.messages import Words
from pocketseek.cli.models import pull_messages
from pocketseek.errors import UsageError

UNASKED_BYTES = 50_000_000


def check_metered(words: Words, num_bytes: int, *, allowed: bool) -> None:
    """allowed: by an option. Raises UsageError if it may not, or nobody can be asked."""
    from pocketseek.device.network import read_network

    if allowed or num_bytes <= UNASKED_BYTES:
        return
    facts = read_network()
    if facts.metered != "yes":
        return
    question = words(pull_messages.CONFIRM_METERED, source=facts.source, size=format_bytes(num_bytes))
    if not is_interactive() or not confirm(question):
        raise UsageError(
            f"{format_bytes(num_bytes)} are to be fetched and this network is paid for by the byte (says "
            f"{facts.source}); use another one, or add --allow-metered"
        )
