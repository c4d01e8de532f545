"""The short form of scripts/crash: the same runs with fewer messages and kills."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash.cases import CASES, Case
from crash.compare import Verdict
from crash.errors import Missing
from crash.house import fresh_folder
from crash.run import Trial, crash

MESSAGES = 1000
KILLS = 5

pytestmark = pytest.mark.timeout(300)  # four at a time share a small machine


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL can reach, also as root."""
    with fresh_folder() as made:
        yield made


async def verdict_on(name: str, folder: Path, *, messages: int = MESSAGES, kills: int = KILLS) -> Verdict:
    """Carry a case out; where the machine lacks its tool, a skip that names it, and in CI a failure."""
    case = Case(
        folder=folder,
        say=print,
        messages=messages,
        kills=kills,
        takeover_after="2s",
        seconds=14,
        late_seconds=10,
    )
    try:
        return await CASES[name](case)
    except Missing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))


@pytest.mark.parametrize(("channel", "contract"), [("smtp", "hold"), ("webhook", "keyed")])
async def test_kills_at_random_instants_lose_and_double_nobody(folder: Path, channel: str, contract: str) -> None:
    trial = Trial(messages=MESSAGES, kills=KILLS, seed=1, channel=channel, contract=contract)
    verdict = await crash(trial, folder, print)
    assert verdict.missed() == []
    assert verdict.arrived == verdict.accepted == verdict.reported == MESSAGES - verdict.unusable


async def test_a_worker_that_slept_longer_than_its_lease_does_no_harm(folder: Path) -> None:
    assert (await verdict_on("stopped", folder)).missed() == []


async def test_a_worker_cut_off_from_the_database_and_back_does_no_harm(folder: Path) -> None:
    assert (await verdict_on("cut-off", folder)).missed() == []


async def test_postgresql_killed_under_load_loses_nothing(folder: Path) -> None:
    assert (await verdict_on("postgres", folder)).missed() == []


async def test_without_a_database_nothing_is_acknowledged_or_sent_and_all_resumes_by_itself(folder: Path) -> None:
    assert (await verdict_on("database-away", folder)).missed() == []


async def test_on_a_full_disk_nothing_is_acknowledged_that_is_not_kept(folder: Path) -> None:
    assert (await verdict_on("disk-full", folder)).missed() == []


async def test_a_worker_whose_clock_is_off_takes_no_batch(folder: Path) -> None:
    assert (await verdict_on("clock", folder)).missed() == []


async def test_a_worker_that_dies_again_and_again_does_not_slow_the_other_down(folder: Path) -> None:
    assert (await verdict_on("churn", folder)).missed() == []


async def test_nobody_is_written_to_whose_opt_out_was_committed_before_their_group_started(folder: Path) -> None:
    assert (await verdict_on("optout-race", folder, messages=MESSAGES // 2)).missed() == []


async def test_each_distinct_notification_is_one_message_whoever_is_killed(folder: Path) -> None:
    verdict = await verdict_on("triggered", folder, messages=2 * MESSAGES, kills=3)
    assert verdict.missed() == []
    assert verdict.arrived == verdict.accepted == 2 * MESSAGES - MESSAGES // 5  # a tenth were duplicates
