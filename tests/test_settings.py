"""The settings file: what it means, and every way in which it cannot work."""

import copy
import pickle
import re
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from optirelay.errors import NeedsOperator
from optirelay.model import ChannelKind, Contract
from optirelay.settings import (
    BadSettings,
    BatchFileSettings,
    ByAttribute,
    ByFile,
    ByPreference,
    ChannelSettings,
    Fault,
    HostPort,
    OptimoveSettings,
    QuietHours,
    Rate,
    Secret,
    ServiceSettings,
    Settings,
    SmtpSettings,
    TenantSettings,
    WebhookSettings,
    example,
    find_settings,
    load,
    read,
)
from optirelay.settings._keys import DOCUMENT, Room

KEY = "tenants.acme.channels.news"
LISTENER = "a-listener-secret-0"
SIGNING = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
OTHER_SIGNING = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4"
PAGE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"


def document() -> dict[str, Any]:
    """As little as works, with mail."""
    return tomllib.loads(f"""
        [service]
        [tenants.acme]
        api_url = "https://api5.optimove.net"
        api_key = "the-api-key"
        listener_secret = "{LISTENER}"
        [tenants.acme.optimove]
        [tenants.acme.channels.news]
        scheduled_id = 504
        provider = "smtp"
        from = "Acme <news@acme.example>"
        [tenants.acme.channels.news.smtp]
        host = "smtp.example.com"
    """)


def webhook_document(**changed: Any) -> dict[str, Any]:
    """The same with texts by a webhook; `changed` are keys of the channel, None takes one away."""
    whole = document()
    channel = {
        "scheduled_id": 504,
        "kind": "sms",
        "provider": "webhook",
        "address": "attribute:MOBILE",
        "webhook": {"url": "https://gateway.example.com/send?key=1", "secret": SIGNING},
        **changed,
    }
    whole["tenants"]["acme"]["channels"]["news"] = {k: value for k, value in channel.items() if value is not None}
    return whole


def with_line(key: str, value: str | None, start: Callable[[], dict[str, Any]] = document) -> dict[str, Any]:
    """The same with one key changed, or removed by None; the value as TOML writes it."""
    whole = start()
    *tables, last = key.split(".")
    table: dict[str, Any] = whole
    for name in tables:
        table = table.setdefault(name, {})
    if value is None:
        del table[last]
    else:
        table[last] = tomllib.loads(f"value = {value}")["value"]
    return whole


def settings_of(key: str, value: str | None, folder: Path = Path("/srv/relay")) -> Settings:
    return read(with_line(key, value), path=folder / "optirelay.toml")


def faults_of(whole: dict[str, Any], folder: Path = Path("/srv/relay")) -> tuple[Fault, ...]:
    with pytest.raises(BadSettings) as caught:
        read(whole, path=folder / "optirelay.toml")
    assert str(caught.value).count("\n") == len(caught.value.faults) - 1
    return caught.value.faults


def only_fault(whole: dict[str, Any], folder: Path = Path("/srv/relay")) -> Fault:
    (fault,) = faults_of(whole, folder)
    return fault


def news(whole: Settings) -> ChannelSettings:
    return whole.tenants["acme"].channels["news"]


def test_defaults_are_those_of_the_reference() -> None:
    whole = read(document(), path=Path("/srv/relay/optirelay.toml"))
    service, acme, channel = whole.service, whole.tenants["acme"], news(whole)
    assert whole.path == Path("/srv/relay/optirelay.toml")
    assert (service.database, service.data_dir) == ("embedded", Path("/srv/relay/optirelay-data"))
    assert (service.listen, service.public_url) == (HostPort("127.0.0.1", 8400), "http://127.0.0.1:8400")
    assert (service.workers, service.takeover_after) == (1, timedelta(seconds=30))
    assert service.heal_every == timedelta(minutes=15)
    assert (acme.name, acme.timezone, acme.page_size) == ("acme", ZoneInfo("UTC"), 10_000)
    assert (acme.rate_limit, acme.report) == (Rate(50, timedelta(seconds=10)), "interactions")
    assert list(acme.optimove.metric_ids.values()) == [0, 1, 2, 3, 4, 5, 6, 9]
    assert list(acme.optimove.interaction_ids.values()) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert (acme.report_every, acme.report_for) == (timedelta(hours=4), timedelta(days=7))
    assert (acme.metrics_url, acme.metrics_token, acme.optimove.metrics_are) == (None, None, "totals")
    assert (acme.optimove.templates_per_call, acme.optimove.metrics_per_call) == (100, 100)
    assert acme.optimove.interactions_per_call == 10_000
    assert (channel.name, channel.kind, channel.address_attribute) == ("news", "email", "EMAIL")
    assert (channel.scheduled_id, channel.triggered_id, channel.rate) == (504, None, None)
    assert (channel.personalization, channel.only_to, channel.quiet_hours) == ((), (), None)
    assert (acme.listen_also, acme.default_country, service.allow_networks) == ((), None, ())
    assert (channel.require_opt_in, channel.callback_secrets, channel.webhook) == (False, (), None)
    assert channel.in_one_request == 1
    assert (channel.expire_after, channel.timeout) == (timedelta(hours=24), timedelta(seconds=30))
    assert (channel.tries, channel.retry_within) == (12, timedelta(hours=4))
    assert channel.smtp == SmtpSettings.model_construct(
        host="smtp.example.com", port=587, security="starttls", username=None, password=None, connections=10
    )


def test_a_channel_without_provider_prints_and_needs_no_sender() -> None:
    whole = document()
    whole["tenants"]["acme"]["channels"]["news"] = {"triggered_id": 604}
    channel = news(read(whole, path=Path("x.toml")))
    assert (channel.provider, channel.smtp, channel.triggered_id) == ("console", None, 604)
    assert channel.sender == "optirelay <noreply@optirelay.example>"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        ("4h", timedelta(hours=4)),
        ("7d", timedelta(days=7)),
    ],
)
def test_durations_read_as_written(text: str, meaning: timedelta) -> None:
    assert news(settings_of(f"{KEY}.expire_after", f'"{text}"')).expire_after == meaning


@pytest.mark.parametrize(("text", "per_second"), [("100/s", 100), ("20/10s", 2), ("6000/min", 100), ("1/500ms", 2)])
def test_rates_read_as_written(text: str, per_second: float) -> None:
    rate = news(settings_of(f"{KEY}.rate", f'"{text}"')).rate
    assert rate
    assert rate.per_second == per_second


def test_quiet_hours_and_more_event_types_read_as_written() -> None:
    quiet = news(settings_of(f"{KEY}.quiet_hours", '"22:00-08:30"')).quiet_hours
    assert quiet == QuietHours(time(22), time(8, 30))
    assert settings_of("tenants.acme.listen_also", "[1, 5]").tenants["acme"].listen_also == (1, 5)


