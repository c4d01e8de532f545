"""SIGHUP: the settings file is read anew in the middle of a campaign, by real processes."""

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from tests.channels.smtp_servers import Mailbox, aiosmtpd_server
from tests.conftest import LISTENER_SECRET
from tests.house import free_port

from optirelay.engine import operate, runtime
from optirelay.engine.context import Context
from optirelay.engine.offering import keep_template
from optirelay.model import ChannelName, TemplateContent, TemplateId, TenantId
from optirelay.settings import load
from optirelay.simulator import Simulator

ACME = TenantId("acme")
PATIENCE = 60.0
PEOPLE = 500
NEW_SECRET = "another-secret-of-thirty-two-chars"

SETTINGS = """
[service]
database = "{database}"
data_dir = "data"
listen = "127.0.0.1:{listen}"
workers = {workers}
takeover_after = "10m"

[tenants.acme]
api_url = "{optimove}"
api_key = "demo-key"
listener_secret = "{secret}"

[tenants.acme.channels.newsletter]
scheduled_id = 504
provider = "smtp"
from = "Acme <news@acme.example>"
personalization = ["FIRST_NAME"]
rate = "{rate}"

[tenants.acme.channels.newsletter.smtp]
host = "127.0.0.1"
port = {smtp}
security = "none"
"""
GLOBEX = """
[tenants.globex]
api_url = "{optimove}"
api_key = "demo-key"
listener_secret = "{secret}"

[tenants.globex.channels.texts]
scheduled_id = 505
"""


class Place:
    """A running service, its file, and what surrounds it."""

    def __init__(self, config: Path, mailbox: Mailbox, ctx: Context, sim: httpx2.AsyncClient, **values: Any) -> None:
        self.config = config
        self.mailbox = mailbox
        self.ctx = ctx
        self.sim = sim
        self.values = values
        self.process: asyncio.subprocess.Process

    def write(self, *more: str, **changes: Any) -> None:
        self.config.write_text("".join([SETTINGS, *more]).format(**{**self.values, **changes}))

    async def start(self, command: str) -> None:
        with (self.config.parent / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "optirelay", command, "--config", str(self.config)), stdout=log, stderr=log
            )

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def workers(self) -> set[int]:
        ours = [found.info for found in psutil.process_iter(["pid", "ppid", "cmdline"])]
        return {
            found["pid"]
            for found in ours
            if found["ppid"] == self.process.pid and "--for-serve" in (found["cmdline"] or ())  # a zombie has none
        }

    async def mend(self) -> str:
        """What the operator is told to mend; nothing where there is no such problem."""
        return " ".join([row["mend"] for row in await operate.problems(self.ctx) if row["kind"] == "reload_failed"])

    async def is_mended(self) -> bool:
        return not await self.mend()

    async def told_of(self, key: str) -> bool:
        """Whether the operator is told to mend this setting."""
        return key in await self.mend()

    async def until(self, happened: Callable[[], Any | Awaitable[Any]]) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = happened()
                if await answer if isinstance(answer, Awaitable) else answer:
                    return
                await asyncio.sleep(0.05)

    async def notify(self, tenant: str, secret: str) -> int:
        url = f"http://127.0.0.1:{self.values['listen']}/optimove/{tenant}/{secret}"
        async with httpx2.AsyncClient() as client:
            return (await client.post(url, content=b'{"EventTypeID": 2}')).status_code

    async def launch(self) -> None:
        """A campaign of PEOPLE, all due now."""
        await self.until(self._registered)
        plan = {"tenant": 7001, "channel": 504, "templates": [17], "send_at": ["+0s"], "events": [13], "id": 90211}
        assert (await self.sim.post("/_sim/campaigns", json=plan)).status_code == 200
        assert (await self.sim.post("/_sim/campaigns/90211/fire", json={})).status_code == 200

    async def _registered(self) -> bool:
        return len((await self.sim.get("/_sim/listeners")).json()) >= 2

    async def complete(self) -> bool:
        shapes = await operate.campaigns(self.ctx)
        return bool(shapes) and shapes[0]["state"] == "complete"

    async def nobody_is_lost_or_written_to_twice(self) -> None:
        (shape,) = await operate.campaigns(self.ctx)
        assert (shape["handed_over"], shape["balanced"], shape["in_doubt"]) == (PEOPLE, True, 0)
        assert await operate.audit(self.ctx, "acme", shape) == []
        to = Counter(recipient for envelope in self.mailbox.envelopes for recipient in envelope.rcpt_tos)
        assert max(to.values()) == 1
        assert len(to) == shape["accepted"] == PEOPLE


