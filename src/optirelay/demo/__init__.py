"""The demo: a campaign and a burst of triggers from Optimove (simulated) to real e-mail and back, on this machine."""

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx2

from optirelay.demo.burst import Burst, Failed, ask_simulator
from optirelay.demo.show import Show
from optirelay.demo.sink import Sink
from optirelay.engine import operate, runtime
from optirelay.engine.context import Context
from optirelay.errors import OptirelayError
from optirelay.logs import configure_logs
from optirelay.model import CampaignKind, TenantId
from optirelay.settings import Settings, load
from optirelay.simulator import Simulator
from optirelay.store.embedded import reachable

TENANT = TenantId("acme")
CAMPAIGN = 90211
CHANNEL = "newsletter"
SECOND_SEND_TIME = "+8s"
LOOK_SECONDS = 0.25  # the SMTP server is in this process: who looks all the time makes its mails late
BURST_WAITS_SECONDS = 5.0  # at most, until the campaign's first half has left
STOP_SECONDS = 40.0

SETTINGS = """\
[service]
data_dir = "data"
listen = "127.0.0.1:{listen}"
workers = 1

[tenants.acme]
api_url = "{optimove}"
api_key = "demo-key"
listener_secret = "{secret}"
report_every = "5s"

[tenants.acme.channels.newsletter]
kind = "email"
scheduled_id = 504
triggered_id = 604
provider = "smtp"
personalization = ["FIRST_NAME", "COUNTRY", "BALANCE"]
from = "Acme <news@acme.example>"

[tenants.acme.channels.newsletter.smtp]
host = "127.0.0.1"
port = {smtp}
security = "none"
connections = 10
"""


class Stopped(Exception):
    """Ctrl-C, or SIGTERM: its number is the argument."""


def run(*, recipients: int = 5000, triggered: int = 200, serve: bool = False, as_json: bool = False) -> int:
    """Run the demo; the exit status: 0 where all is balanced, nothing is in doubt and everything is reported, of the
    campaign as of the burst of triggers.

    Ctrl-C and SIGTERM at any point end it with 130 and 143, and leave no process and no file behind. After a run to its
    end the mails are kept, in a folder of this account's own, until the next run comes to its end; until then they are
    in the run's own folder, so that two demos at once do not meet.
    """
    configure_logs(level=50)
    with Show(as_json=as_json) as show:
        try:
            return asyncio.run(_Demo(show, recipients, triggered, serve=serve, as_json=as_json).run())
        except Stopped as stopped:
            show.say("Stopped; nothing is left behind.")
            return 128 + int(stopped.args[0])
        except OptirelayError as error:
            show.say(f"The demo failed: {error}")
            return 1