@pytest.mark.parametrize(
    ("text", "sender"),
    [
        ("news@acme.example", "news@acme.example"),
        ("Acme Inc. <news@acme.example>", '"Acme Inc." <news@acme.example>'),
        (r"\"Acme, Inc\" <news@acme.example>", '"Acme, Inc" <news@acme.example>'),
        ("Acmé <news@acmé.example>", "Acmé <news@xn--acm-dma.example>"),
        ("Acme <news@mail.test>", "Acme <news@mail.test>"),
    ],
)
def test_senders_come_back_as_a_header_holds_them(text: str, sender: str) -> None:
    assert news(settings_of(f"{KEY}.from", f'"{text}"')).sender == sender


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("[::1]:8400", "::1", 8400), ("0.0.0.0:1", "0.0.0.0", 1), ("relay:65535", "relay", 65535)],
)
def test_listen_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    service = settings_of("service.listen", f'"{text}"').service
    assert (service.listen, str(service.listen)) == (HostPort(host, port), text)
    assert service.public_url == f"http://{text}"


def test_urls_lose_the_slash_at_their_end() -> None:
    assert settings_of("service.public_url", '"https://relay.example.com/x/"').service.public_url.endswith("/x")
    assert settings_of("tenants.acme.api_url", '"http://[::1]:8500/"').tenants["acme"].api_url == "http://[::1]:8500"


def test_a_table_of_ids_need_not_say_everything_again() -> None:
    ids = settings_of("tenants.acme.optimove.metric_ids", "{ bounced = 7 }").tenants["acme"].optimove.metric_ids
    assert (ids["bounced"], ids["sent"], len(ids)) == (7, 0, 8)


def test_the_address_is_an_attribute_and_lists_are_kept_in_order() -> None:
    assert news(settings_of(f"{KEY}.address", '"attribute:MAIL 2"')).address_attribute == "MAIL 2"
    assert news(settings_of(f"{KEY}.personalization", '["B", "A"]')).personalization == ("B", "A")
    assert news(settings_of(f"{KEY}.only_to", '["*@acme.example"]')).only_to == ("*@acme.example",)


