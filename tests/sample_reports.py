"""Reports that nobody measured: a phone that warms up for half an hour, made from formulas."""

from __future__ import annotations

import math
from dataclasses import replace

from pocketseek.apps.report.reading import Look
from pocketseek.apps.report.record import (
    AnswerTime,
    Conditions,
    DeviceSeen,
    Heat,
    ModelSeen,
    Power,
    Record,
    Speed,
)
from pocketseek.apps.report.sustained import Sample, summarise

DEVICE = DeviceSeen("aarch64", "A Phone <X>", "SM8650", None, 8, 12_000_000_000, "15", None, "6.1.75")
MODEL = ModelSeen("demo", "ab" * 32, 134_515_040, 100_351_301, 269_030_080)
CONDITIONS = Conditions("neon-i8mm", "f16", False, 1, 512, 128, 3, 15.0, 1800.0, True, None, 4, 45.0)
NOTHING = Look(None, None, None, None, None, None, "no sensor")


def look(*, skin_c: float | None = 30.0, soc_c: float | None = 40.0, power_w: float | None = 4.0) -> Look:
    source = "battery" if power_w is not None else None
    return Look(skin_c, 29.0, soc_c, 3.3e9, power_w, source, None if source else "no sensor")


def warming_samples(minutes: float = 30.0, *, pace: float = 1.0) -> list[Sample]:
    samples = []
    for second in range(1, int(minutes * 60) + 1):
        warm = 1 - math.exp(-second / 400)
        speed = round(pace * (60 - 18 * warm + 3 * math.sin(second / 9)))
        seen = Look(29 + 15.5 * warm, 28 + 11 * warm, 48 + 26 * warm, 1e9 * (3.3 - warm), 5.2 - warm, "battery", None)
        samples.append(Sample(float(second), speed, float(speed), 0.95 - 0.2 * warm, seen, 1.0 - 0.2 * warm))
    return samples


def phone_record(*, pace: float = 1.0) -> Record:
    return Record(
        created="2026-11-26T10:00:00+00:00",
        program_version="0.1.0",
        device=DEVICE,
        model=MODEL,
        conditions=CONDITIONS,
        load_s=1.25,
        load_to_first_token_s=1.5,
        short_answer=AnswerTime(16, 8, 9, 0.2 / pace, 0.19 / pace, 0.22 / pace),
        long_answer=AnswerTime(512, 128, 3, 4.0, 3.9, 4.2),
        speed=Speed(1.1, 450.0, 60.0 * pace),
        peak_rss_bytes=200_000_000,
        heat=(Heat("skin", 29.0, 44.4, 44.4), Heat("battery", 28.0, 39.0, 39.0), Heat("soc", 45.0, 74.0, 73.0)),
        power=Power("battery", 1.1, 4.4, 10.0, 13.0),
        sustained=summarise(warming_samples(pace=pace)),
        complaints=("thermal_zone7 (usb-therm): -40.0 °C is a placeholder",),
    )


def bare_record() -> Record:
    """Of a machine that tells nothing, without a sustained load."""
    return replace(
        phone_record(),
        device=DeviceSeen("x86_64", None, None, "Some CPU", 2, None, None, "Some Linux", "6.1"),
        conditions=replace(CONDITIONS, sustained_s=0.0, idle_s=3.0, from_storage=False),
        heat=(),
        power=None,
        power_gap="no sensor",
        sustained=None,
        complaints=(),
    )
