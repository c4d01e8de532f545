"""Opt-ins told to Optimove in files: what stands in which, and when."""

import csv
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, House, open_house

from optirelay.clock import utc_now
from optirelay.engine import operate, sharing
from optirelay.errors import NeedsOperator
from optirelay.model import CustomerId
from optirelay.store.opt_outs import Statement

OpenHouse = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
def house_with(make_settings: MakeSettings, tmp_path: Path) -> OpenHouse:
    @asynccontextmanager
    async def opened(**files: Any) -> AsyncIterator[House]:
        channel = {"opt_in": f"batch_file:{tmp_path / 'optins'}", "batch_file": files}
        async with open_house(make_settings, workers=0, channel=channel) as house:
            yield house

    return opened


async def say(house: House, *said: tuple[str, bool]) -> None:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        await ledger.opt_outs.keep(
            [Statement(CustomerId(customer), NEWSLETTER, utc_now(), opted_in, "test") for customer, opted_in in said]
        )


async def tell(house: House, *, now: bool = False) -> None:
    assert await sharing.tell_opt_ins(house.ctx, ACME, NEWSLETTER, file_now=now)


async def confirmed(house: House) -> int:
    (row,) = await operate.optins_status(house.ctx)
    return int(row["confirmed"])


def files_in(folder: Path) -> list[list[list[str]]]:
    """The rows of every set that has a manifest, oldest first."""
    sets = []
    for path in sorted(folder.glob("*.manifest.json")):
        manifest = json.loads(path.read_text())
        rows = []
        for part in manifest["parts"]:
            with gzip.open(folder / part["name"], "rt", newline="") as text:
                rows += list(csv.reader(text))[1:]
        assert len(rows) == manifest["rows"]
        sets.append(sorted(row[:2] for row in rows))
    return sets


async def test_each_file_holds_what_changed_since_the_last_and_comes_when_it_is_due(
    house_with: OpenHouse, tmp_path: Path
) -> None:
    start = utc_now()
    async with house_with(every="1h") as house:
        assert await sharing.to_share(house.ctx) == []
        await say(house, ("007", True), ("8", False))
        assert await sharing.to_share(house.ctx) == [(ACME, NEWSLETTER)]
        await tell(house)
        await say(house, ("8", True), ("007", True))
        assert await sharing.to_share(house.ctx) == []
        await tell(house)
        assert files_in(tmp_path / "optins") == [[["007", "Yes"], ["8", "No"]]]
        with time_machine.travel(start + timedelta(minutes=61)):
            assert await sharing.to_share(house.ctx) == [(ACME, NEWSLETTER)]
            await tell(house)
            assert await sharing.to_share(house.ctx) == []
        assert files_in(tmp_path / "optins")[1:] == [[["8", "Yes"]]]
        assert await confirmed(house) == 2


async def test_a_push_writes_a_file_at_once_and_none_where_nothing_changed(
    house_with: OpenHouse, tmp_path: Path
) -> None:
    async with house_with() as house:
        for customer in ("a", "b"):
            await say(house, (customer, True))
            assert await operate.push_opt_ins(house.ctx) == []
        assert await operate.push_opt_ins(house.ctx) == []
        assert files_in(tmp_path / "optins") == [[["a", "Yes"]], [["b", "Yes"]]]
        assert await operate.push_opt_ins(house.ctx, everything=True) == []
        assert files_in(tmp_path / "optins")[2:] == [[["a", "Yes"], ["b", "Yes"]]]


async def test_a_full_file_holds_everybody_each_time(house_with: OpenHouse, tmp_path: Path) -> None:
    start = utc_now()
    async with house_with(content="full", every="1h") as house:
        await say(house, ("a", True), ("b", False))
        await tell(house)
        with time_machine.travel(start + timedelta(minutes=61)):
            assert await sharing.to_share(house.ctx) == [(ACME, NEWSLETTER)]
            await tell(house)
        assert files_in(tmp_path / "optins") == [[["a", "Yes"], ["b", "No"]]] * 2


async def test_what_was_not_uploaded_is_uploaded_before_anything_else(house_with: OpenHouse, tmp_path: Path) -> None:
    start = utc_now()
    folder, away = tmp_path / "optins", tmp_path / "away"
    async with house_with(upload=f"file://{away}") as house:
        await say(house, ("a", True))
        with pytest.raises(NeedsOperator, match=r"batch_file\.upload"):
            await tell(house)
        assert {problem["kind"] for problem in await operate.problems(house.ctx)} == {"optin_failed"}
        (row,) = await operate.optins_status(house.ctx)
        assert (row["sent"], row["confirmed"]) == (1, 0)
        assert await sharing.to_share(house.ctx) == []
        away.mkdir()
        with time_machine.travel(start + timedelta(minutes=1)):
            assert await sharing.to_share(house.ctx) == [(ACME, NEWSLETTER)]
            await tell(house)
        assert await confirmed(house) == 1
        assert files_in(away) == files_in(folder) == [[["a", "Yes"]]]
        assert await operate.problems(house.ctx) == []


async def test_files_that_somebody_took_away_before_they_were_uploaded_are_made_anew(
    house_with: OpenHouse, tmp_path: Path
) -> None:
    folder, away = tmp_path / "optins", tmp_path / "away"
    async with house_with(upload=f"file://{away}") as house:
        await say(house, ("a", True))
        with pytest.raises(NeedsOperator):
            await tell(house)
        for path in folder.iterdir():
            path.unlink()
        away.mkdir()
        assert await operate.push_opt_ins(house.ctx) == []
        assert files_in(away) == [[["a", "Yes"]]]
        assert await confirmed(house) == 1