class _Demo:
    def __init__(self, show: Show, recipients: int, triggered: int, *, serve: bool, as_json: bool) -> None:
        self._show = show
        self._recipients = recipients
        self._triggered = triggered
        self._serve = serve
        self._as_json = as_json
        self._stopped: list[int] = []
        self._child: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None

    async def run(self) -> int:
        """Everything started, both campaigns, everything stopped."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stopped.append, int(number))
        with _folder() as folder:
            mails = folder / "mails"
            mails.mkdir(mode=0o700)
            status = await self._campaigns(folder, mails)
            if self._stopped:  # while all was being stopped
                raise Stopped(self._stopped[0])
            kept = _keep(mails)
        if not self._as_json:
            self._show.mail(kept)
            self._show.say(
                f"\nAll mails: {kept}"
                "\nLook around while it runs: optirelay demo --serve"
                "\nYour own settings: optirelay init, then docs/quickstart.md"
            )
        return status

    async def _campaigns(self, folder: Path, mails: Path) -> int:
        sink = Sink(mails)
        customers = {"id": 7001, "key": "demo-key", "channels": {"504": "Mail scheduled", "604": "Mail triggered"}}
        scenario = {"tenants": [{**customers, "customers": self._recipients}]}
        async with sink.running() as smtp, self._open(folder, smtp, scenario) as (ctx, optimove):
            pushed = await operate.push_templates(ctx, TENANT, _templates())
            self._show.say(f"Templates: {pushed.stored} stored, and in Optimove's list.")
            await self._until(lambda: _registered(optimove), 30, "the listeners were not registered at Optimove")
            self._show.say("Listeners: registered at Optimove.")
            burst = Burst(ctx, TENANT, CHANNEL, optimove, self._triggered)
            started_at = time.monotonic()
            await _plan(optimove, self._recipients)
            shape = await self._watch(ctx, burst, started_at)
            faults = await self._compare(shape, burst, sink, optimove)
            self._tell(shape, burst, sink, time.monotonic() - started_at, faults)
            if self._serve:
                self._show.say(
                    f"\nEverything keeps running. Optimove, as a marketer sees it: {optimove.base_url}"
                    f"\nMails: {mails}"
                    f"\nTry: optirelay campaigns show {CAMPAIGN} --config {folder / 'optirelay.toml'}"
                    "\nCtrl-C stops it and removes all of it."
                )
                await self._until(_never, float("inf"), "")
            return 1 if faults else 0

    @asynccontextmanager
    async def _open(
        self, folder: Path, smtp: int, scenario: Mapping[str, Any]
    ) -> AsyncIterator[tuple[Context, httpx2.AsyncClient]]:
        """The simulator, the service as a process of its own, and our view of both."""
        async with Simulator("127.0.0.1:0", scenario=scenario) as simulator:
            config = folder / "optirelay.toml"
            settings = _write_settings(config, optimove=simulator.url, smtp=smtp)
            self._show.say(f"Optimove (simulated): {simulator.url}   SMTP server: 127.0.0.1:{smtp}")
            async with self._service(config):
                await self._until(lambda: _ready(settings), 90, "the service did not become ready")
                self._show.say(f"optirelay: http://{settings.service.listen}, one worker, embedded PostgreSQL")
                with runtime.database(settings) as conninfo:
                    async with (
                        runtime.open_context(settings, conninfo) as ctx,
                        httpx2.AsyncClient(base_url=simulator.url, timeout=60) as optimove,
                    ):
                        yield ctx, optimove

    @asynccontextmanager
    async def _service(self, config: Path) -> AsyncIterator[None]:
        """`optirelay serve`; it ends with us, even if we are killed, because its standard input does."""
        command = [sys.executable, "-m", "optirelay", "serve", "--with-parent", "--config", str(config)]
        self._log = config.parent / "serve.log"
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(  # noqa: ASYNC220, S603 - our own command, and forking takes no time
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield
        finally:
            self._child.terminate()
            deadline = time.monotonic() + STOP_SECONDS
            while self._child.poll() is None:  # meanwhile the SMTP server answers what is under way
                await asyncio.sleep(0.05)
                if time.monotonic() > deadline:
                    self._child.kill()
            assert self._child.stdin is not None
            self._child.stdin.close()

    async def _until(self, happened: Callable[[], Awaitable[Any]], seconds: float, why: str) -> None:
        """Wait until something is so. Raises Stopped, or Failed where it does not come or the service ends."""
        deadline = time.monotonic() + seconds
        while not await happened():
            await self._breathe()
            if time.monotonic() > deadline:
                raise Failed(f"{why} within {seconds:.0f} seconds")

    async def _breathe(self, seconds: float = 0.1) -> None:
        await asyncio.sleep(seconds)
        if self._stopped:
            raise Stopped(self._stopped[0])
        if self._child is not None and self._child.poll() is not None:
            log = "\n".join(self._log.read_text(errors="replace").splitlines()[-10:]) if self._log else ""
            raise Failed(f"optirelay serve ended with status {self._child.returncode}\n{log}")

    async def _watch(self, ctx: Context, burst: Burst, started_at: float) -> dict[str, Any]:
        """Draw until both campaigns are complete and reported, or it takes too long."""
        seconds = 120 + self._recipients / 500 + self._triggered / 50
        shape: dict[str, Any] = {}
        while (passed := time.monotonic() - started_at) < seconds:
            await self._breathe(LOOK_SECONDS)
            shapes = await operate.campaigns(ctx, campaign_id=str(CAMPAIGN), kind=CampaignKind.SCHEDULED)
            shape = shapes[0] if shapes else {}
            # Best while the campaign waits for its second send time: on a small machine each would slow the other.
            await burst.look(may_begin=shape.get("state") in ("waiting", "complete") or passed > BURST_WAITS_SECONDS)
            if shape:
                self._show.move(passed, self._recipients, shape, burst)
                reported = shape["reported"]
                # A report in doubt is never repeated by itself: there is nothing to wait for.
                told = reported["accepted"] == shape["accepted"] or reported["in_doubt_batches"]
                if shape["balanced"] and told and burst.over:
                    return shape
        if not shape:
            raise Failed("Optimove's notification did not start a campaign")
        return shape

    async def _compare(
        self, shape: Mapping[str, Any], burst: Burst, sink: Sink, optimove: httpx2.AsyncClient
    ) -> list[str]:
        """Ledger, SMTP server and Optimove must say the same."""
        calls: dict[int, list[Mapping[str, Any]]] = {}
        for call in (await optimove.get("/_sim/interactions")).json():
            calls.setdefault(call["body"]["CampaignID"], []).append(call)
        faults = await burst.faults(sink, calls.pop(burst.campaign, []))
        told = [c for of_one in calls.values() for call in of_one for c in call["body"]["CustomerIDs"]]
        accepted = shape["accepted"]
        pairs = {
            "handed over are not as many as planned": (shape["handed_over"], self._recipients),
            "the SMTP server has another number of mails than were accepted": (
                sink.received - len(burst.mails(sink)),
                accepted,
            ),
            "it has mails twice": (sink.received, len(sink.arrived_at)),
            "Optimove was told of another number of customers": (len(told), accepted),
            "Optimove was told twice of some": (len(set(told)), len(told)),
            "not all that was accepted is reported": (shape["reported"]["accepted"], accepted),
        }
        faults += [f"{what}: {left} and {right}" for what, (left, right) in pairs.items() if left != right]
        for one in (shape, burst.shape or {"balanced": not burst.count, "in_doubt": 0}):
            if not one["balanced"]:
                faults.insert(0, "a campaign is not balanced")
            if one["in_doubt"] or one.get("reported", {}).get("in_doubt_batches"):
                faults.insert(0, "something is in doubt")
        return list(dict.fromkeys(faults))

    def _tell(self, shape: Mapping[str, Any], burst: Burst, sink: Sink, seconds: float, faults: Sequence[str]) -> None:
        latency = burst.latency_ms(sink)
        if self._as_json:
            triggered = {**burst.shape, "latency": latency} if burst.shape else None
            print(json.dumps({**shape, "triggered": triggered}, indent=2))
        else:
            triggered_mails = len(burst.mails(sink))
            self._show.table(shape, sink.received - triggered_mails)
            if burst.shape:
                self._show.burst(burst, triggered_mails, latency)
            self._show.say(f"\nSeconds: {seconds:.1f}")
            if self._serve:
                self._show.mail(sink.folder)
        for fault in faults:
            self._show.say(f"WRONG: {fault}")


@contextmanager
def _folder() -> Iterator[Path]:
    """A fresh folder for settings, data and mails; gone at the end. As root, PostgreSQL's account must be able to pass.

    Where it cannot pass the usual temporary folder, as one below a closed home, another is taken.
    """
    usual = Path(tempfile.gettempdir())
    place = next((place for place in (usual, Path("/tmp"), Path("/var/tmp")) if reachable(place)), usual)  # noqa: S108
    made = Path(tempfile.mkdtemp(prefix="optirelay-demo-", dir=place))
    try:
        made.chmod(0o711)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _keep(mails: Path) -> Path:
    """Put a run's mails where this account's last demo has them; elsewhere where somebody else has the name."""
    home = mails.parent.parent
    kept = home / f"optirelay-demo-mails-{os.geteuid()}"
    try:
        there = kept.lstat()
        if stat.S_ISDIR(there.st_mode) and there.st_uid == os.geteuid():
            shutil.rmtree(kept, ignore_errors=True)
    except FileNotFoundError:
        pass
    try:
        return mails.rename(kept)
    except OSError:  # somebody else's, or another demo came first
        return mails.rename(tempfile.mkdtemp(prefix="optirelay-demo-mails-", dir=home))


def _write_settings(config: Path, *, optimove: str, smtp: int) -> Settings:
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = free.getsockname()[1]
    secret = os.urandom(16).hex()
    config.write_text(SETTINGS.format(listen=listen, optimove=optimove, secret=secret, smtp=smtp))
    config.chmod(0o600)
    return load(config)


def _templates() -> dict[str, bytes]:
    return {
        entry.name: entry.read_bytes()
        for entry in files("optirelay.demo").joinpath("templates").iterdir()
        if entry.name.endswith((".liquid", ".txt"))
    }


async def _ready(settings: Settings) -> bool:
    async with httpx2.AsyncClient(timeout=0.5) as client:  # it listens before it answers
        try:
            return (await client.get(f"http://{settings.service.listen}/readyz")).status_code == 200
        except httpx2.TransportError:
            return False


async def _registered(optimove: httpx2.AsyncClient) -> bool:
    return len((await optimove.get("/_sim/listeners")).json()) >= 3


async def _plan(optimove: httpx2.AsyncClient, recipients: int) -> None:
    """A campaign of three templates and two send times, announced."""
    campaign = {
        "tenant": 7001,
        "id": CAMPAIGN,
        "channel": 504,
        "templates": [17, 18, 19],
        "send_at": ["+0s", SECOND_SEND_TIME],
        "events": [13],
        "customers": recipients,
    }
    for path, body in (("/_sim/campaigns", campaign), (f"/_sim/campaigns/{CAMPAIGN}/fire", {})):
        await ask_simulator(optimove, path, body)


async def _never() -> bool:
    return False