# Key, value as TOML writes it (None: left out), a piece of the problem, a piece of the mend.
FAULTS = [
    ("colour", '"blue"', "unknown setting", "Remove it"),
    ("tennants", "{}", "unknown setting", "Did you mean tenants?"),
    ("path", '"x"', "unknown setting", ""),
    ("service.workerz", "2", "unknown setting", "Did you mean workers?"),
    ("service.workers", "65", "65 is no whole number from 0 to 64", "from 0 to 64"),
    ("service.workers", "-1", "from 0 to 64", ""),
    ("service.workers", "true", "true is no whole number", ""),
    ("service.workers", "1.0", "no whole number", ""),
    ("service.takeover_after", '"999ms"', "not from 1s to 1h", "from 1s to 1h"),
    ("service.takeover_after", '"61m"', "not from 1s to 1h", ""),
    ("service.heal_every", '"0s"', "not from 1ms", ""),
    ("service.heal_every", "900", "900 is no duration", "15m"),
    ("service.heal_every", '"999999999d"', "to 3650d", ""),
    ("service.listen", '"8400"', "no host:port", "[::1]:8400"),
    ("service.listen", '":8400"', "no host:port", ""),
    ("service.listen", '"::1:8400"', "no host:port", ""),
    ("service.listen", '"[1:8]:8400"', "no host:port", ""),
    ("service.listen", '"localhost:0"', "no host:port", "from 1 to 65535"),
    ("service.listen", '"localhost:65536"', "no host:port", ""),
    ("service.public_url", '"ftp://relay.example.com"', "neither http:// nor https://", ""),
    ("service.public_url", '"https://relay.example.com/?a=b"', "a query or a fragment", ""),
    ("service.public_url", '"https://relay.example.com/#"', "a query or a fragment", ""),
    ("service.public_url", '"https://u:p@relay.example.com"', "a user name or password", ""),
    ("service.public_url", '"https://"', "names no host", ""),
    ("service.public_url", '"https://[::1"', "no URL", ""),
    ("service.public_url", '"https://x:99999"', "no URL", ""),
    ("service.public_url", '"https://rélay.example"', "plain ASCII", ""),
    ("service.database", '"mysql://x"', "no database", "postgresql://"),
    ("service.database", "5", "no secret", ""),
    ("service.data_dir", '""', "no line of text", ""),
    ("service.data_dir", r'"a\u0000b"', "no line of text", ""),
    ("service.allow_networks", '"10.0.0.0/8"', "no list", ""),
    ("tenants.acme.default_country", '"fr"', '"fr" is no country', "FR"),
    ("tenants.acme.default_country", '"FRA"', "no country", ""),
    ("tenants.acme.default_country", '"001"', "no country", ""),
    ("tenants.acme.default_country", "33", "no country", ""),
    ("tenants.acme.api_url", None, "missing", "api_url ="),
    ("tenants.acme.api_url", '"api5.optimove.net"', "neither http:// nor https://", ""),
    ("tenants.acme.api_key", None, "missing", "env"),
    ("tenants.acme.api_key", '""', "the secret is empty", ""),
    ("tenants.acme.api_key", '"a b"', "a space", ""),
    ("tenants.acme.api_key", r'"a\nb"', "a line break", ""),
    ("tenants.acme.api_key", '["a", "b"]', "not built yet in this version", "one secret"),
    ("tenants.acme.api_key", '{ evn = "X" }', 'unknown setting "evn"', "Did you mean env?"),
    ("tenants.acme.api_key", '{ env = "X", file = "x" }', "no secret", ""),
    ("tenants.acme.api_key", "{ env = 5 }", "no secret", ""),
    ("tenants.acme.api_key", '{ env = "A=B" }', "no name of an environment variable", ""),
    ("tenants.acme.api_key", '{ env = "OPTIRELAY_TEST_UNSET" }', "OPTIRELAY_TEST_UNSET is not set", "Set"),
    ("tenants.acme.api_key", '{ file = "nowhere" }', 'the file "nowhere" does not exist', ""),
    ("tenants.acme.api_key", r'{ file = "a\u0000b" }', "cannot be read", ""),
    ("tenants.acme.listener_secret", None, "missing", "16 characters"),
    ("tenants.acme.listener_secret", '"fifteen-letters"', "shorter than 16 characters", "optirelay init"),
    ("tenants.acme.listener_secret", '"a/listener/secret"', "a URL would change", ""),
    ("tenants.acme.listener_secret", "[]", "does not hold two secrets", ""),
    ("tenants.acme.timezone", '"Europe/Atlantis"', "no time zone", "Europe/Paris"),
    ("tenants.acme.timezone", '"../etc/passwd"', "no time zone", ""),
    ("tenants.acme.timezone", '"Europe"', "no time zone", ""),
    ("tenants.acme.listen_also", "1", "no list", ""),
    ("tenants.acme.listen_also", "[1, 1]", "1 is named twice", ""),
    ("tenants.acme.page_size", "0", "from 1 to 100000", ""),
    ("tenants.acme.page_size", "100001", "from 1 to 100000", ""),
    ("tenants.acme.rate_limit", '"0/s"', "no rate", "20/10s"),
    ("tenants.acme.report", '"none"', "not known here", "save_event"),
    ("tenants.acme.report_every", '"500ms"', "not from 1s to 1d", ""),
    ("tenants.acme.report_every", '"2d"', "not from 1s to 1d", ""),
    ("tenants.acme.report_for", '"0s"', "not from 1s", ""),
    ("tenants.acme.metrics_url", '"metric-777.optimove.net"', "neither http:// nor https://", ""),
    ("tenants.acme.metrics_token", '""', "the secret is empty", ""),
    ("tenants.acme.name", '"acme"', "unknown setting", ""),
    ("tenants.acme.channels", "5", "no table", "[tenants.acme.channels]"),
    ("tenants.acme.optimove", "5", "no table", ""),
    ("tenants.acme.optimove.metrics_are", '"deltas"', "not known here", "increments"),
    ("tenants.acme.optimove.metric_ids", "5", "no table", ""),
    ("tenants.acme.optimove.metric_ids.opend", "2", "unknown setting", "Did you mean opened?"),
    ("tenants.acme.optimove.interaction_ids.sent", '"x"', "no whole number", ""),
    ("tenants.acme.optimove.templates_per_call", "0", "from 1 to", ""),
    ("tenants.acme.optimove.metrics_per_call", "0", "from 1 to", ""),
    ("tenants.acme.optimove.interactions_per_call", "0", "from 1 to", ""),
    (f"{KEY}.kind", '"push"', 'provider = "smtp" carries e-mail alone', 'kind = "email"'),
    (f"{KEY}.kind", '"inapp"', 'provider = "smtp" carries e-mail alone', "webhook"),
    (f"{KEY}.kind", '"fax"', "not known here", '"email" or "sms" or "push" or "inapp"'),
    (f"{KEY}.kind", "[]", "not known here", ""),
    (f"{KEY}.scheduled_id", "0", "from 1", ""),
    (f"{KEY}.triggered_id", "504", f"the same id as {KEY}.scheduled_id", ""),
    (f"{KEY}.provider", '"smpt"', "no provider", "console, null, smtp, webhook"),
    (f"{KEY}.provider", "[]", "no provider", ""),
    (f"{KEY}.address", '"EMAIL"', "names no attribute", '"contacts"'),
    (f"{KEY}.match", '"attribute:EMAIL"', 'only with address = "contacts"', "remove match"),
    (f"{KEY}.opt_in", '"attributes:"', "no line of text", ""),
    (f"{KEY}.opt_in", '"attributes:A;B"', "no attribute's name", "FIRST_NAME"),
    (f"{KEY}.opt_in", '"batch_file:"', "no way to share opt-ins", "channel_preference"),
    (f"{KEY}.opt_in", '"attribute:X"', "no way to share opt-ins", "attributes:EMAIL_OPTIN"),
    (f"{KEY}.opt_in", "true", "no way to share opt-ins", ""),
    (f"{KEY}.opt_in_values", '["yes"]', "does not hold two values", "opted out"),
    (f"{KEY}.opt_in_values", '["yes", "yes"]', "named twice", ""),
    (f"{KEY}.opt_in_values", "[true, false]", "no line of text", ""),
    (f"{KEY}.communication_modes", "[1]", "does not hold two values", ""),
    (f"{KEY}.communication_modes", "[1, -1]", "no communication mode", "Optimove told you"),
    (f"{KEY}.communication_modes", '["1", "2"]', "no communication mode", ""),
    (f"{KEY}.batch_file", "{ every = '1h' }", 'only with opt_in = "batch_file:…"', "Remove the table"),
    ("service.keep_personal", '"30"', "no duration", ""),
    ("tenants.acme.optimove.attributes_per_call", "0", "from 1 to 1000000", ""),
    ("tenants.acme.optimove.preferences_per_call", "0", "from 1 to 1000000", ""),
    ("tenants.acme.admin_api_key", '"a b"', "a space", ""),
    (f"{KEY}.address", '"EMAIL"', "names no attribute", "attribute:EMAIL"),
    (f"{KEY}.address", '"attribute:"', "no line of text", ""),
    (f"{KEY}.personalization", '"FIRST_NAME"', "no list", ""),
    (f"{KEY}.personalization", '["A", "A"]', "named twice", ""),
    (f"{KEY}.from", None, 'needed with provider = "smtp"', "Acme <news@acme.example>"),
    (f"{KEY}.from", '"Acme"', "no sender", ""),
    (f"{KEY}.from", '"Acme <news@acme>"', "no sender", ""),
    (f"{KEY}.from", r'"Acme\r\nBcc: x <news@acme.example>"', "no sender", ""),
    (f"{KEY}.sender", '"a@b.example"', "unknown setting", ""),
    (f"{KEY}.rate", '"fast"', "no rate", "5000/min"),
    (f"{KEY}.rate", '"1/0s"', "no rate", ""),
    (f"{KEY}.rate", "100", "no rate", ""),
    (f"{KEY}.quiet_hours", '"22:00-22:00"', "begins when it ends", "22:00-08:00"),
    (f"{KEY}.quiet_hours", '"22:00"', "no span of hours", "22:00-08:00"),
    (f"{KEY}.quiet_hours", '"22:00-24:00"', "no span of hours", "to 23:59"),
    (f"{KEY}.quiet_hours", '"10pm-8am"', "no span of hours", ""),
    (f"{KEY}.quiet_hours", '"8:00-9:00"', "no span of hours", ""),
    (f"{KEY}.quiet_hours", '["22:00", "08:00"]', "no span of hours", ""),
    (f"{KEY}.expire_after", '"0s"', "not from 1ms", ""),
    (f"{KEY}.retry_within", '"0d"', "not from 1ms", ""),
    (f"{KEY}.timeout", '"0ms"', "not from 1ms", ""),
    (f"{KEY}.timeout", '"1.5s"', "no duration", ""),
    (f"{KEY}.tries", "0", "from 1 to 100", ""),
    (f"{KEY}.tries", "101", "from 1 to 100", ""),
    (f"{KEY}.only_to", '"*@acme.example"', "no list", ""),
    (f"{KEY}.apps", '"ios-main"', "no table", "ios-main"),
    (f"{KEY}.apps", '{ ios-main = "Acme iOS" }', 'only for kind = "push"', "Remove it"),
    ("tenants.acme.optimove.rename", '"delete"', "not known here", "delete_then_add"),
    (f"{KEY}.require_opt_in", '"yes"', "neither true nor false", "without quotes"),
    (f"{KEY}.require_opt_in", "1", "neither true nor false", ""),
    (f"{KEY}.callback_secret", '"seven77"', "shorter than 8 characters", "optirelay init"),
    (f"{KEY}.callback_secret", '"a/callback"', "a URL would change", ""),
    (f"{KEY}.callback_secret", '["12345678", "12345679", "12345670"]', "does not hold two secrets", ""),
    (f"{KEY}.callback_secret", "5", "no secret", "env"),
    (f"{KEY}.smtp", None, 'needed with provider = "smtp"', "host"),
    (f"{KEY}.smtp", "5", "no table", ""),
    (f"{KEY}.smtp.host", None, "missing", "host ="),
    (f"{KEY}.smtp.host", '"smtp example"', "no host", ""),
    (f"{KEY}.smtp.hosts", '"x"', "unknown setting", "Did you mean host?"),
    (f"{KEY}.smtp.port", "0", "from 1 to 65535", ""),
    (f"{KEY}.smtp.port", "65536", "from 1 to 65535", ""),
    (f"{KEY}.smtp.security", '"ssl"', "not known here", "starttls"),
    (f"{KEY}.smtp.connections", "0", "from 1 to 1000", ""),
    (f"{KEY}.smtp.connections", "1001", "from 1 to 1000", ""),
]


