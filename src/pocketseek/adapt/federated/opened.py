"""A federation that is worked on: under its lock, told in events, and ended with an adapter in PEFT's form.

Its state stays when its rounds are done, with the noise that was spent: more rounds go on from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketseek.adapt.data_file import read_data
from pocketseek.adapt.federated.federation import Evaluate, Federation, Privacy, RoundReport
from pocketseek.adapt.federated.plan import FederatedPlan, parse_plan
from pocketseek.adapt.train_checkpoint import Checkpoint
from pocketseek.adapt.train_output import check_output, write_adapter
from pocketseek.adapt.train_tensors import AdapterTensors, adapter_shapes, initial_tensors
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import JsonValue, read_manifest
from pocketseek.package.storage import storage_errors
from pocketseek.package.trust.audit import AuditLog

if TYPE_CHECKING:
    from pocketseek.adapt.federated.flower_rounds import Patience, Waiting
    from pocketseek.adapt.federated.jobs import RoundsJob

ADAPTER, LOG = "adapter", "rounds.log"


def check_place(folder: Path, *, fresh: bool) -> None:
    """Raises UsageError if an adapter is in the federation's folder that nothing can go on from."""
    output = folder / ADAPTER
    check_output(output, replace=fresh or Checkpoint(output, {}).is_there, option="--fresh")


class OpenedFederation:
    """A federation under its lock, and how it is told and ended."""

    def __init__(self, job: RoundsJob, tell: Callable[[str, dict[str, Any]], None]) -> None:
        self._job = job
        self._tell = tell
        self._resources = ExitStack()
        self.plan: FederatedPlan = parse_plan(job.plan)
        self._output = Path(job.folder) / ADAPTER

    def __enter__(self) -> OpenedFederation:
        folder, model = Path(self._job.folder), read_manifest(Path(self._job.package)).model
        check_place(folder, fresh=self._job.fresh)
        with storage_errors(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._resources.enter_context(destination_lock(self._output))
        plan = self.plan
        self.federation = Federation(
            plan,
            adapter_shapes(model, plan.rank, plan.targets),
            initial_tensors(model, plan.rank, plan.targets, plan.seed),
            self._output,
            AuditLog(folder / LOG),
            fresh=self._job.fresh,
            evaluate=self._evaluate(),
        )
        if self.federation.rounds_done:
            event = "all-done" if self.federation.is_done else "going-on"
            self._tell(event, {"done": self.federation.rounds_done, "rounds": plan.rounds})
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    @property
    def patience(self) -> Patience:
        from pocketseek.adapt.federated.flower_rounds import Patience

        job = self._job
        return Patience(job.check_in_s, job.round_s, job.pause_s, job.give_up_s)

    def tell_waiting(self, waiting: Waiting) -> None:
        self._tell("waiting", asdict(waiting))

    def tell_round(self, report: RoundReport) -> None:
        self._tell("round", {**asdict(report), "rounds": self.plan.rounds})

    def finish(self) -> None:
        """The adapter in PEFT's form."""
        federation, plan = self.federation, self.plan
        privacy = _plain(federation.privacy)
        done, learnt = federation.rounds_done, federation.rounds_learnt
        record: dict[str, JsonValue] = {
            "federated": json.loads(plan.to_json()),
            "rounds": done,
            "rounds_learnt": learnt,
            "privacy": privacy,
        }
        base = read_manifest(Path(self._job.package)).name
        write_adapter(self._output, federation.tensors, plan.settings(1), base, record)
        facts = {"path": str(self._output), "privacy": privacy, "delta": plan.delta}
        self._tell("done", {**facts, "rounds_done": done, "rounds_learnt": learnt})

    def _evaluate(self) -> Evaluate | None:
        if self._job.validation is None:
            return None
        from pocketseek.adapt.train import open_plain, opened_run, tokens_of

        path = Path(self._job.validation)
        settings = self.plan.settings(1, self._job.num_threads)
        package = self._resources.enter_context(open_plain(Path(self._job.package)))
        sequences = tokens_of(package, read_data(path).examples, settings, str(path)).sequences

        def evaluate(tensors: AdapterTensors) -> float:
            with opened_run(package, sequences, settings, start=tensors) as opened:
                return opened.run.validate(sequences).perplexity

        return evaluate


def _plain(privacy: Privacy) -> dict[str, JsonValue]:
    """Infinity has no form in JSON: null, no protection."""
    return {name: value if value is not None and value < 1e300 else None for name, value in asdict(privacy).items()}
