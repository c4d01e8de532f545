"""The settings as frozen types. Defaults stand here as the file would spell them."""

import os.path
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import cache
from importlib.metadata import entry_points
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_serializer,
)

from optirelay.model import AppId, CampaignKind, ChannelKind, Contract, InDoubtRule
from optirelay.settings import _secrets, _sharing, _values
from optirelay.settings._faults import BadValue, shown
from optirelay.settings._sharing import Route
from optirelay.settings._values import HostPort, QuietHours, Rate, Secret

METRIC_IDS = {
    "sent": 0,
    "delivered": 1,
    "opened": 2,
    "clicked": 3,
    "unsubscribed": 4,
    "dropped": 5,
    "complained": 6,
    "bounced": 9,
}
INTERACTION_IDS = METRIC_IDS | {"bounced": 7}
BUILT_PROVIDERS = ("console", "null", "smtp", "webhook")
NOBODY = "optirelay <noreply@optirelay.example>"
"""The sender on channels that write to nobody, where none is named."""
LARGEST_ID = 2**31 - 1


def written(default: object, *, alias: str | None = None) -> Any:
    """A default as the file would spell it."""
    return Field(default=default, alias=alias)


def in_folder(read: Callable[[object, Path], object]) -> BeforeValidator:
    """A reader that needs to know where relative paths count from."""
    return BeforeValidator(lambda value, info: read(value, folder_of(info)))


def folder_of(info: ValidationInfo) -> Path:
    """The folder of the settings file."""
    assert info.context is not None, "settings are built by load() or read()"
    folder: Path = info.context["folder"]
    return folder


def _read_data_dir(value: object, folder: Path) -> Path:
    return Path(os.path.normpath(folder / _values.read_text(value)))


@cache
def providers() -> tuple[str, ...]:
    """The providers that a channel may name: ours, and what is installed beside."""
    installed = {entry.name for entry in entry_points(group="optirelay.channels")}
    return (*BUILT_PROVIDERS, *sorted(installed.difference(BUILT_PROVIDERS)))


def _read_provider(value: object) -> str:
    mend = f"Write one of {', '.join(providers())}"
    if isinstance(value, str) and value in providers():
        return value
    raise BadValue(f"{shown(value)} is no provider", mend)


def _is_email(info: ValidationInfo) -> bool:
    """Whether the channel carries e-mail; not where its kind cannot be read."""
    return info.data.get("kind") is ChannelKind.EMAIL


def _read_sender(value: object, info: ValidationInfo) -> str:
    """An e-mail sender, or the sender id of another kind; NOBODY, or empty, where none is named."""
    if value is None:
        return NOBODY if _is_email(info) else ""
    return _values.read_sender(value) if _is_email(info) else _values.read_text(value).strip()


def _read_callback_secrets(value: object) -> tuple[object, ...]:
    return () if value is None else _secrets.read_rotation(value)


def _over(defaults: Mapping[str, int]) -> BeforeValidator:
    """A table that need not say everything again."""
    return BeforeValidator(lambda value: {**defaults, **value} if isinstance(value, dict) else value)


ApiKey = Annotated[Secret, in_folder(_secrets.read_api_key), PlainSerializer(str)]
ListenerSecret = Annotated[Secret, in_folder(_secrets.read_listener_secret), PlainSerializer(str)]
CallbackSecret = Annotated[Secret, in_folder(_secrets.read_callback_secret), PlainSerializer(str)]
SigningSecret = Annotated[Secret, in_folder(_secrets.read_signing_secret), PlainSerializer(str)]
Password = Annotated[Secret, in_folder(_secrets.read_secret), PlainSerializer(str)]
Url = Annotated[str, BeforeValidator(_values.read_http_url)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_values.read_network)]
Attribute = Annotated[str, BeforeValidator(_values.read_attribute)]
Pattern = Annotated[str, BeforeValidator(lambda value, info: _values.read_pattern(value, email=_is_email(info)))]
Duration = Annotated[timedelta, BeforeValidator(_values.duration())]
AnyRate = Annotated[Rate, BeforeValidator(_values.read_rate)]
AnyQuietHours = Annotated[QuietHours, BeforeValidator(_values.read_quiet_hours)]
EventType = Annotated[int, BeforeValidator(_values.read_event_type)]
EventId = Annotated[int, BeforeValidator(_values.whole_number(0, LARGEST_ID))]
ChannelId = Annotated[int, BeforeValidator(_values.whole_number(1, LARGEST_ID))]
AnyInDoubtRule = Annotated[InDoubtRule, BeforeValidator(lambda value: InDoubtRule(_values.choice(*InDoubtRule)(value)))]
WebhookContract = Annotated[
    Contract, BeforeValidator(lambda value: Contract(_values.choice(Contract.KEYED, Contract.HOLD)(value)))
]
Kind = Annotated[ChannelKind, BeforeValidator(lambda value: ChannelKind(_values.choice(*ChannelKind)(value)))]
PerCall = Annotated[int, BeforeValidator(_values.whole_number(1, 1_000_000))]