FAULTS_OF_A_WEBHOOK = [
    (f"{KEY}.address", None, 'needed with kind = "sms"', "attribute:MOBILE"),
    (f"{KEY}.from", '" "', "no line of text", ""),
    (f"{KEY}.from", r'"A\nB"', "no line of text", ""),
    (f"{KEY}.webhook", None, 'needed with provider = "webhook"', "url and secret"),
    (f"{KEY}.webhook", "5", "no table", ""),
    (f"{KEY}.webhook.url", None, "missing", "url ="),
    (f"{KEY}.webhook.url", '"gateway.example.com/send"', "neither http:// nor https://", ""),
    (f"{KEY}.webhook.url", '"https://gateway.example.com/#x"', "without a fragment", ""),
    (f"{KEY}.webhook.url", '"https://gateway.example.com/ü"', "plain ASCII", ""),
    (f"{KEY}.webhook.url", '"https://gateway.example.com/?a=b c"', "plain ASCII", ""),
    (f"{KEY}.webhook.url", '"https://u:p@gateway.example.com/"', "a user name or password", ""),
    (f"{KEY}.webhook.url", '"https://[::1/"', "no URL", ""),
    (f"{KEY}.webhook.url", "5", "no URL", ""),
    (f"{KEY}.webhook.url", '"http://gateway.example.com/"', "leads only to allow_networks", "https://"),
    (f"{KEY}.webhook.url", '"http://93.184.215.14/"', "leads only to allow_networks", ""),
    (f"{KEY}.webhook.url", '"https://127.0.0.1/"', "private network", "allow_networks"),
    (f"{KEY}.webhook.url", '"https://10.1.2.3:8443/send"', "private network", ""),
    (f"{KEY}.webhook.url", '"https://[::1]/"', "private network", ""),
    (f"{KEY}.webhook.url", '"https://[::ffff:127.0.0.1]/"', "private network", ""),
    (f"{KEY}.webhook.url", '"https://169.254.169.254/"', "private network", ""),
    (f"{KEY}.webhook.secret", None, "missing", "whsec_"),
    (f"{KEY}.webhook.secret", '"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"', "no secret of Standard Webhooks", "whsec_"),
    (f"{KEY}.webhook.secret", '"whsec_MDEyMzQ1Njc4OWFiY2Rl"', "no secret of Standard Webhooks", "optirelay init"),
    (f"{KEY}.webhook.secret", '"whsec_no base64!"', "no secret of Standard Webhooks", ""),
    (f"{KEY}.webhook.secret", '"whsec_é"', "no secret of Standard Webhooks", ""),
    (f"{KEY}.webhook.secret", "[]", "does not hold two secrets", ""),
    (f"{KEY}.webhook.secrets", "[]", "unknown setting", "Did you mean secret?"),
    (f"{KEY}.webhook.batch", "0", "from 1 to 500", ""),
    (f"{KEY}.webhook.batch", "501", "from 1 to 500", ""),
    (f"{KEY}.webhook.concurrency", "0", "from 1 to 1000", ""),
    (f"{KEY}.webhook.concurrency", "1001", "from 1 to 1000", ""),
    (f"{KEY}.webhook.contract", '"replaceable"', "not known here", '"keyed" or "hold"'),
]
ALL_FAULTS = [(document, *fault) for fault in FAULTS] + [(webhook_document, *fault) for fault in FAULTS_OF_A_WEBHOOK]


@pytest.mark.parametrize(
    ("start", "key", "value", "problem", "mend"), ALL_FAULTS, ids=[f"{f[1]}={f[2]!r:.40}" for f in ALL_FAULTS]
)
def test_what_cannot_work_is_named_with_its_mend(
    start: Callable[[], dict[str, Any]], key: str, value: str | None, problem: str, mend: str
) -> None:
    fault = only_fault(with_line(key, value, start))
    assert fault.key == key
    assert problem in fault.problem
    assert mend in fault.mend
    assert fault.mend
    assert str(fault) == f"{fault.key}: {fault.problem}. {fault.mend}"


def test_a_webhook_is_an_address_and_what_signs() -> None:
    channel = news(read(webhook_document(), path=Path("x.toml")))
    webhook = channel.webhook
    assert webhook
    assert (webhook.url, webhook.secrets) == ("https://gateway.example.com/send?key=1", (Secret(SIGNING),))
    assert (webhook.batch, webhook.concurrency, webhook.contract) == (1, 50, Contract.KEYED)
    assert (channel.kind, channel.address_attribute, channel.sender) == (ChannelKind.SMS, "MOBILE", "")
    table = {"url": "https://x.example", "secret": SIGNING, "batch": 500, "concurrency": 1000, "contract": "hold"}
    channel = news(read(webhook_document(webhook=table), path=Path("x.toml")))
    assert channel.webhook
    assert (channel.in_one_request, channel.webhook.concurrency, channel.webhook.contract) == (500, 1000, Contract.HOLD)


@pytest.mark.parametrize("kind", ["sms", "push", "inapp"])
@pytest.mark.parametrize("provider", ["console", "null", "webhook"])
def test_a_sender_id_is_any_line_and_need_not_be(kind: str, provider: str) -> None:
    table = {} if provider == "webhook" else {"webhook": None}
    whole = webhook_document(kind=kind, provider=provider, **table)
    assert news(read(whole, path=Path("x.toml"))).sender == ""
    whole["tenants"]["acme"]["channels"]["news"] |= {"from": " Acme <3 ", "only_to": ["+336*", "token-?"]}
    channel = news(read(whole, path=Path("x.toml")))
    assert (channel.sender, channel.only_to) == ("Acme <3", ("+336*", "token-?"))


def test_a_push_channel_has_apps_by_id() -> None:
    whole = webhook_document(kind="push", apps={"ios-main": "Acme iOS", "com.acme.app": "Acme"})
    assert news(read(whole, path=Path("x.toml"))).apps == {"ios-main": "Acme iOS", "com.acme.app": "Acme"}
    for apps, problem in (
        ({" ios": "Acme"}, "is no app's id"),
        ({"": "Acme"}, "is no app's id"),
        ({"ios": " "}, "the name of ios"),
        ({"ios": 5}, "the name of ios"),
    ):
        assert problem in only_fault(webhook_document(kind="push", apps=apps)).problem


