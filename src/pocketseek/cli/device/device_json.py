"""The facts of a device as JSON. Field names are those of DeviceFacts and stay; docs/device-details.md describes them.

Unknown is null, never an empty list or text: a list that is empty says that there is none.
"""

from __future__ import annotations

import dataclasses

from pocketseek.device.probe import DeviceFacts

SCHEMA = 1  # changes when a field is renamed, removed or means something else


def device_object(facts: DeviceFacts) -> dict[str, object]:
    found: dict[str, object] = dataclasses.asdict(facts)
    found["data_dir"] = None if facts.data_dir is None else str(facts.data_dir)
    found["clusters"] = found["clusters"] or None
    return {"schema": SCHEMA, **found}
