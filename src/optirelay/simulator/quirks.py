"""Where Optimove's documentation is silent or its service differs from it: each is a switch, with its source."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from optirelay.simulator.errors import BadEntry


@dataclass(frozen=True, slots=True)
class Quirks:
    """How this Optimove behaves today."""

    #: Rows of one answer. A comment of 2016 in github avalanchy/optimoveapi; newer connectors assume up to 200,000.
    page_cap: int = 10_000
    #: Calls per API key, in a window that slides.
    #: https://developer.optimove.com/reference/understanding-api-rate-limits-at-optimove
    calls: str = "50/10s"
    #: A public Node back end in production checks for a "webhook repeated by Optimove"; an order is documented nowhere.
    notifications: str = "once"
    #: The older documentation has an array (github nicolasramy/optimove); github larvit/optimove_mocker notes that the
    #: live service of 2016 answered with `CustomerAttribute`, singular, holding one string.
    attributes: str = "array"
    #: No row of GetCustomerSendDetailsByChannel was seen with an ActionID; in those of another call 1 is the control
    #: group, which is not sent to: https://developer.optimove.com/reference/get_customers-getcustomeronetimeactionsbycampaign
    control_group: str = "absent"
    #: Likewise RecipientGroupID; what a partner reports may name it, "default 1":
    #: https://developer.optimove.com/reference/post_integrations-updatecampaigninteractions
    recipient_groups: str = "absent"
    #: Whether the set of rows is frozen while it is paged through is documented nowhere; "shifting" moves the last row
    #: to the front before each page but the first. Public connectors write skip= without the $, which is ignored: the
    #: same page for ever, "endless". Nor is it documented what lies past the end; "wrapping" begins anew.
    paging: str = "stable"
    #: Public connectors read ids as numbers (TypeScript, Python) and as text that holds a number (PHP).
    ids: str = "numbers"
    #: Not stated by the documentation. Older clients send running totals (github nicolasramy/optimove), so "replace";
    #: a public connector of 2023 posts the value 1 for each message, which only "add" makes sense of.
    metrics: str = "replace"
    #: What AddChannelTemplates does with a TemplateID that is there: the documentation does not say.
    known_template: str = "rename"
    #: What deleting a template, an app, a listener or a promotion that is not there does: not documented either.
    delete_unknown: str = "ignore"
    #: Whether GetExecutedCampaignsByChannel names a campaign that was cancelled after it ran: not documented.
    executed_cancelled: str = "listed"
    #: What a key that is missing or wrong gets: https://developer.optimove.com/docs/authentication-guide names no
    #: status; these are what the older tokens had (https://developer.optimove.com/docs/general-information).
    unauthorized_status: int = 401
    #: Likewise, for a key that may not do this.
    forbidden_status: int = 403
    #: A public Python connector takes both: 200 and 202 for UpdateCustomerAttributes.
    update_status: int = 200
    #: Results of attribute calls come "within about a minute":
    #: https://developer.optimove.com/reference/post_customers-addcustomerattribute. So soon (in a moment), late, or,
    #: as any message may be lost or repeated, never or twice.
    attribute_callbacks: str = "soon"
    #: How late.
    late_seconds: float = 60.0
    #: Older samples have the texts "true" and "false" (github nicolasramy/optimove), newer readers booleans.
    campaign_flags: str = "booleans"
    #: What a trigger does when its gateway does not answer in time, or not with `allowed`: not documented.
    gateway_silent: str = "drop"
    #: Public connectors read camelCase in a trigger's notification, and event parameters in `personalization`; one
    #: route of a PHP back end in production reads PascalCase, and event parameters at the top level.
    triggered_keys: str = "camel"

    def budget(self) -> tuple[int, timedelta]:
        """How many calls, in which time."""
        count, _, seconds = self.calls.removesuffix("s").partition("/")
        return int(count), timedelta(seconds=float(seconds))

    def wire_id(self, number: int) -> int | str:
        """An id as this Optimove writes it."""
        return str(number) if self.ids == "strings" else number


CHOICES: dict[str, tuple[str | int, ...]] = {
    "notifications": ("once", "twice", "shuffled"),
    "control_group": ("absent", "rows"),
    "recipient_groups": ("absent", "rows"),
    "paging": ("stable", "shifting", "wrapping", "endless"),
    "attributes": ("array", "joined", "singular"),
    "ids": ("numbers", "strings"),
    "metrics": ("replace", "add"),
    "known_template": ("rename", "error"),
    "update_status": (200, 202),
    "attribute_callbacks": ("soon", "late", "never", "twice"),
    "campaign_flags": ("booleans", "texts"),
    "gateway_silent": ("drop", "fire"),
    "delete_unknown": ("ignore", "error"),
    "executed_cancelled": ("listed", "absent"),
    "triggered_keys": ("camel", "pascal"),
}

NUMBERS: dict[str, tuple[int, int, type[int] | tuple[type[int], type[float]]]] = {
    "page_cap": (1, 10**9, int),
    "unauthorized_status": (400, 499, int),
    "forbidden_status": (400, 499, int),
    "late_seconds": (0, 86_400, (int, float)),
}


def changed(quirks: Quirks, entry: Mapping[str, Any]) -> Quirks:
    """The quirks with those of the entry put over them. BadEntry names the key that is wrong."""
    for key, value in entry.items():
        _check(key, value)
    return replace(quirks, **entry)


def _check(key: str, value: object) -> None:
    if key in CHOICES:
        if value not in CHOICES[key]:
            raise BadEntry(f"quirks: {key} is {value!r}; give one of {', '.join(map(str, CHOICES[key]))}")
    elif key in NUMBERS:
        least, most, kind = NUMBERS[key]
        if not isinstance(value, kind) or isinstance(value, bool) or not least <= value <= most:
            raise BadEntry(
                f"quirks: {key} is {value!r}; give {'a whole' if kind is int else 'a'} number from {least} to {most:,}"
            )
    elif key == "calls":
        if not isinstance(value, str) or not re.fullmatch(r"[1-9]\d*/(?!0+(\.0+)?s)\d+(\.\d+)?s", value):
            raise BadEntry(f'quirks: calls is {value!r}; give calls and seconds such as "50/10s"')
    else:
        raise BadEntry(f"quirks: {key} is not one; there are {', '.join(asdict(Quirks()))}")
