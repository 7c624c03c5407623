"""What a bench report holds. These classes are the JSON's schema: a field here is a key there (docs/benchmarks.md).

None is "not measured", never an estimate; the `*_gap` beside it says why. Whoever changes a field raises VERSION.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

SCHEMA = "pocketseek bench report"
VERSION = 2

HeatKind = Literal["skin", "battery", "soc"]
PowerSource = Literal["battery", "processor"]
PowerGap = Literal["no sensor", "charging", "no sustained load", "cut short"]


@dataclass(frozen=True)
class DeviceSeen:
    """Of DeviceFacts, what tells two devices apart and what figures depend on."""

    architecture: str
    phone_model: str | None
    soc_model: str | None
    cpu_model: str | None
    num_usable_cores: int | None
    memory_total_bytes: int | None
    android_version: str | None
    os_name: str | None
    kernel_release: str | None


@dataclass(frozen=True)
class ModelSeen:
    """identity: SHA-256 of the manifest, so of every byte of the package. f16_bytes: two for each parameter."""

    name: str
    identity: str
    num_parameters: int
    package_bytes: int
    f16_bytes: int


@dataclass(frozen=True)
class Conditions:
    """How it was measured. sustained_s, idle_s: asked for. from_storage: the page cache was emptied before loading.

    memory_limit_bytes: what --memory allowed. prompt_tokens, new_tokens: of the longer answer. num_threads: of a pass
    at full speed. temperature_limit_c: that the pace is held to; None: nobody watched, since it was switched off or no
    sensor can be read.
    """

    kernels: str
    kv: str
    speculation: bool
    concurrency: int
    prompt_tokens: int
    new_tokens: int
    repeats: int
    idle_s: float
    sustained_s: float
    from_storage: bool
    memory_limit_bytes: int | None
    num_threads: int | None = None
    temperature_limit_c: float | None = None


@dataclass(frozen=True)
class AnswerTime:
    """Whole answers at batch 1, from asking to the last token, warm. Median, least and most of `count` answers."""

    prompt_tokens: int
    new_tokens: int
    count: int
    median_s: float
    fastest_s: float
    slowest_s: float


@dataclass(frozen=True)
class Speed:
    """As BenchReport has them: medians, over all sequences together."""

    first_token_s: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float


@dataclass(frozen=True)
class Heat:
    """The hottest sensor of its kind. idle_c: at rest before; end_c: when the report ended; peak_c: of all looks."""

    kind: HeatKind
    idle_c: float | None
    peak_c: float
    end_c: float


@dataclass(frozen=True)
class Power:
    """Means over the seconds at rest and over the sustained load, by the same source.

    battery: what is drawn from it, the whole device; processor: its package alone. tokens_per_joule: of all that was
    drawn under load; tokens_per_added_joule: of what was above idle, None where nothing was.
    """

    source: PowerSource
    idle_w: float
    busy_w: float
    tokens_per_joule: float
    tokens_per_added_joule: float | None

    @property
    def added_w(self) -> float:
        return self.busy_w - self.idle_w


@dataclass(frozen=True)
class Samples:
    """Columns of equal length. time_s: when a sample ended, from the start of the load; a value is that of the time
    since the sample before (tokens_per_s, duty, power_w) or of that moment.

    duty: share of the time in which passes ran. heat_share: of full speed's heat that the governor allowed, None where
    nobody watches. frequency_hz: of the core that is fastest then.
    """

    time_s: tuple[float, ...] = ()
    tokens_per_s: tuple[float, ...] = ()
    duty: tuple[float, ...] = ()
    heat_share: tuple[float | None, ...] = ()
    skin_c: tuple[float | None, ...] = ()
    battery_c: tuple[float | None, ...] = ()
    soc_c: tuple[float | None, ...] = ()
    frequency_hz: tuple[float | None, ...] = ()
    power_w: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Sustained:
    """first_ and last_tokens_per_s: of the first and the last tenth of the time (a minute at most)."""

    measured_s: float
    num_tokens: int
    tokens_per_s: float
    first_tokens_per_s: float
    last_tokens_per_s: float
    answer_prompt_tokens: int
    answer_new_tokens: int
    samples: Samples


@dataclass(frozen=True)
class Record:
    """created: UTC, ISO 8601. cut_short: it was ended before all was measured."""

    created: str
    program_version: str
    device: DeviceSeen
    model: ModelSeen
    conditions: Conditions
    cut_short: bool = False
    load_s: float | None = None
    load_to_first_token_s: float | None = None
    short_answer: AnswerTime | None = None
    long_answer: AnswerTime | None = None
    speed: Speed | None = None
    peak_rss_bytes: int | None = None
    heat: tuple[Heat, ...] = ()
    power: Power | None = None
    power_gap: PowerGap | None = None
    sustained: Sustained | None = None
    complaints: tuple[str, ...] = field(default=())

    def heat_of(self, kind: HeatKind) -> Heat | None:
        return next((heat for heat in self.heat if heat.kind == kind), None)
