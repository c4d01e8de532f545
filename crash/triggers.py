"""What triggers tell of customers, as Optimove writes it, and as it might be written otherwise."""

import json
import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from crash.house import TEMPLATES, TENANT, TRIGGERED_CHANNEL
from optirelay.clock import utc_now

T = TypeVar("T")

CAMPAIGNS = ("58831", "58832", "winback-7")  # Optimove's id of a triggered campaign need not be a number
ACTION, OTHER_ACTION = 214, 215
DUPLICATES = 0.1  # of all that is posted
SPREAD_SECONDS = 60  # the time stamps lie so far apart
BACK = timedelta(minutes=3)  # and begin so long ago
TIME_STAMP = "%Y-%m-%d %H:%M:%S"
TIME_STAMP_OTHERWISE = "%Y-%m-%dT%H:%M:%SZ"


class Trigger(NamedTuple):
    """Something that a customer did, and the message that it calls for; the number is its own."""

    number: int
    customer_id: str
    campaign_id: str
    action_id: int
    template_id: int
    at: datetime

    @property
    def address(self) -> str:
        """The customer's."""
        return f"{self.customer_id.lower()}@mail.example"

    def __str__(self) -> str:
        return f"number {self.number} of {self.customer_id} in {self.campaign_id}"


def triggers(dice: random.Random, count: int) -> list[Trigger]:
    """So many, no two of which are one message.

    Of ten in a row two come from the same customer a minute apart, and three more differ from the first of them in one
    thing alone: template, action or campaign.
    """
    began_at = utc_now().replace(microsecond=0) - BACK
    found: list[Trigger] = []
    for number in range(count):
        first = found[number - number % 10] if number % 10 else None
        if first is not None and number % 10 <= len(_siblings(first)):
            found.append(_siblings(first)[number % 10 - 1]._replace(number=number))
            continue
        at = began_at + timedelta(seconds=dice.randrange(SPREAD_SECONDS))
        campaign_id, template_id = dice.choice(CAMPAIGNS), dice.choice(TEMPLATES)
        found.append(Trigger(number, f"C-{number:07}", campaign_id, ACTION, template_id, at))
    return found


def _siblings(first: Trigger) -> tuple[Trigger, ...]:
    return (
        first._replace(at=first.at + timedelta(minutes=1)),
        first._replace(template_id=_next(TEMPLATES, first.template_id)),
        first._replace(action_id=OTHER_ACTION),
        first._replace(campaign_id=_next(CAMPAIGNS, first.campaign_id)),
    )


def _next(among: Sequence[T], one: T) -> T:
    return among[(among.index(one) + 1) % len(among)]


def shuffled_bodies(dice: random.Random, distinct: Sequence[Trigger], duplicates: int) -> list[bytes]:
    """A notification of each, and duplicates: half of them the same bytes, half the same as read, spelled otherwise."""
    again = dice.choices(distinct, k=duplicates)
    bodies = [_as_optimove_writes(one) for one in distinct]
    bodies += [_otherwise(one, dice) if place % 2 else _as_optimove_writes(one) for place, one in enumerate(again)]
    dice.shuffle(bodies)
    return bodies


def _as_optimove_writes(trigger: Trigger) -> bytes:
    return json.dumps(_fields(trigger)).encode()


def _otherwise(trigger: Trigger, dice: random.Random) -> bytes:
    """PascalCase, in another order; numbers as text, a text of digits as number, and the time as in ISO 8601."""
    fields = _fields(trigger) | {"timeStamp": trigger.at.strftime(TIME_STAMP_OTHERWISE)}
    spelled = [(key[0].upper() + key[1:], value) for key, value in _with_other_ids(fields)]
    dice.shuffle(spelled)
    return json.dumps(dict(spelled), separators=(",", ":")).encode()


def _with_other_ids(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in fields.items():
        if isinstance(value, int):
            yield key, str(value)
        elif key == "campaignID" and value.isdigit():
            yield key, int(value)
        else:
            yield key, value


def _fields(trigger: Trigger) -> dict[str, Any]:
    """Type 11's; what they are called is not documented: these are the names that connectors read."""
    return {
        "eventTypeID": 11,
        "timeStamp": trigger.at.strftime(TIME_STAMP),
        "tenantID": TENANT,
        "triggerName": "Viewed loans page three times",
        "customerID": trigger.customer_id,
        "campaignID": trigger.campaign_id,
        "actionID": trigger.action_id,
        "actionName": "Loan nudge",
        "channelID": TRIGGERED_CHANNEL,
        "templateID": trigger.template_id,
        "templateName": f"Template {trigger.template_id}",
        "promoCode": ["LOAN5"],
        "notes": "",
        "personalization": {
            "EMAIL": trigger.address,
            "FIRST_NAME": "Ana",
            "COUNTRY": "FR",
            "number": str(trigger.number),
        },
    }
