"""On what terms a device takes part: its own, whatever a server asks for. Decides over facts that are passed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pocketseek.adapt.federated.plan import FederatedPlan
from pocketseek.device.network import Metered

Refusal = Literal["not-charging", "metered", "hot", "in-use", "battery-low", "terms", "other-model", "no-data"]


@dataclass(frozen=True)
class DeviceFacts:
    """None: unknown. skin_c: the warmer of skin and battery. is_idle: nobody looks at the screen, nothing answers."""

    charging: bool | None = None
    battery_level: float | None = None
    saver: bool | None = None
    metered: Metered = "unknown"
    skin_c: float | None = None
    is_idle: bool | None = None


@dataclass(frozen=True)
class DevicePolicy:
    """What has to be so. Where a fact cannot be known it is taken as fine, unless `strict`: a PC without a battery may
    take part, a phone whose sensors cannot be read had better be strict."""

    charging: bool = True
    unmetered: bool = True
    most_c: float | None = 40.0
    idle: bool = True
    strict: bool = False

    def refusal(self, facts: DeviceFacts) -> Refusal | None:
        if self.charging and not self._is_fine(facts.charging):
            return "not-charging"
        if facts.saver:
            return "battery-low"
        if self.unmetered and (facts.metered == "yes" or (self.strict and facts.metered == "unknown")):
            return "metered"
        if self.most_c is not None and not self._is_fine(None if facts.skin_c is None else facts.skin_c < self.most_c):
            return "hot"
        if self.idle and not self._is_fine(facts.is_idle):
            return "in-use"
        return None

    def _is_fine(self, fact: bool | None) -> bool:
        return fact if fact is not None else not self.strict


@dataclass(frozen=True)
class ClientTerms:
    """The most work and the least protection that this device agrees to. least_noise: of the sum, over the clip norm.
    least_clients: of a round."""

    most_steps: int = 200
    most_clip_norm: float = 100.0
    least_noise: float = 0.0
    secure_only: bool = False
    least_clients: int = 2

    def refusal(self, plan: FederatedPlan) -> Refusal | None:
        is_fine = (
            plan.local_steps <= self.most_steps
            and plan.clip_norm <= self.most_clip_norm
            and plan.noise >= self.least_noise
            and (plan.secure or not self.secure_only)
            and plan.min_clients >= self.least_clients
        )
        return None if is_fine else "terms"