@asynccontextmanager
async def place(command: str, database: str, folder: Path, **values: Any) -> AsyncIterator[Place]:
    scenario = {"tenants": [{"id": 7001, "key": "demo-key", "channels": {"504": "Mail"}, "customers": 0}]}
    mailbox = Mailbox()
    async with (
        Simulator("127.0.0.1:0", scenario=scenario) as simulator,
        aiosmtpd_server(mailbox) as smtp,
        httpx2.AsyncClient(base_url=simulator.url, timeout=30) as sim,
    ):
        people = [{"customer_id": f"C-{n}", "EMAIL": f"c{n}@example.com", "FIRST_NAME": "Ana"} for n in range(PEOPLE)]
        assert (await sim.post("/_sim/customers", json={"tenant": 7001, "customers": people})).status_code == 200
        known = {"database": database, "listen": free_port(), "optimove": simulator.url, "smtp": smtp}
        config = folder / "optirelay.toml"
        start = {"workers": 2, "secret": LISTENER_SECRET, **known, **values}
        config.write_text(SETTINGS.format(**start))
        async with runtime.open_context(load(config), database) as ctx:
            async with ctx.store.tenant(ACME).transaction() as ledger:
                content = TemplateContent("Hello", "<p>Hello {{ FIRST_NAME }}</p>")
                await keep_template(
                    ledger, ChannelName("newsletter"), TemplateId(17), key="t", name="T", content=content
                )
            here = Place(config, mailbox, ctx, sim, **start)
            await here.start(command)
            try:
                yield here
            finally:
                here.process.terminate()
                status = await asyncio.wait_for(here.process.wait(), 40)
            assert status == 0
            assert "Traceback" not in (folder / "log").read_text()


@pytest.mark.timeout(180)
async def test_a_reload_in_the_middle_of_a_campaign_changes_its_rate_and_loses_and_doubles_nobody(
    database: str, tmp_path: Path
) -> None:
    async with place("serve", database, tmp_path, rate="20/s") as here:
        await here.launch()
        await here.until(lambda: len(here.mailbox.at) > 20)

        here.write(rate="twenty")
        here.hang_up()
        await here.until(lambda: here.told_of("tenants.acme.channels.newsletter.rate"))
        before = here.workers()
        psutil.Process(min(before)).terminate()  # the next one uses what is in use, not what is faulty
        await here.until(lambda: len(here.workers() - before) == 1)

        here.write(listen=free_port())
        here.hang_up()
        await here.until(lambda: here.told_of("service.listen: this cannot change while the service runs. Restart"))
        assert await here.notify("acme", LISTENER_SECRET) == 200

        before = here.workers()
        here.write(GLOBEX, rate="400/s", secret=NEW_SECRET, workers=1)
        here.hang_up()
        await here.until(here.is_mended)
        now = time.monotonic()
        assert len(here.workers()) == 1
        assert not here.workers() & before
        assert await here.notify("acme", LISTENER_SECRET) == 404
        assert await here.notify("acme", NEW_SECRET) == 200
        assert await here.notify("globex", NEW_SECRET) == 200

        await here.until(here.complete)
        await here.nobody_is_lost_or_written_to_twice()
        assert here.mailbox.most_in(1, since=now) > 40


@pytest.mark.timeout(180)
async def test_a_worker_alone_reads_its_file_anew_and_slots_of_a_slow_rate_do_not_hold_back_a_fast_one(
    database: str, tmp_path: Path
) -> None:
    async with place("work", database, tmp_path, rate="1/1h") as here:
        await here.launch()
        told = {"EventTypeID": 13, "CampaignID": 90211, "ChannelID": 504, "TimeStamp": "2031-04-02 10:00:00"}
        await here.ctx.store.keep_notifications([(ACME, json.dumps(told).encode())])  # nobody listens where it calls
        await here.until(lambda: here.mailbox.at)

        here.write(rate="fast")
        here.hang_up()
        await here.until(lambda: here.told_of("tenants.acme.channels.newsletter.rate"))
        here.write(rate="400/s")
        here.hang_up()
        await here.until(here.is_mended)
        await here.until(here.complete)
        await here.nobody_is_lost_or_written_to_twice()
