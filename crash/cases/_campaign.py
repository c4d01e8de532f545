"""A campaign that lasts as long as a case needs it: the receiver works on each message for a while."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from crash.compare import Verdict
from crash.house import CONNECTIONS, WEB, WORKERS, House, Wanted, open_house
from crash.run import CAMPAIGN, finish, launch
from crash.watch import StandsStill, announced, settled


@dataclass(frozen=True, kw_only=True)
class Case:
    """How a case is run: in an empty folder, shorter in the suite."""

    folder: Path
    say: Callable[[str], None]
    messages: int = 5000
    kills: int = 5  # where a case draws its kills from the seed
    seed: int = 1
    takeover_after: str = "5s"
    seconds: float = 120.0  # of what takes long
    late_seconds: float = 1.0  # after the answer to an opt-out, a message may still arrive

    @property
    def lease_seconds(self) -> float:
        """How long a batch stays the worker's that was last heard of."""
        return float(self.takeover_after.removesuffix("s"))


@asynccontextmanager
async def under_way(
    case: Case, *, pace_seconds: float, processes: tuple[str, ...] = (WEB, *WORKERS), wanted: Wanted | None = None
) -> AsyncIterator[House]:
    """A house in which a campaign was announced; the receiver takes so long for each message."""
    usual = Wanted(customers=case.messages, page_cap=500, takeover_after=case.takeover_after, say=case.say)
    async with open_house(case.folder, wanted or usual) as house:
        house.receiver.pace(pace_seconds)
        house.start(*processes)
        await house.ready()
        await launch(house, case.messages, second_send_at="+1s")
        await announced(house, CAMPAIGN)
        yield house


async def arrived(house: House, messages: float) -> None:
    """Wait until so many messages have arrived."""

    async def there() -> bool:
        return house.receiver.count >= messages

    await house.until(there, f"{messages:.0f} messages had not arrived", seconds=120)


async def concluded(house: House, *, interruptions: int, troubles: list[str]) -> Verdict:
    """Let the campaign end at full pace, resolve its doubts, and compare."""
    house.receiver.pace(0)
    try:
        await settled(house, CAMPAIGN)
    except StandsStill as still:
        troubles.append(str(still))
    verdict = await finish(house, allowed_in_doubt=interruptions * CONNECTIONS)
    verdict.troubles = troubles + verdict.troubles
    return verdict