class _Shape(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )


class SmtpSettings(_Shape):
    """Where a channel hands its mail over."""

    host: Annotated[str, BeforeValidator(_values.read_host)]
    port: Annotated[int, BeforeValidator(_values.whole_number(1, 65535))] = written(587)
    security: Annotated[
        Literal["starttls", "tls", "none"], BeforeValidator(_values.choice("starttls", "tls", "none"))
    ] = written("starttls")
    username: Annotated[str, BeforeValidator(_values.read_text)] | None = None
    password: Password | None = None
    connections: Annotated[int, BeforeValidator(_values.whole_number(1, 1000))] = written(10)


class WebhookSettings(_Shape):
    """Where a channel posts its messages, signed; the secrets also check what comes back."""

    url: Annotated[str, BeforeValidator(_values.read_webhook_url)]
    secrets: Annotated[tuple[SigningSecret, ...], BeforeValidator(_secrets.read_rotation)] = Field(alias="secret")
    batch: Annotated[int, BeforeValidator(_values.whole_number(1, 500))] = written(1)
    concurrency: Annotated[int, BeforeValidator(_values.whole_number(1, 1000))] = written(50)
    contract: WebhookContract = written("keyed")


class BatchFileSettings(_Shape):
    """What files of opt-ins hold, and how often one is written."""

    format: Annotated[Literal["csv", "jsonl"], BeforeValidator(_values.choice("csv", "jsonl"))] = written("csv")
    columns: Annotated[tuple[str, ...], BeforeValidator(_sharing.read_columns)] | None = None  # None: by the kind
    values: Annotated[tuple[str, str], BeforeValidator(_sharing.a_pair(_values.read_text))] = written(["Yes", "No"])
    content: Annotated[Literal["changes", "full"], BeforeValidator(_values.choice("changes", "full"))] = written(
        "changes"
    )
    every: Annotated[timedelta, BeforeValidator(_values.duration("1s"))] = written("24h")
    upload: Annotated[Secret, in_folder(_sharing.read_upload), PlainSerializer(str)] | None = None


class ChannelSettings(_Shape):
    """One way to reach people: a provider behind one or two of Optimove's channels."""

    name: str
    kind: Kind = written("email")  # first: what a sender or a pattern looks like depends on it
    scheduled_id: ChannelId | None = None
    triggered_id: ChannelId | None = None
    provider: Annotated[str, BeforeValidator(_read_provider)] = written("console")
    address_attribute: Annotated[str | None, BeforeValidator(_values.read_address)] = written(
        "attribute:EMAIL", alias="address"
    )  # None: our own directory has it
    match_attribute: Annotated[str | None, BeforeValidator(_values.read_match)] = written(
        "customer_id", alias="match"
    )  # what finds somebody in our directory; None: the customer's id
    personalization: Annotated[tuple[Attribute, ...], BeforeValidator(_values.read_list)] = written([])
    sender: Annotated[str, BeforeValidator(_read_sender)] = written(None, alias="from")
    rate: AnyRate | None = None  # None: as fast as it goes
    quiet_hours: AnyQuietHours | None = None  # None: at any time
    expire_after: Duration = written("24h")
    expire_triggered_after: Duration = written("1h")
    timeout: Duration = written("30s")
    tries: Annotated[int, BeforeValidator(_values.whole_number(1, 100))] = written(12)
    retry_within: Duration = written("4h")
    in_doubt: AnyInDoubtRule | None = None  # None: by the channel's contract
    only_to: Annotated[tuple[Pattern, ...], BeforeValidator(_values.read_list)] = written([])  # empty: everybody
    require_opt_in: Annotated[bool, BeforeValidator(_values.yes_or_no)] = written(False)
    opt_in: Annotated[Route | None, in_folder(_sharing.read_route)] = written(None)  # None: opt-ins are not shared
    opt_in_values: Annotated[tuple[str, str], BeforeValidator(_sharing.a_pair(_values.read_text))] = written(
        ["true", "false"]
    )
    communication_modes: Annotated[tuple[int, int], BeforeValidator(_sharing.a_pair(_sharing.read_mode))] = written(
        [1, 2]
    )
    batch_file: BatchFileSettings = written({})
    apps: Annotated[Mapping[AppId, str], BeforeValidator(_values.read_apps)] = written({})  # by id, their names; push
    callback_secrets: Annotated[tuple[CallbackSecret, ...], BeforeValidator(_read_callback_secrets)] = written(
        None, alias="callback_secret"
    )
    smtp: SmtpSettings | None = None
    webhook: WebhookSettings | None = None

    @property
    def channel_ids(self) -> tuple[int, ...]:
        """Optimove's channels that are this one."""
        return tuple(number for number in (self.scheduled_id, self.triggered_id) if number is not None)

    def channel_id(self, kind: CampaignKind) -> int | None:
        """Optimove's channel for campaigns of this kind."""
        return self.scheduled_id if kind == CampaignKind.SCHEDULED else self.triggered_id

    @property
    def in_one_request(self) -> int:
        """How many messages may leave together."""
        return 1 if self.webhook is None else self.webhook.batch