def test_what_a_pattern_looks_like_depends_on_the_kind() -> None:
    assert "*@acme.example" in only_fault(with_line(f"{KEY}.only_to", '["+336*"]')).mend
    assert "+3361234567*" in only_fault(with_line(f"{KEY}.only_to", '["+336 *"]', webhook_document)).mend


def test_mail_by_a_webhook_needs_a_sender_as_any_mail_does() -> None:
    fault = only_fault(webhook_document(kind="email"))
    assert (fault.key, fault.problem) == (f"{KEY}.from", 'needed with provider = "webhook"')
    whole = webhook_document(kind="email", **{"from": "Acme Inc. <news@acme.example>"})
    assert news(read(whole, path=Path("x.toml"))).sender == '"Acme Inc." <news@acme.example>'
    assert only_fault(webhook_document(kind="email", **{"from": "ACME"})).problem == '"ACME" is no sender'


def test_texts_do_not_go_by_smtp_and_need_the_attribute_of_a_number() -> None:
    assert [fault.key for fault in faults_of(with_line(f"{KEY}.kind", '"sms"'))] == [f"{KEY}.address", f"{KEY}.kind"]


def test_a_table_of_another_provider_is_a_fault_beside_the_one_that_lacks() -> None:
    faults = faults_of(with_line(f"{KEY}.provider", '"webhook"'))
    assert [(fault.key, fault.problem) for fault in faults] == [
        (f"{KEY}.smtp", 'not for provider = "webhook"'),
        (f"{KEY}.webhook", 'needed with provider = "webhook"'),
    ]
    assert only_fault(webhook_document(provider="null")).key == f"{KEY}.webhook"


@pytest.mark.parametrize(
    ("networks", "url"),
    [
        (["127.0.0.0/8"], "http://127.0.0.1:9000/send"),
        (["127.0.0.0/8"], "https://127.0.0.1:9000/send"),
        (["10.1.2.3"], "http://10.1.2.3/"),
        (["::1", "fd00::/8"], "http://[fd00::5]/"),
        (["127.0.0.0/8"], "http://gateway.internal/send"),  # judged when it is opened
        ([], "https://gateway.internal/send"),
        ([], "https://93.184.215.14/"),
    ],
)
def test_a_webhook_leads_to_the_public_or_to_networks_that_are_named(networks: list[str], url: str) -> None:
    whole = webhook_document(webhook={"url": url, "secret": SIGNING})
    whole["service"]["allow_networks"] = networks
    settings = read(whole, path=Path("x.toml"))
    assert settings.service.allow_networks == tuple(map(ip_network, networks))
    webhook = news(settings).webhook
    assert webhook
    assert webhook.url == url


def test_networks_that_are_not_named_stay_closed() -> None:
    whole = webhook_document(webhook={"url": "http://10.1.2.3/", "secret": SIGNING})
    whole["service"]["allow_networks"] = ["127.0.0.0/8", "10.1.2.4"]
    assert only_fault(whole).problem == "http:// leads only to allow_networks"


def test_what_is_no_network_is_named_by_its_place() -> None:
    networks = '["10.1.2.3/8", "10.0.0.0/33", "localhost", 5, "fe80::1%eth0", "::/0"]'
    faults = faults_of(with_line("service.allow_networks", networks))
    assert [fault.key for fault in faults] == [f"service.allow_networks[{place}]" for place in range(5)]
    assert faults[0].problem == '"10.1.2.3/8" begins inside the network'
    assert faults[0].mend == "Write 10.0.0.0/8, or an address alone"
    assert {fault.problem.rpartition(" is ")[2] for fault in faults[1:]} == {"no network"}


def test_callback_and_signing_secrets_may_be_two_while_rotating() -> None:
    whole = webhook_document(callback_secret=["the-new-one", "the-old-one"])
    whole["tenants"]["acme"]["channels"]["news"]["webhook"]["secret"] = [OTHER_SIGNING, SIGNING]
    channel = news(read(whole, path=Path("x.toml")))
    assert channel.callback_secrets == (Secret("the-new-one"), Secret("the-old-one"))
    assert channel.webhook
    assert channel.webhook.secrets == (Secret(OTHER_SIGNING), Secret(SIGNING))
    one = news(settings_of(f"{KEY}.callback_secret", '"the-only-one"'))
    assert one.callback_secrets == (Secret("the-only-one"),)
    whole["tenants"]["acme"]["channels"]["news"]["callback_secret"] = ["the-new-one", "short"]
    assert only_fault(whole).key == f"{KEY}.callback_secret[1]"


def test_a_country_and_the_need_of_an_opt_in_read_as_written() -> None:
    assert settings_of("tenants.acme.default_country", '"FR"').tenants["acme"].default_country == "FR"
    assert news(settings_of(f"{KEY}.require_opt_in", "true")).require_opt_in is True


def test_what_stands_in_a_list_is_named_by_its_place() -> None:
    faults = faults_of(with_line(f"{KEY}.only_to", '["x", "*@acme.example", 5]'))
    assert [fault.key for fault in faults] == [f"{KEY}.only_to[0]", f"{KEY}.only_to[2]"]
    faults = faults_of(with_line("tenants.acme.listen_also", '[1, 13, 14, "5", true]'))
    assert [(fault.key, fault.problem) for fault in faults] == [
        ("tenants.acme.listen_also[1]", "13 is registered anyway"),
        ("tenants.acme.listen_also[2]", "14 is no event type that Optimove registers"),
        ("tenants.acme.listen_also[3]", '"5" is no event type that Optimove registers'),
        ("tenants.acme.listen_also[4]", "true is no event type that Optimove registers"),
    ]
    faults = faults_of(with_line("tenants.acme.listener_secret", f'["{LISTENER}", "short"]'))
    assert [fault.key for fault in faults] == ["tenants.acme.listener_secret[1]"]


@pytest.mark.parametrize("report", ["save_event", "both"])
def test_events_need_an_address_and_a_token(report: str) -> None:
    whole = with_line("tenants.acme.report", f'"{report}"')
    faults = faults_of(whole)
    assert [fault.key for fault in faults] == ["tenants.acme.metrics_token", "tenants.acme.metrics_url"]
    assert faults[0].problem == f'needed with report = "{report}"'
    whole["tenants"]["acme"] |= {"metrics_token": "a token", "metrics_url": "http://127.0.0.1:8500/api/saveEvent"}
    acme = read(whole, path=Path("x.toml")).tenants["acme"]
    assert acme.metrics_url == "http://127.0.0.1:8500/api/saveEvent"
    assert "a token" not in repr(acme)


