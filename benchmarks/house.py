"""Simulator, service and database as processes of their own, as an operator has them; and a look at what they do."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import psycopg

from optirelay.engine import runtime
from optirelay.settings import Settings, load

TENANT_ID, CHANNEL_ID, TEMPLATE_ID = 7001, 504, 17
PLAIN = "<p>Hello</p>"
MAIL = (
    '<table width="600" cellpadding="0" cellspacing="0" style="font-family:Helvetica,Arial,sans-serif">\n'
    "<tr><td style=\"padding:24px\"><h1>Hello {{ FIRST_NAME | default: 'there' }}</h1>\n"
    + "".join(
        f'<p style="margin:0 0 16px;color:#333333;font-size:15px;line-height:22px">{paragraph}</p>\n'
        for paragraph in (
            "Your week in {{ COUNTRY }} starts with three things that people like you looked at most. ",
            "We kept the first one for you, {{ FIRST_NAME }}; it is yours until Sunday evening. ",
        )
    )
    + "".join(
        f'<a href="https://shop.example.com/offers/{n}?utm_source=mail&amp;utm_campaign=week&amp;item={n:06}" '
        f'style="display:block;padding:12px 24px;background:#0a5;color:#ffffff;text-decoration:none">Offer {n}</a>\n'
        for n in range(1, 13)
    )
    + '<p style="font-size:11px;color:#999999">You get this because {{ EMAIL }} is on our list; '
    '<a href="https://shop.example.com/settings/{{ customer_id }}">change that</a>.</p></td></tr></table>\n'
)
"""About 4 kB of HTML, with what a real one has: a name, links, an address and a link of one's own at its end."""

SCENARIO = """
[[tenants]]
id = {id}
key = "key-of-{name}"
channels = {{ {channels} }}
customers = {customers}
"""
SERVICE = """
[service]
data_dir = "data"
listen = "127.0.0.1:{listen}"
workers = {workers}
allow_networks = ["127.0.0.0/8"]
"""
TENANT = """
[tenants.{name}]
api_url = "{optimove}"
api_key = "key-of-{name}"
listener_secret = "secret-of-the-listener-{name}"
rate_limit = "100000/1s"
default_country = "US"
"""
CHANNEL = """
[tenants.{tenant}.channels.{name}]
scheduled_id = {channel_id}
provider = "{provider}"
from = "Acme <news@acme.example>"
personalization = ["FIRST_NAME", "COUNTRY", "EMAIL"]
"""


@dataclass(frozen=True)
class Lane:
    """One channel of one tenant."""

    tenant: str = "acme"
    tenant_id: int = TENANT_ID
    channel: str = "newsletter"
    channel_id: int = CHANNEL_ID
    triggered_id: int | None = None
    provider: str = "null"
    more: str = ""  # settings of the channel, and its tables


@dataclass
class House:
    """What a bench does and looks at."""

    settings: Settings
    optimove: httpx2.Client
    database: psycopg.Connection[Any]
    service: psutil.Process
    templates: Path
    folder: Path

    def worker(self) -> psutil.Process:
        """The first worker."""
        return next(child for child in self.service.children() if "work" in child.cmdline())

    def plan(self, lane: Lane, **campaign: Any) -> str:
        """Make a campaign known to the simulator; its id."""
        entry = {"tenant": lane.tenant_id, "channel": lane.channel_id, "templates": [TEMPLATE_ID], "events": [13]}
        answer = self.optimove.post("/_sim/campaigns", json={**entry, "send_at": ["+0s"], **campaign})
        answer.raise_for_status()
        return str(answer.json()["id"])

    def command(self, *words: str) -> None:
        """Carry out a command of ours."""
        command(self.settings.path, *words)

    def fire(self, campaign_id: str) -> None:
        """Have the simulator announce it."""
        self.optimove.post(f"/_sim/campaigns/{campaign_id}/fire").raise_for_status()

    def fetched(self, campaign_id: str) -> bool:
        """Whether all of it was read."""
        row = self.database.execute(
            "select count(*) > 0 and bool_and(p.state = 'done') from pass p join campaign c on c.id = p.campaign"
            " where c.campaign_id = %s",
            (campaign_id,),
        ).fetchone()
        return row is not None and bool(row[0])

    def over(self, campaign_id: str) -> bool:
        """Whether all of it was read and sent."""
        row = self.database.execute(
            "select exists (select from pass p join campaign c on c.id = p.campaign where c.campaign_id = %(id)s)"
            " and not exists (select from pass p join campaign c on c.id = p.campaign where c.campaign_id = %(id)s"
            " and p.state <> 'done')"
            " and not exists (select from batch b join campaign c on c.id = b.campaign where c.campaign_id = %(id)s"
            " and b.done_at is null)",
            {"id": campaign_id},
        ).fetchone()
        return row is not None and bool(row[0])


