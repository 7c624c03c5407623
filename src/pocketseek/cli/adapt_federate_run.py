"""How a federated job is asked for and told: model, plan, events as lines, and what becomes of the adapter."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketseek.cli import adapt_federate_messages as says
from pocketseek.cli.console import note, print_json, print_text
from pocketseek.cli.messages import Message, Words
from pocketseek.cli.model_choice import choose_model
from pocketseek.errors import PocketseekError, UsageError
from pocketseek.settings import flower_environment, read_settings

if TYPE_CHECKING:
    from pocketseek.adapt.federated.jobs import Job, RoundsJob
    from pocketseek.adapt.federated.plan import FederatedPlan

LOG_OF_FLOWER = "flower.log"


class Federating:
    """One run of a command. name: of the federation; None: a device's, which has none."""

    def __init__(self, model: str, name: str | None, *, yes: bool, json: bool) -> None:
        """Raises UnsupportedError if Flower is not set up, and what choosing a model raises."""
        from pocketseek.adapt.federated.environment import find_python
        from pocketseek.package.paths import check_model_name

        self._settings = read_settings()
        self._words = Words(self._settings.language)
        self._json = json
        self._python = find_python(self._settings.home, self._settings.federated_python)
        _, self.package = choose_model(self._settings, model, yes=yes)
        self.folder = self._settings.federations_dir / check_model_name(name or "client")
        self._rounds: list[Mapping[str, Any]] = []
        self._done: Mapping[str, Any] = {}
        self._address = ""

    @property
    def num_threads(self) -> int:
        from pocketseek.device.probe import check_device
        from pocketseek.runtime.opening import num_cores

        return self._settings.num_threads or num_cores(check_device(data_dir=self._settings.home))

    def plan(self, **values: Any) -> FederatedPlan:
        """Raises UsageError."""
        from pocketseek.adapt.federated.plan import FederatedPlan
        from pocketseek.package.manifest import read_manifest_bytes, version_id

        return FederatedPlan(version_id(read_manifest_bytes(self.package)), **values)

    def rounds_job(self, plan: FederatedPlan, *, validation: Path | None, fresh: bool, **values: Any) -> RoundsJob:
        """Raises what reading the validation text raises."""
        from pocketseek.adapt.data_file import read_data
        from pocketseek.adapt.federated.jobs import ADAPTER, RoundsJob
        from pocketseek.adapt.train_output import check_output

        if validation is not None:
            read_data(validation)
        check_output(self.folder / ADAPTER, replace=fresh)
        return RoundsJob(
            package=str(self.package),
            folder=str(self.folder.absolute()),
            plan=plan.to_json(),
            validation=None if validation is None else str(validation.absolute()),
            fresh=fresh,
            **{"num_threads": self.num_threads, **values},
        )

    def run(self, job: Job) -> None:
        """Raises what ended it."""
        from pocketseek.adapt.federated.environment import run_in
        from pocketseek.adapt.federated.jobs import ClientJob

        self._address = job.address if isinstance(job, ClientJob) else ""
        environment = flower_environment(self._settings.home / "federated-env" / "flower")
        run_in(self._python, job, self.folder / LOG_OF_FLOWER, environment, self._tell)

    def end(self, install: str | None) -> None:
        """Install it if wished, and say what it was."""
        if not self._done:
            log = self.folder / LOG_OF_FLOWER
            raise PocketseekError(f"the federated process ended before its time; {log} tells why")
        adapter = Path(str(self._done["path"]))
        if install is not None:
            self._install(adapter, install)
        privacy = self._done["privacy"]
        if self._json:
            last = self._rounds[-1] if self._rounds else {}
            facts = {"path": str(adapter), "installed": install, "privacy": privacy, "delta": self._done["delta"]}
            print_json({**facts, "perplexity": last.get("perplexity"), "rounds": self._rounds})
            return
        self._print(says.DONE, path=adapter)
        if privacy["known"] is None:
            self._print(says.NO_PRIVACY)
        else:
            told = {name: _epsilon(value) for name, value in privacy.items()}
            self._print(says.PRIVACY, delta=self._done["delta"], published=told["published"], known=told["known"])
            if privacy["server"] is not None:
                self._print(says.SERVER_SAW, epsilon=told["server"])
        if install is not None:
            self._print(says.INSTALLED, name=install)

    def _install(self, adapter: Path, name: str) -> None:
        from pocketseek.adapt.add import add_adapter
        from pocketseek.package.audit import AuditLog
        from pocketseek.package.store import ModelStore

        store = ModelStore(self._settings.models_dir)
        destination = store.path_for_new(name)
        if os.path.lexists(destination) and all(one.name != name for one in store.list_adapters()):
            raise UsageError(f"something else is called {name}; install {adapter} with `pocketseek adapt add --name`")
        add_adapter(adapter, self.package, destination)
        AuditLog(self._settings.audit_path).note("model-installed", model=name)

    def _tell(self, event: str, values: Mapping[str, Any]) -> None:
        if event == "round":
            self._rounds.append(values)
        elif event == "done":
            self._done = values
        if self._json:
            return
        if event == "round":
            note(self._round(values))
        elif event == "waiting":
            refusals = " ".join(f"{reason}:{count}" for reason, count in values["refusals"].items())
            self._note(says.WAITING, **{**values, "why": f" ({refusals})" if refusals else ""})
        elif event == "answered":
            if values["kind"].startswith("train"):
                self._note(says.ANSWERED, seconds=values["seconds"])
        elif event in _LINES:
            self._note(_LINES[event], **{**values, "address": self._address})

    def _round(self, values: Mapping[str, Any]) -> str:
        words, more = self._words, []
        if values["perplexity"] is not None:
            more.append(words(says.PERPLEXITY, perplexity=values["perplexity"]))
        if values["privacy"]["published"] is not None:
            more.append(words(says.EPSILON, epsilon=values["privacy"]["published"]))
        if values["rejected"]:
            names = " ".join(f"{one['client']}:{one['fault']}" for one in values["rejected"])
            more.append(words(says.REJECTED, names=names))
        outcome = words(says.OUTCOMES[values["outcome"]])
        return words(says.ROUND, **{**values, "outcome": outcome, "more": "".join(f", {one}" for one in more)})

    def _note(self, message: Message, **values: Any) -> None:
        note(self._words(message, **values))

    def _print(self, message: Message, **values: Any) -> None:
        print_text(self._words(message, **values))


_LINES = {
    "listening": says.LISTENING,
    "going-on": says.GOING_ON,
    "connected": says.CONNECTED,
    "lost": says.LOST,
    "unreachable": says.UNREACHABLE,
    "refused": says.REFUSED,
}


def parse_targets(text: str) -> tuple[str, ...]:
    from pocketseek.adapt.train_settings import TARGETS

    groups = {"all": tuple(TARGETS), "attention": tuple(TARGETS)[:4], "mlp": tuple(TARGETS)[4:]}
    return groups[text] if text in groups else tuple(part.strip() for part in text.split(",") if part.strip())


def _epsilon(value: float | None) -> str:
    return "∞" if value is None else f"{value:.2f}"