def test_no_tenants_is_a_fault() -> None:
    assert only_fault({}).key == "tenants"
    assert only_fault({"tenants": {}}).key == "tenants"
    assert only_fault({"tenants": 5}) == Fault("tenants", "this is no table", "Write a table [tenants]")


@pytest.mark.parametrize("name", ["Acme", "", "a.b", "a b", "x" * 41, "é", "a\nb"])
def test_a_name_that_a_url_or_file_could_not_hold_is_a_fault(name: str) -> None:
    whole = document()
    whole["tenants"][name] = {**whole["tenants"].pop("acme"), "channels": {name: {"scheduled_id": 1}}}
    tenant, channel = faults_of(whole)
    assert tenant.problem == channel.problem == "this name cannot be used"
    assert channel.key.startswith(f"{tenant.key}.channels.")


def test_one_of_optimoves_ids_belongs_to_one_channel_of_a_tenant() -> None:
    whole = document()
    whole["tenants"]["acme"]["channels"]["more"] = {"scheduled_id": 600, "triggered_id": 504}
    fault = only_fault(whole)
    assert (fault.key, fault.problem) == (
        "tenants.acme.channels.more.triggered_id",
        f"the same id as {KEY}.scheduled_id",
    )


def test_two_tenants_may_use_the_same_channel_id() -> None:
    whole = document()
    whole["tenants"]["other"] = document()["tenants"]["acme"]
    assert set(read(whole, path=Path("x.toml")).tenants) == {"acme", "other"}


FILES = f"{KEY}.batch_file"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        (f"{FILES}.format", '"parquet"', "not known here"),
        (f"{FILES}.columns", '["Customer_ID"]', "not two or three columns"),
        (f"{FILES}.columns", '["A", "B", "C", "D"]', "not two or three columns"),
        (f"{FILES}.columns", '["A", "A"]', "named twice"),
        (f"{FILES}.values", '["Yes", "Yes"]', "named twice"),
        (f"{FILES}.content", '"all"', "not known here"),
        (f"{FILES}.every", '"500ms"', "not from 1s"),
        (f"{FILES}.upload", '"/srv/optins"', "is no URL"),
        (f"{FILES}.upload", '"gopher://here/optins"', "nothing here can write to"),
        (f"{FILES}.zip", "true", "unknown setting"),
    ],
)
def test_what_files_of_opt_ins_cannot_be_is_named(key: str, value: str, problem: str) -> None:
    fault = only_fault(with_line(key, value, lambda: with_line(f"{KEY}.opt_in", '"batch_file:optins"')))
    assert fault.key == key
    assert problem in fault.problem


def test_how_opt_ins_are_shared() -> None:
    assert news(settings_of(f"{KEY}.opt_in", '"channel_preference"')).opt_in == ByPreference()
    assert news(settings_of(f"{KEY}.opt_in", '"attributes:SmsOptIn"')).opt_in == ByAttribute("SmsOptIn")
    route = news(settings_of(f"{KEY}.opt_in", '"batch_file:optins"')).opt_in
    assert route == ByFile(Path("/srv/relay/optins"))
    assert str(route) == "batch_file:/srv/relay/optins"
    silent = news(read(document(), path=Path("x.toml")))
    assert (silent.opt_in, silent.match_attribute, silent.opt_in_values) == (None, None, ("true", "false"))


def test_the_password_of_an_upload_is_never_shown() -> None:
    whole = with_line(f"{FILES}.upload", '"sftp://acme:hunter2@files.example.com/optins"')
    whole["tenants"]["acme"]["channels"]["news"]["opt_in"] = "batch_file:optins"
    channel = news(read(whole, path=Path("x.toml")))
    assert "hunter2" not in f"{channel!r} {channel} {channel.model_dump_json()}"


def test_channels_of_one_name_write_their_files_into_directories_of_their_own() -> None:
    whole = with_line(f"{KEY}.opt_in", '"batch_file:optins"')
    whole["tenants"]["acme"]["channels"]["other"] = {"scheduled_id": 7, "opt_in": "batch_file:optins"}
    whole["tenants"]["zeta"] = copy.deepcopy(whole["tenants"]["acme"])
    whole["tenants"]["zeta"]["channels"]["news"]["opt_in"] = "batch_file:./zeta/../optins"
    whole["tenants"]["zeta"]["channels"]["other"]["opt_in"] = "batch_file:zeta"
    fault = only_fault(whole)
    assert fault.key == "tenants.zeta.channels.news.opt_in"
    assert "the same directory as tenants.acme.channels.news.opt_in" in fault.problem


def test_an_attribute_tells_the_opt_ins_of_one_channel() -> None:
    whole = with_line(f"{KEY}.opt_in", '"attributes:OptIn"')
    channels = whole["tenants"]["acme"]["channels"]
    channels["other"] = {"scheduled_id": 7, "opt_in": "attributes:optin"}
    fault = only_fault(whole)
    assert (fault.key, fault.problem) == (
        "tenants.acme.channels.other.opt_in",
        f"the same attribute as {KEY}.opt_in",
    )


def test_a_channel_without_any_id_is_a_fault() -> None:
    fault = only_fault(with_line(f"{KEY}.scheduled_id", None))
    assert (fault.key, fault.problem) == (KEY, "neither scheduled_id nor triggered_id is set")


def test_an_smtp_table_beside_another_provider_is_a_fault() -> None:
    fault = only_fault(with_line(f"{KEY}.provider", '"null"'))
    assert (fault.key, fault.problem) == (f"{KEY}.smtp", 'not for provider = "null"')


def test_the_tables_of_a_provider_that_nobody_knows_are_looked_at_all_the_same() -> None:
    whole = with_line(f"{KEY}.smtp.username", '"acme"')
    whole["tenants"]["acme"]["channels"]["news"]["provider"] = "smpt"
    assert [fault.key for fault in faults_of(whole)] == [f"{KEY}.provider", f"{KEY}.smtp.password"]


@pytest.mark.parametrize(("there", "lacking"), [("username", "password"), ("password", "username")])
def test_a_user_name_and_a_password_go_together(there: str, lacking: str) -> None:
    fault = only_fault(with_line(f"{KEY}.smtp.{there}", '"hunter2"'))
    assert (fault.key, fault.problem) == (f"{KEY}.smtp.{lacking}", f"needed beside {there}")


def test_all_faults_are_told_at_once() -> None:
    whole = document()
    whole["service"] = {"workers": 99, "listen": "x", "keep_personal": "long", "colour": 1}
    acme = whole["tenants"]["acme"]
    del acme["api_key"], acme["channels"]["news"]["smtp"]["host"], acme["channels"]["news"]["from"]
    acme["channels"]["news"] |= {"rate": "fast", "triggered_id": 504}
    assert [fault.key for fault in faults_of(whole)] == [
        "service.colour",
        "service.keep_personal",
        "service.listen",
        "service.workers",
        "tenants.acme.api_key",
        f"{KEY}.from",
        f"{KEY}.rate",
        f"{KEY}.smtp.host",
        f"{KEY}.triggered_id",
    ]


