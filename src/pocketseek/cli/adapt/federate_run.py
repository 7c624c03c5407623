"""How a federated job is asked for and told: model, plan, events as lines, and what becomes of the adapter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketseek.cli.adapt import federate_messages as says
from pocketseek.cli.adapt.adapter_install import install_adapter, place_for
from pocketseek.cli.console import note, print_json, print_text
from pocketseek.cli.guard.sign_cmd import read_signer, sign_installed
from pocketseek.cli.messages import Message, Words
from pocketseek.cli.run.model_choice import choose_model
from pocketseek.errors import PocketseekError, UsageError
from pocketseek.settings import flower_environment, read_settings

if TYPE_CHECKING:
    from pocketseek.adapt.federated.jobs import Job, RoundsJob
    from pocketseek.adapt.federated.plan import FederatedPlan
    from pocketseek.package.trust.sign import SigningKey

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
        self._destination: Path | None = None
        self._signer: SigningKey | None = None

    @property
    def num_threads(self) -> int:
        from pocketseek.device.probe import check_device
        from pocketseek.runtime.opening import num_cores

        return self._settings.num_threads or num_cores(check_device(data_dir=self._settings.home))

    def will_install(self, name: str | None, *, sign: bool) -> None:
        """Looked at, and the key's passphrase asked for, before devices work for days. Raises UsageError and what
        reading the key raises."""
        from pocketseek.package.store import ModelStore

        if name is not None:
            self._destination = place_for(ModelStore(self._settings.models_dir), name, replace=True)
        elif sign:
            raise UsageError("what is signed is the adapter that is installed; give --install NAME, too")
        self._signer = read_signer(self._settings) if sign else None

    def plan(self, **values: Any) -> FederatedPlan:
        """Raises UsageError."""
        from pocketseek.adapt.federated.plan import FederatedPlan
        from pocketseek.package.manifest import read_manifest_bytes, version_id

        return FederatedPlan(version_id(read_manifest_bytes(self.package)), **values)

    def rounds_job(self, plan: FederatedPlan, *, validation: Path | None, fresh: bool, **values: Any) -> RoundsJob:
        """Raises what reading the validation text raises."""
        from pocketseek.adapt.data_file import read_data
        from pocketseek.adapt.federated.jobs import RoundsJob
        from pocketseek.adapt.federated.opened import check_place

        if validation is not None:
            read_data(validation)
        check_place(self.folder, fresh=fresh)
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

    def end(self) -> None:
        """Install and sign it if wished, and say what it was."""
        if not self._done:
            log = self.folder / LOG_OF_FLOWER
            raise PocketseekError(f"the federated process ended before its time; {log} tells why")
        adapter, destination, done = Path(str(self._done["path"])), self._destination, self._done
        signed = None
        if destination is not None:
            version = _version_of(destination)
            install_adapter(self._settings, adapter, self.package, destination)
            if self._signer is not None:
                signed = sign_installed(self._settings, destination, self._signer, version=version + 1)
        privacy = done["privacy"]
        if self._json:
            last = self._rounds[-1] if self._rounds else {}
            print_json(
                {
                    "path": str(adapter),
                    "installed": None if destination is None else destination.name,
                    "signed": None if signed is None else signed.to_json(),
                    **{name: done[name] for name in ("privacy", "delta", "rounds_done", "rounds_learnt")},
                    "perplexity": last.get("perplexity"),
                    "rounds": self._rounds,
                }
            )
            return
        self._print(says.DONE, path=adapter)
        if done["rounds_learnt"] < done["rounds_done"]:
            self._print(says.SOME_LEARNT, learnt=done["rounds_learnt"], rounds=done["rounds_done"])
        if privacy["known"] is None:
            self._print(says.NO_PRIVACY)
        else:
            told = {name: _epsilon(value) for name, value in privacy.items()}
            self._print(says.PRIVACY, delta=done["delta"], published=told["published"], known=told["known"])
            if privacy["server"] is not None:
                self._print(says.SERVER_SAW, epsilon=told["server"])
        if signed is not None:
            signed.tell(signed.path.name, self._words)
        if destination is not None:
            self._print(says.INSTALLED if signed is None else says.INSTALLED_SIGNED, name=destination.name)

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
    "all-done": says.ALL_DONE,
    "listening": says.LISTENING,
    "going-on": says.GOING_ON,
    "connected": says.CONNECTED,
    "lost": says.LOST,
    "unreachable": says.UNREACHABLE,
    "refused": says.REFUSED,
}


def _version_of(package: Path) -> int:
    """The release that lies there; 0: none."""
    from pocketseek.package.manifest import read_manifest

    return read_manifest(package).version if package.exists() else 0


def parse_targets(text: str) -> tuple[str, ...]:
    from pocketseek.adapt.train_settings import TARGETS

    groups = {"all": tuple(TARGETS), "attention": tuple(TARGETS)[:4], "mlp": tuple(TARGETS)[4:]}
    return groups[text] if text in groups else tuple(part.strip() for part in text.split(",") if part.strip())


def _epsilon(value: float | None) -> str:
    return "∞" if value is None else f"{value:.2f}"
