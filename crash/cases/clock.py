"""A worker whose clock is wrong."""

import asyncio
import importlib.util
from pathlib import Path

from crash.cases._campaign import Case, concluded
from crash.compare import Verdict
from crash.errors import Failed, Missing
from crash.house import WEB, WORKERS, House, Wanted, open_house
from crash.run import CAMPAIGN, launch
from crash.watch import announced

WAIT_SECONDS = 5.0
START_SECONDS = 60.0  # of a worker, on a machine with much else to do
PLACES = (
    "usr/lib/*/faketime/libfaketime.so.1",
    "usr/lib/faketime/libfaketime.so.1",
    "usr/lib64/faketime/libfaketime.so.1",
)
HOW_TO_GET = (
    "install Debian's package libfaketime, or as an ordinary user `.venv/bin/python -m pip install libfaketime`"
)


def libfaketime() -> Path | None:
    """The library that makes a process see another time; None where it is not to be had."""
    spec = importlib.util.find_spec("libfaketime")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    packaged = [folder / "vendor/libfaketime/src/libfaketime.so.1" for folder in folders]
    found = [*packaged, *(path for place in PLACES for path in Path("/").glob(place))]
    return next((path for path in found if path.exists()), None)


async def clock(case: Case) -> Verdict:
    """A worker's clock is an hour ahead, then an hour behind, and no other worker runs.

    It takes no batch, and the problem `clock_off` is listed. A worker whose clock is right then delivers everything.
    """
    library = libfaketime()
    if library is None:
        raise Missing(f"libfaketime is not on this machine: {HOW_TO_GET}")
    wrong, right = WORKERS
    wanted = Wanted(customers=case.messages, page_cap=500, takeover_after=case.takeover_after, say=case.say)
    troubles: list[str] = []
    async with open_house(case.folder, wanted) as house:
        await launch(house, case.messages, second_send_at="+1s")
        house.start(WEB)
        for number, hour in enumerate(("+1h", "-1h")):
            before = await _told(house)
            house.processes[wrong].start(_environment(library, hour))
            await house.ready()
            if number == 0:
                await announced(house, CAMPAIGN)
            troubles += await _nothing_leaves(house, hour, before)
            await house.processes[wrong].stop()
        house.start(right)
        case.say(f"{right}, whose clock is right, is started")
        verdict = await concluded(house, interruptions=1, troubles=troubles)
        if left := await _told(house):
            verdict.troubles.append(f"{left} problems clock_off are still told, although no such worker runs")
        return verdict


def _environment(library: Path, hour: str) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": hour,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


async def _told(house: House) -> int:
    """How many workers' clocks are told to be off."""
    ((count,),) = await house.rows("select count(*) from problem where kind = 'clock_off'")
    return int(count)


async def _nothing_leaves(house: House, hour: str, before: int) -> list[str]:
    """Whether the one worker there is told of its clock, as one more than `before`, and sent nothing."""

    async def told() -> bool:
        return await _told(house) > before

    troubles = []
    try:
        await house.until(told, "no problem clock_off was told", seconds=START_SECONDS)
    except Failed as failed:
        troubles.append(f"with a clock {hour} off: {failed}")
    await asyncio.sleep(WAIT_SECONDS)
    kinds = sorted({row["kind"] for row in await house.listed("problems", "list")})
    taken = house.receiver.count
    house.say(f"clock {hour} off: {taken} messages have arrived, problems {kinds}")
    if "clock_off" not in kinds:
        troubles.append(f"with a clock {hour} off: `problems list` has no clock_off")
    if taken:
        troubles.append(f"with a clock {hour} off: {taken} messages arrived")
    return troubles