def test_secrets_come_from_the_environment_and_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTIRELAY_TEST_KEY", "from-the-environment")
    monkeypatch.setenv("OPTIRELAY_TEST_DATABASE", "postgresql://relay:hunter2@db/relay")
    (tmp_path / "new").write_text("a-secret-in-a-file\r\n")
    whole = document()
    whole["service"]["database"] = {"env": "OPTIRELAY_TEST_DATABASE"}
    whole["tenants"]["acme"]["api_key"] = {"env": "OPTIRELAY_TEST_KEY"}
    whole["tenants"]["acme"]["listener_secret"] = [{"file": "new"}, LISTENER]
    whole["tenants"]["acme"]["channels"]["news"]["smtp"] |= {"username": "acme", "password": {"file": "new"}}
    settings = read(whole, path=tmp_path / "optirelay.toml")
    acme = settings.tenants["acme"]
    assert settings.service.database == "postgresql://relay:hunter2@db/relay"
    assert acme.api_key.reveal() == "from-the-environment"
    assert [secret.reveal() for secret in acme.listener_secrets] == ["a-secret-in-a-file", LISTENER]
    smtp = news(settings).smtp
    assert smtp
    assert smtp.password == Secret("a-secret-in-a-file")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"one\ntwo\n", "a line break"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * 2**21, "1 MiB"),
    ],
)
def test_a_secret_file_that_cannot_be_one_is_a_fault(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "key").write_bytes(content)
    fault = only_fault(with_line("tenants.acme.api_key", '{ file = "key" }'), tmp_path)
    assert problem in fault.problem
    assert '"key"' in fault.problem


@pytest.mark.parametrize(
    ("name", "problem"), [(".", "no regular file"), ("/dev/null", "no regular file"), ("k" * 300, "read")]
)
def test_a_secret_is_read_from_a_regular_file_alone(tmp_path: Path, name: str, problem: str) -> None:
    assert problem in only_fault(with_line("tenants.acme.api_key", f'{{ file = "{name}" }}'), tmp_path).problem


@pytest.mark.parametrize("value", ["", "  ", "a\nb", "\udcff"])
def test_an_environment_variable_that_cannot_be_a_secret_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTIRELAY_TEST_KEY", value)
    fault = only_fault(with_line("tenants.acme.api_key", '{ env = "OPTIRELAY_TEST_KEY" }'))
    assert "OPTIRELAY_TEST_KEY" in fault.problem


def test_secrets_show_themselves_nowhere() -> None:
    whole = document()
    whole["service"]["database"] = "postgresql://relay:hunter2@p@db/relay?sslpassword=hunter2&x=1"
    whole["tenants"]["acme"]["channels"]["news"]["smtp"] |= {"username": "acme", "password": "hunter2"}
    whole["tenants"]["acme"]["channels"]["texts"] = {
        **webhook_document(callback_secret="hunter2222")["tenants"]["acme"]["channels"]["news"],
        "scheduled_id": 505,
    }
    settings = read(whole, path=Path("x.toml"))
    texts = [repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json()]
    texts += [repr(settings.service), str(settings.service), repr(settings.tenants["acme"].api_key)]
    texts += [f"{settings.tenants['acme'].api_key}"]
    for text in texts:
        assert "********" in text
        for secret in ("the-api-key", LISTENER, "hunter2", "p@db", SIGNING):
            assert secret not in text
    assert "postgresql://relay:********@db/relay?sslpassword=********&x=1" in settings.model_dump_json()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("service.database", '"mysql://relay:hunter2@db"'),
        ("service.public_url", '"https://relay:hunter2@x.example"'),
        ("tenants.acme.api_key", '"hunter2 hunter2"'),
        ("tenants.acme.api_key", '["hunter2", "x"]'),
        ("tenants.acme.listener_secret", '"hunter2"'),
        (f"{KEY}.callback_secret", '"hunter2"'),
        (f"{KEY}.webhook", '{ url = "https://hunter2@x.example/", secret = "whsec_hunter2" }'),
        (f"{KEY}.smtp", '{ host = "x", username = "u", password = "hunter2\\n" }'),
    ],
)
def test_no_fault_repeats_a_secret(key: str, value: str) -> None:
    assert "hunter2" not in str(faults_of(with_line(key, value)))


def test_a_secret_matches_itself_alone_and_survives_a_pickle() -> None:
    secret = Secret("pässword")
    assert secret.matches("pässword")
    assert not secret.matches("password")
    assert not secret.matches("\udcff")
    assert secret == pickle.loads(pickle.dumps(secret)) != Secret("other")
    assert len({secret, Secret("pässword")}) == 1


def test_settings_cannot_be_changed() -> None:
    settings = read(document(), path=Path("x.toml"))
    with pytest.raises(ValidationError):
        settings.service.workers = 2


def test_bad_settings_need_the_operator_and_survive_a_pickle() -> None:
    error = BadSettings([Fault("a", "is wrong", "Mend it"), Fault("b", "too", "Likewise")])
    assert isinstance(error, NeedsOperator)
    assert str(pickle.loads(pickle.dumps(error))) == "a: is wrong. Mend it\nb: too. Likewise"