@contextmanager
def house(
    lanes: Sequence[Lane] = (Lane(),), *, customers: Mapping[str, int], html: str = MAIL, workers: int = 1
) -> Iterator[House]:
    """Everything started, templates pushed, listeners registered; all of it gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="optirelay-bench-"))
    folder.chmod(0o711)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        optimove = f"http://127.0.0.1:{free_port()}"
        config = _write(folder, lanes, customers, optimove, html, workers)
        simulate = (
            "simulate",
            "--listen",
            optimove.removeprefix("http://"),
            "--scenario",
            str(folder / "scenario.toml"),
        )
        stack.enter_context(process(folder, *simulate))
        service = stack.enter_context(process(folder, "serve", "--config", str(config)))
        client = stack.enter_context(httpx2.Client(base_url=optimove, timeout=120))
        until(lambda: _registered(client, len(lanes)))
        for tenant in customers:
            command(config, "templates", "push", str(folder / "templates"), "--tenant", tenant)
        settings = load(config)
        database = stack.enter_context(
            psycopg.connect(stack.enter_context(runtime.database(settings)), autocommit=True)
        )
        yield House(settings, client, database, service, folder / "templates", folder)


def _write(
    folder: Path, lanes: Sequence[Lane], customers: Mapping[str, int], optimove: str, html: str, workers: int
) -> Path:
    scenario, settings = '[quirks]\ncalls = "100000/1s"\n', SERVICE.format(listen=free_port(), workers=workers)
    for tenant, made in customers.items():
        own = [lane for lane in lanes if lane.tenant == tenant]
        ids = [(one, lane.channel) for lane in own for one in (lane.channel_id, lane.triggered_id) if one is not None]
        channels = ", ".join(f'{one} = "{name}"' for one, name in ids)
        scenario += SCENARIO.format(id=own[0].tenant_id, name=tenant, channels=channels, customers=made)
        settings += TENANT.format(name=tenant, optimove=optimove)
        for lane in own:
            named = {"tenant": tenant, "name": lane.channel, "channel_id": lane.channel_id, "provider": lane.provider}
            triggered = "" if lane.triggered_id is None else f"triggered_id = {lane.triggered_id}\n"
            settings += CHANNEL.format(**named) + triggered + lane.more
    (folder / "scenario.toml").write_text(scenario)
    (folder / "optirelay.toml").write_text(settings)
    (folder / "templates").mkdir()
    names = ", ".join(sorted({lane.channel for lane in lanes}))
    front = f'---\nid: {TEMPLATE_ID}\nname: Week\nchannel: [{names}]\nsubject: "{_subject(html)}"\n---\n'
    (folder / "templates" / "week.liquid").write_text(front + html)
    return folder / "optirelay.toml"


def _subject(html: str) -> str:
    return "Hello {{ FIRST_NAME }}" if html != PLAIN else "Hello"


def _registered(optimove: httpx2.Client, lanes: int) -> bool:
    try:
        return len(optimove.get("/_sim/listeners").json()) > lanes
    except httpx2.TransportError:
        return False


def command(config: Path, *words: str) -> None:
    """Carry out a command of ours, with these settings."""
    whole = (sys.executable, "-m", "optirelay", *words, "--config", str(config))
    subprocess.run(whole, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def process(folder: Path, *arguments: str) -> Iterator[psutil.Process]:
    """A command of ours, told to end at the end."""
    with (folder / f"{arguments[0]}.log").open("wb") as log:
        running = subprocess.Popen((sys.executable, "-m", "optirelay", *arguments), stdout=log, stderr=log)
        try:
            yield psutil.Process(running.pid)
        finally:
            running.terminate()
            running.wait(60)


def until(happened: Any, seconds: float = 900, every: float = 0.05) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(every)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
