"""`pocketseek` alone: a guided start. What this device is, what fits it, and from there to the first conversation.

Nothing is fetched or measured without a question. Ctrl-C and Ctrl-D leave at any question; an interrupted download goes
on later. Without a terminal nothing is asked: what is here and what to do next is printed.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pocketseek import __version__
from pocketseek.cli import messages
from pocketseek.cli.console import is_interactive, note, print_exact, print_text, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.cli.models.models_cmd import describe_broken
from pocketseek.cli.start import start_messages as says
from pocketseek.cli.start.offers import Offer, make_offers
from pocketseek.cli.start.start_view import device_name, memory, show_commands, show_device, show_offers
from pocketseek.device.probe import DeviceFacts, check_device
from pocketseek.errors import (
    BusyError,
    DownloadError,
    FormatError,
    MemoryLimitError,
    NotFoundError,
    StorageError,
    UnsupportedError,
    UsageError,
)
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.govern.expected_speed import MachineFigures
    from pocketseek.package.store import ModelStore

_DEMO = "demo"
_DEMO_SYSTEM = "Answer in one short sentence."  # it rambles otherwise
_PAGE = "http://127.0.0.1:8080"
# What can go wrong with one choice while the others are still good.
_FAILURES = (
    BusyError,
    DownloadError,
    FormatError,
    MemoryLimitError,
    NotFoundError,
    StorageError,
    UnsupportedError,
    UsageError,
)


def start() -> bool:
    """Whether a list of all commands is to follow."""
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    words = Words(settings.language)
    store = ModelStore(settings.models_dir)
    if is_guided():
        try:
            return _Guide(settings, words, store).run()
        except typer.Abort:  # Ctrl-C or Ctrl-D at a question: what follows begins on a line of its own
            print_text("")
            raise
    _overview(settings, words, store)
    return True


def is_guided() -> bool:
    """Whether a person is there to see and to choose."""
    return is_interactive() and sys.stdout.isatty()


class _Guide:
    """One person at one terminal."""

    def __init__(self, settings: Settings, words: Words, store: ModelStore) -> None:
        self._settings = settings
        self._words = words
        self._store = store

    def run(self) -> bool:
        """Whether all commands are to be listed."""
        facts = check_device(data_dir=self._settings.home)
        print_text(self._words(says.TITLE, version=__version__) + "\n")
        figures = self._known_figures(facts)
        show_device(facts, figures, self._names(), self._words)
        for model in self._store.list_broken():
            print_text(describe_broken(model, self._words))
        print_text("")
        if figures is None or figures.is_estimate:
            figures = self._measured(facts) or figures
        while True:
            offers = self._offers(facts, figures)
            chosen = self._choice(offers)
            if chosen is None or chosen.act in ("leave", "commands"):
                return chosen is not None and chosen.act == "commands"
            try:
                done = self._do(chosen)
            except _FAILURES as error:
                print_text(self._words(says.FETCH_FAILED, why=error) + "\n")
                continue
            if done:
                return False

    def _known_figures(self, facts: DeviceFacts) -> MachineFigures | None:
        from pocketseek.apps.judge_device import published_figures
        from pocketseek.apps.measure_device import known_figures
        from pocketseek.errors import NativeCoreError

        try:
            return known_figures(self._settings, facts) or published_figures(self._settings, facts)
        except NativeCoreError:  # told when a model is to run
            return None

    def _measured(self, facts: DeviceFacts) -> MachineFigures | None:
        """None: not wanted, or not possible, which is said."""
        from pocketseek.apps.measure_device import measure_device
        from pocketseek.cli.device.verdict_messages import MEASURING_DEVICE
        from pocketseek.errors import NativeCoreError

        if self._names():  # who has a model wants to use it; `device --measure` is there
            return None
        print_text(self._words(says.WHY_MEASURE))
        if not typer.confirm(self._words(says.CONFIRM_MEASURE), default=True):
            print_text("")
            return None
        label, failed = self._words(MEASURING_DEVICE), list[StorageError]()
        try:
            with progress_bar(unit="layers") as show:
                figures = measure_device(
                    self._settings,
                    facts,
                    progress=lambda done, total: show(label, done, total),
                    storage_failed=failed.append,
                )
        except (MemoryLimitError, NativeCoreError) as error:
            note(self._words(says.NOT_MEASURED, why=error))
            return None
        finally:
            print_text("")
        for problem in failed:
            note(self._words(says.NOT_MEASURED, why=problem))
        return figures

    def _offers(self, facts: DeviceFacts, figures: MachineFigures | None) -> list[Offer]:
        from pocketseek.apps.judge_device import judge_device

        verdicts, _ = judge_device(self._settings, facts, figures)
        return make_offers(verdicts, facts.storage_free_bytes, installed=self._names())

    def _choice(self, offers: Sequence[Offer]) -> Offer | None:
        """None: to leave."""
        if not any(offer.act in ("talk", "fetch") for offer in offers):
            print_text(self._words(says.NOTHING_FITS) + "\n")
        print_text(self._words(says.WHAT_NEXT) + "\n")
        show_offers(offers, self._words)
        print_text("")
        while True:
            typed = str(typer.prompt(self._words(says.CHOICE), default="1")).strip().lower()
            if typed in ("q", "quit", "exit"):
                return None
            if typed.isascii() and typed.isdigit() and 1 <= int(typed) <= len(offers):
                print_text("")
                return offers[int(typed) - 1]
            print_text(self._words(says.NO_CHOICE, typed=typed[:40], most=len(offers)))

    def _do(self, offer: Offer) -> bool:
        """Whether that was all; False: back to the choices."""
        if offer.act in ("talk", "demo"):
            self._talk(offer.model)
        elif offer.act == "fetch":
            return self._fetch(offer)
        elif offer.act == "page":
            return self._serve()
        elif offer.act == "file":
            return self._install_file()
        return True

    def _fetch(self, offer: Offer) -> bool:
        from pocketseek.cli.models.pull_cmd import pull

        if not self._has_libraries("pull", "urllib3"):
            return False
        try:
            pull(offer.model, quant="q4")
        except KeyboardInterrupt:
            note("\n" + self._words(says.FETCH_KEPT, command=f"pocketseek pull {offer.model} --quant q4"))
            raise
        self._talk(offer.model)
        return True

    def _serve(self) -> bool:
        from pocketseek.cli.serve.serve_cmd import missing_libraries, serve

        if missing_libraries():
            self._has_libraries("serve", *missing_libraries())
            return False
        print_text(self._words(says.PAGE_SOON))
        serve()
        return True

    def _has_libraries(self, extra: str, *names: str) -> bool:
        """Otherwise it is said how to get them."""
        if all(find_spec(name) is not None for name in names):
            return True
        print_text(self._words(says.NEEDS_EXTRA))
        print_exact(f"\n    pip install 'pocketseek[{extra}]'\n")
        return False

    def _install_file(self) -> bool:
        from pocketseek.cli.models.convert_cmd import convert

        typed = str(typer.prompt(self._words(says.ASK_FILE), default="", show_default=False)).strip()
        with suppress(ValueError):  # as it was typed, if its quotes do not match
            typed = " ".join(shlex.split(typed))
        if not typed:
            return False
        path = Path(typed).expanduser()
        if not path.exists():
            print_text(self._words(says.NO_FILE, path=typed) + "\n")
            return False
        before = set(self._names())
        convert(path)
        self._talk(next(iter(set(self._names()) - before), None))
        return True

    def _talk(self, name: str | None) -> None:
        from pocketseek.cli.chat.chat_cmd import chat

        if name == _DEMO:
            chat(name, system=_DEMO_SYSTEM, repetition_penalty=1.0, yes=True)  # it was asked for a moment ago
        else:
            chat(name)
        print_text("")
        self._closing(name)

    def _closing(self, name: str | None) -> None:
        models = self._names()
        name = name or next(iter(models), _DEMO)
        commands = [
            (f"pocketseek chat {shlex.quote(name)}", self._words(says.NEXT_CHAT)),
            ("pocketseek serve", self._words(says.NEXT_PAGE, url=_PAGE)),
            ('pocketseek doc ask FILE "..."', self._words(says.NEXT_DOC)),
            ("pocketseek --help", self._words(says.ALL_COMMANDS)),
        ]
        show_commands(self._words(says.NEXT_TIME), commands)

    def _names(self) -> list[str]:
        return [model.name for model in self._store.list()]


def _overview(settings: Settings, words: Words, store: ModelStore) -> None:
    names = [model.name for model in store.list()]
    facts = check_device(data_dir=settings.home)
    print_text(words(says.TITLE, version=__version__) + "\n")
    print_text(words(says.DEVICE, device=f"{device_name(facts, words)}; {memory(facts, words)}"))
    print_text(words(says.MODELS, models=", ".join(names) or words(messages.NONE)))
    for model in store.list_broken():
        print_text(describe_broken(model, words))
    print_text("")
    print_text(words(says.NEXT))
    for command, message in _next_steps(names):
        print_text(f"  {command:<42} {words(message)}")
    print_text("")


def _next_steps(names: list[str]) -> list[tuple[str, messages.Message]]:
    if not names:
        steps = [("pocketseek chat demo", says.STEP_DEMO)]
    else:
        steps = [
            (f"pocketseek chat {names[0]}", says.STEP_CHAT),
            (f'pocketseek generate {names[0]} "..."', says.STEP_GENERATE),
        ]
    return [
        *steps,
        ("pocketseek convert FILE.gguf", says.STEP_CONVERT),
        ("pocketseek device --models", says.STEP_DEVICE),
        ("pocketseek --help", says.ALL_COMMANDS),
    ]
