"""The main run: one campaign, blows from a seed, an operator, and the comparison."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crash.compare import Verdict, compare
from crash.doubts import resolve
from crash.house import CHANNEL, CONNECTIONS, TEMPLATES, TENANT, WEB, WORKERS, House, Wanted, open_house
from crash.plan import POSTGRES, Kill, Trip, plan
from crash.watch import StandsStill, announced, is_over, settled

CAMPAIGN = 90211
LOOK_SECONDS = 0.02
ASK_SECONDS = 1.0  # between two looks at the ledger


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is tried."""

    messages: int
    kills: int
    seed: int
    channel: str = "smtp"
    contract: str = "hold"

    @property
    def allowed_in_doubt(self) -> int:
        """A kill leaves at most one message a connection without an answer; of a keyed one none stays in doubt."""
        return 0 if self.contract == "keyed" else self.kills * CONNECTIONS


async def crash(trial: Trial, folder: Path, say: Callable[[str], None]) -> Verdict:
    """Carry it out in an empty folder. Raises Failed where it could not be."""
    wanted = Wanted(
        channel=trial.channel,
        contract=trial.contract,
        customers=trial.messages,
        page_cap=max(100, min(2000, trial.messages // 10)),
        say=say,
    )
    async with open_house(folder, wanted) as house:
        house.start(WEB, *WORKERS)
        await house.ready()
        await launch(house, trial.messages)
        troubles = await under_blows(house, plan(trial.seed, kills=trial.kills, faults=trial.kills), trial.messages)
        verdict = await finish(house, allowed_in_doubt=trial.allowed_in_doubt)
        verdict.troubles = troubles + verdict.troubles
        return verdict


async def launch(house: House, messages: int, *, campaign: int = CAMPAIGN, second_send_at: str = "+5s") -> None:
    """Plan a campaign of three templates and two send times at the simulator."""
    await house.tell(
        "campaigns",
        {
            "tenant": TENANT,
            "id": campaign,
            "channel": CHANNEL,
            "templates": list(TEMPLATES),
            "send_at": ["+0s", second_send_at],
            "events": [13],
            "customers": messages,
        },
    )


async def under_blows(house: House, blows: Sequence[Kill | Trip], messages: int) -> list[str]:
    """Announce the campaign and let each blow fall at its time; what went wrong with the campaign itself."""
    announcing = asyncio.create_task(announced(house, CAMPAIGN))
    for blow in blows:
        await _until_due(house, blow, messages)
        if isinstance(blow, Trip):
            house.proxies[blow.process, blow.towards].arm(blow.fault)
            continue
        await asyncio.sleep(blow.after_seconds)
        await strike(house, blow)
    await announcing
    try:
        await settled(house, CAMPAIGN)
        house.say("no message is planned or being sent any more")
    except StandsStill as still:
        return [str(still)]
    return []


async def _until_due(house: House, blow: Kill | Trip, messages: int) -> None:
    """Until so many messages have arrived, or none is left to send."""
    asked_at = time.monotonic()
    while house.receiver.count < blow.at * messages:
        await asyncio.sleep(LOOK_SECONDS)
        if time.monotonic() - asked_at > ASK_SECONDS:
            over, _ = await is_over(house, CAMPAIGN)
            if over:
                return
            asked_at = time.monotonic()


async def strike(house: House, kill: Kill) -> None:
    """Kill a process, as soon as it runs; PostgreSQL is started again too."""
    house.say(f"kill -9: {kill.victim}" if kill.victim != POSTGRES else "kill (immediate): PostgreSQL")
    if kill.victim == POSTGRES:
        await house.restart_postgres(down_seconds=kill.down_seconds)
        return
    while not house.processes[kill.victim].kill():  # it is just being started
        await asyncio.sleep(LOOK_SECONDS)


async def finish(house: House, *, allowed_in_doubt: int, campaign: int = CAMPAIGN) -> Verdict:
    """The operator resolves what is in doubt; then the audit, and the comparison."""
    told = Verdict()
    await resolve(house, campaign, told)
    house.say("operator: `optirelay campaigns show --audit`")
    status, out, errors = await house.command("campaigns", "show", str(campaign), "--audit")
    house.say("receipts, ledger and Optimove are compared")
    verdict = await compare(house, campaign)
    verdict.allowed_in_doubt = allowed_in_doubt
    verdict.in_doubt, verdict.in_doubt_arrived = told.in_doubt, told.in_doubt_arrived
    verdict.reports_in_doubt = told.reports_in_doubt
    verdict.troubles = told.troubles
    if status != 0:
        verdict.troubles.append(f"the audit does not agree: {(errors or out).strip()[-500:]}")
    return verdict