def load_fault(path: Path) -> Fault:
    with pytest.raises(BadSettings) as caught:
        load(path)
    (fault,) = caught.value.faults
    return fault


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    assert load_fault(path) == Fault(str(path), "there is no such file", "`optirelay init` writes one")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[service]\nworkers = \n", "line 2"),
        (b"[service]\nworkers = 1\nworkers = 2\n", "line 3"),
        (b'[service]\n\ndatabase = """', "line 3"),
        (b'[service]\ndatabase = "\x01"', "line 2"),
        (b"[service]\n# caf\xe9\n", "not UTF-8 (line 2)"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"1" * 5_000, "no TOML"),
        (b"#" * 2**21, "1 MiB"),
    ],
)
def test_a_file_that_is_no_toml_is_one_fault_with_its_line(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "optirelay.toml"
    path.write_bytes(content)
    fault = load_fault(path)
    assert fault.key == str(path)
    assert problem in fault.problem
    assert "\n" not in str(fault)


def test_a_directory_or_a_hopeless_path_is_a_fault(tmp_path: Path) -> None:
    assert "directory" in load_fault(tmp_path).problem
    assert "cannot be read" in load_fault(Path("a\0b")).problem
    assert "cannot be read" in load_fault(tmp_path / ("x" * 300)).problem


def test_a_byte_order_mark_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "optirelay.toml"
    path.write_text("\ufeff" + example().replace('{ env = "ACME_API_KEY" }', '"k"'), encoding="utf-8")
    assert "acme" in load(path).tenants


def test_keys_nested_without_end_are_an_unknown_setting(tmp_path: Path) -> None:
    path = tmp_path / "optirelay.toml"
    path.write_text("a" + ".a" * 2_000 + " = 1\n" + example().replace('{ env = "ACME_API_KEY" }', '"k"'))
    assert load_fault(path).problem == "unknown setting"


def test_the_file_is_that_of_the_option_then_of_the_environment_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    option, variable, here = tmp_path / "a.toml", tmp_path / "b.toml", tmp_path / "optirelay.toml"
    for path in (option, variable, here):
        path.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPTIRELAY_CONFIG", raising=False)
    assert find_settings(None).resolve() == here.resolve()
    monkeypatch.setenv("OPTIRELAY_CONFIG", str(variable))
    assert find_settings(None) == variable
    assert find_settings(option) == option
    variable.unlink()
    with pytest.raises(BadSettings, match=r"b\.toml: there is no such file \(named by OPTIRELAY_CONFIG\)"):
        find_settings(None)
    with pytest.raises(BadSettings, match=r"c\.toml: there is no such file\. `optirelay init` writes one"):
        find_settings(tmp_path / "c.toml")


def test_the_example_works_once_its_variables_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "optirelay.toml"
    path.write_text(example("my-shop"))
    assert "MY_SHOP_API_KEY is not set" in load_fault(path).problem
    monkeypatch.setenv("MY_SHOP_API_KEY", "key")
    channel = load(path).tenants["my-shop"].channels["newsletter"]
    assert (channel.provider, channel.scheduled_id) == ("console", 504)
    assert example() != example()


def test_everything_commented_out_in_the_example_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = re.sub(r"^#(?! )", "", example(), flags=re.MULTILINE).replace('provider = "console"', 'provider = "smtp"')
    assert len({*re.findall(r'secret = "(\S{40,})"', text), *re.findall(r'secret = "(\S{40,})"', example())}) == 6
    path = tmp_path / "optirelay.toml"
    path.write_text(text)
    monkeypatch.setenv("ACME_API_KEY", "key")
    monkeypatch.setenv("ACME_ADMIN_KEY", "key")
    monkeypatch.setenv("ACME_SMTP_PASSWORD", "password")
    monkeypatch.setenv("ACME_METRICS_TOKEN", "token")
    channels = load(path).tenants["acme"].channels
    smtp, webhook = channels["newsletter"].smtp, channels["texts"].webhook
    assert smtp
    assert webhook
    assert smtp.password == Secret("password")
    assert len(channels["texts"].callback_secrets) == len(webhook.secrets) == 1
    for _, shape in TABLES:
        for key, _field in keys_with_fields(shape):
            assert re.search(rf"^(\[.*\.)?{key}\b", text, flags=re.MULTILINE) or f".{key}" in text, key


TABLES: list[tuple[str, type[Any]]] = [
    ("[service]", ServiceSettings),
    ("[tenants.NAME]", TenantSettings),
    ("[tenants.NAME.optimove]", OptimoveSettings),
    ("[tenants.NAME.channels.NAME]", ChannelSettings),
    ("[tenants.NAME.channels.NAME.smtp]", SmtpSettings),
    ("[tenants.NAME.channels.NAME.webhook]", WebhookSettings),
    ("[tenants.NAME.channels.NAME.batch_file]", BatchFileSettings),
]


def keys_with_fields(shape: type[Any]) -> Iterator[tuple[str, FieldInfo]]:
    for name, info in shape.model_fields.items():
        if name not in ("name", "batch_file"):  # a table of its own
            yield info.alias or name, info


def section(title: str) -> str:
    """What the reference says under this heading."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize(("title", "shape"), TABLES)
def test_the_reference_has_every_setting_with_its_default(title: str, shape: type[Any]) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", section(f"`{title}`"), flags=re.MULTILINE))
    assert set(rows) == {key for key, _ in keys_with_fields(shape)}
    for key, info in keys_with_fields(shape):
        if info.is_required():
            assert rows[key].startswith("needed"), key
        elif isinstance(info.default, int | str):
            default = f'"{info.default}"' if isinstance(info.default, str) else str(info.default).lower()
            assert rows[key].startswith(f"`{default}`"), key


def rooms(room: Room) -> Iterator[Room]:
    yield room
    for inner in [*room.inside.values(), *([room.each] if room.each else [])]:
        yield from rooms(inner)


def test_the_reference_tells_which_secrets_cannot_be_lists_yet() -> None:
    names = set(re.findall(r"`(\w+)`", section("Not built yet")))
    assert names == {"listener_secret", "callback_secret", "secret"}


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KNOWN = st.sampled_from(sorted({key for room in rooms(DOCUMENT) for key in room.keys} | {"env", "file"}))
VALUES = st.one_of(
    TEXTS,
    st.sampled_from(
        [
            "30s",
            "100/s",
            "smtp",
            "console",
            "acme",
            "Acme <a@b.example>",
            "attribute:X",
            "[::1]:1",
            "http://x",
            "webhook",
            "sms",
            "FR",
            "10.0.0.0/8",
        ]
    ),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.datetimes(timezones=st.sampled_from([UTC])) | st.datetimes(),
    st.just(date(2031, 4, 2)) | st.just(time(10)) | st.just(datetime(2031, 4, 2, tzinfo=UTC)),
)
ANYTHING = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KNOWN | TEXTS, inner, max_size=6), max_leaves=20
)


def settings_or_faults(whole: dict[str, Any]) -> Settings | tuple[Fault, ...]:
    try:
        return read(whole, path=Path("/srv/relay/optirelay.toml"))
    except BadSettings as error:
        lines = str(error).splitlines()
        return error.faults if len(lines) == len(error.faults) else ()


def table(room: Room) -> st.SearchStrategy[Any]:
    """Tables of about the right shape, with anything in them."""
    if room.each:
        return st.dictionaries(st.sampled_from(["acme", "b"]) | TEXTS, table(room.each) | VALUES, max_size=3)
    built = {key: table(room.inside[key]) | VALUES if key in room.inside else ANYTHING for key in sorted(room.keys)}
    return st.fixed_dictionaries({}, optional=built)


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.dictionaries(KNOWN | TEXTS, ANYTHING, max_size=5), table(DOCUMENT)))
def test_whatever_the_file_holds_it_is_settings_or_faults(whole: dict[str, Any]) -> None:
    result = settings_or_faults(whole)
    assert result.tenants if isinstance(result, Settings) else result


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted({fault[:2] for fault in ALL_FAULTS if "." in fault[1]}, key=str)), ANYTHING)
def test_any_value_of_one_key_is_its_meaning_or_a_fault_there(
    place: tuple[Callable[[], dict[str, Any]], str], value: Any
) -> None:
    start, key = place
    whole = start()
    *tables, last = key.split(".")
    here: Any = whole
    for name in tables:
        here = here.setdefault(name, {})
    here[last] = value
    result = settings_or_faults(whole)
    assert isinstance(result, Settings) or any(fault.key.startswith((key, KEY)) for fault in result)


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")))
@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_settings_or_faults(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "optirelay.toml"
    path.write_bytes(content)
    with pytest.raises(BadSettings) as caught:
        load(path)
    assert len(str(caught.value).splitlines()) == len(caught.value.faults)