class OptimoveSettings(_Shape):
    """What Optimove's documents leave open."""

    metric_ids: Annotated[Mapping[str, EventId], _over(METRIC_IDS)] = written({})
    interaction_ids: Annotated[Mapping[str, EventId], _over(INTERACTION_IDS)] = written({})
    metrics_are: Annotated[Literal["totals", "increments"], BeforeValidator(_values.choice("totals", "increments"))] = (
        written("totals")
    )
    rename: Annotated[Literal["delete_then_add", "add"], BeforeValidator(_values.choice("delete_then_add", "add"))] = (
        written("delete_then_add")
    )
    templates_per_call: PerCall = written(100)
    metrics_per_call: PerCall = written(100)
    interactions_per_call: PerCall = written(10_000)
    attributes_per_call: PerCall = written(1_000)  # customers
    preferences_per_call: PerCall = written(50_000)  # customers


class TenantSettings(_Shape):
    """One Optimove customer."""

    name: str
    api_url: Url
    api_key: ApiKey
    admin_api_key: ApiKey | None = None  # None: api_key may change attributes, too
    listener_secrets: Annotated[tuple[ListenerSecret, ...], BeforeValidator(_secrets.read_rotation)] = Field(
        alias="listener_secret"
    )
    listen_also: Annotated[tuple[EventType, ...], BeforeValidator(_values.read_list)] = written([])
    default_country: Annotated[str, BeforeValidator(_values.read_country)] | None = None  # of phone numbers without "+"
    timezone: Annotated[ZoneInfo, BeforeValidator(_values.read_timezone)] = written("UTC")
    page_size: Annotated[int, BeforeValidator(_values.whole_number(1, 100_000))] = written(10_000)
    rate_limit: AnyRate = written("50/10s")
    report: Annotated[
        Literal["interactions", "save_event", "both"],
        BeforeValidator(_values.choice("interactions", "save_event", "both")),
    ] = written("interactions")
    report_every: Annotated[timedelta, BeforeValidator(_values.duration("1s", "1d"))] = written("4h")
    report_for: Annotated[timedelta, BeforeValidator(_values.duration("1s"))] = written("7d")
    metrics_url: Url | None = None  # needed to save events
    metrics_token: Password | None = None  # likewise
    optimove: OptimoveSettings = written({})
    channels: Mapping[str, ChannelSettings] = written({})


class ServiceSettings(_Shape):
    """The service itself, for all tenants."""

    database: Annotated[str, in_folder(_secrets.read_database)] = written("embedded")
    data_dir: Annotated[Path, in_folder(_read_data_dir)] = written("./optirelay-data")
    listen: Annotated[HostPort, BeforeValidator(_values.read_listen)] = written("127.0.0.1:8400")
    allow_networks: Annotated[tuple[Network, ...], BeforeValidator(_values.read_list)] = written([])
    public_url: Url = Field(default_factory=lambda data: f"http://{data['listen']}")
    workers: Annotated[int, BeforeValidator(_values.whole_number(0, 64))] = written(1)
    takeover_after: Annotated[timedelta, BeforeValidator(_values.duration("1s", "1h"))] = written("30s")
    heal_every: Duration = written("15m")
    sweep_every: Duration = written("1h")
    keep_personal: Duration = written("30d")
    keep_messages: Duration = written("400d")

    @field_serializer("database")
    def _mask(self, database: str) -> str:
        return _secrets.without_password(database)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, _secrets.without_password(value) if name == "database" else value


class Settings(_Shape):
    """All that one file says."""

    service: ServiceSettings = written({})
    tenants: Mapping[str, TenantSettings] = written({})
    path: Path
