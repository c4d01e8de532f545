"""Which keys the file may hold."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from optirelay.settings._faults import Fault, dotted, mend_of_stranger
from optirelay.settings._shapes import (
    INTERACTION_IDS,
    METRIC_IDS,
    BatchFileSettings,
    ChannelSettings,
    OptimoveSettings,
    ServiceSettings,
    SmtpSettings,
    TenantSettings,
    WebhookSettings,
)

OURS = {"name", "path"}
"""Fields that we fill in: what the table is called, where the file is."""


@dataclass(frozen=True)
class Room:
    """A table: its keys, the tables inside. With `each`, its keys are the operator's names."""

    keys: frozenset[str] = frozenset()
    inside: Mapping[str, "Room"] = field(default_factory=dict)
    each: "Room | None" = None

    def fault_of(self, key: str, at: tuple[str, ...]) -> Fault | None:
        """What is wrong with this key, whatever its value."""
        if self.each:
            if re.fullmatch(r"[a-z0-9_-]{1,40}", key):
                return None
            return Fault(dotted((*at, key)), "this name cannot be used", "Write 1 to 40 of a-z 0-9 _ -")
        if key in self.keys:
            return None
        return Fault(dotted((*at, key)), "unknown setting", mend_of_stranger(key, self.keys))


def keys_of(shape: type[BaseModel]) -> frozenset[str]:
    """The keys as the file spells them."""
    return frozenset(info.alias or name for name, info in shape.model_fields.items() if name not in OURS)


SERVICE = Room(keys_of(ServiceSettings))
OPTIMOVE = Room(
    keys_of(OptimoveSettings),
    inside={"metric_ids": Room(frozenset(METRIC_IDS)), "interaction_ids": Room(frozenset(INTERACTION_IDS))},
)
CHANNEL = Room(
    keys_of(ChannelSettings),
    inside={
        "smtp": Room(keys_of(SmtpSettings)),
        "webhook": Room(keys_of(WebhookSettings)),
        "batch_file": Room(keys_of(BatchFileSettings)),
    },
)
TENANT = Room(
    keys_of(TenantSettings),
    inside={"optimove": OPTIMOVE, "channels": Room(each=CHANNEL)},
)
DOCUMENT = Room(frozenset({"service", "tenants"}), inside={"service": SERVICE, "tenants": Room(each=TENANT)})


def sift(value: Any, faults: list[Fault], room: Room = DOCUMENT, at: tuple[str, ...] = ()) -> Any:
    """The table without the keys that have no place in it, each of which becomes a fault; what is no table stays."""
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, inner in value.items():
        fault = room.fault_of(key, at)
        if fault:
            faults.append(fault)
            if not room.each:
                continue
        inner_room = room.each or room.inside.get(key)
        kept[key] = sift(inner, faults, inner_room, (*at, key)) if inner_room else inner
    return kept
