"""Ways by which Optimove is told of opt-ins, and what it was told by each, read without any code of ours."""

import csv
import gzip
import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from optirelay.clock import utc_now
from optirelay.engine import operate
from optirelay.model import CustomerId
from optirelay.store.opt_outs import Statement
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, House, open_house

ATTRIBUTE = "EMAIL_OPTIN"
BOTH_IDS = (504, 604)
IN_STEP = {"pending": 0, "sent": 0, "failed": 0}
AT_ONCE = 10_000


class Way(ABC):
    """One way, and a house whose newsletter goes by it."""

    call: str | None  # that it makes at Optimove

    def __init__(self, house: House) -> None:
        self.house = house
        self._looked_at = 0

    @staticmethod
    @abstractmethod
    def settings(folder: Path) -> dict[str, Any]:
        """What a channel has to have."""

    @abstractmethod
    async def shown(self) -> dict[str, bool]:
        """Who is in and who is out, as it stands at Optimove."""

    @abstractmethod
    async def told(self) -> list[list[str]]:
        """The customers of each call, or file, up to now."""

    async def told_since(self, before: int) -> Counter[str]:
        """How often each customer was told of, but for the first so many calls."""
        return Counter(one for people in (await self.told())[before:] for one in people)

    async def told_since_look(self) -> Counter[str]:
        """The same since this was looked at last."""
        before, self._looked_at = self._looked_at, len(await self.told())
        return await self.told_since(before)

    async def is_in_step(self) -> bool:
        """Whether Optimove has what our customers said, and we know it."""
        (row,) = await operate.optins_status(self.house.ctx)
        ours = await said(self.house)
        if {key: row[key] for key in IN_STEP} != IN_STEP or row["confirmed"] != len(ours):
            return False
        shown = await self.shown()
        return {customer: shown.get(customer) for customer in ours} == ours


class ByAttributes(Way):
    """Values of an attribute."""

    call = "UpdateCustomerAttributes"

    @staticmethod
    def settings(folder: Path) -> dict[str, Any]:
        return {"opt_in": f"attributes:{ATTRIBUTE}", "opt_in_values": ["yes", "no"]}

    async def shown(self) -> dict[str, bool]:
        rows = await self.house.sim("attributes?current=1&tenant=7001")
        return {
            row["CustomerID"]: {"yes": True, "no": False}[row["Attributes"][ATTRIBUTE]]
            for row in rows
            if ATTRIBUTE in row["Attributes"]
        }

    async def told(self) -> list[list[str]]:
        lists = [
            one["body"]["CustomerNewAttributesValuesList"]
            for one in await self.house.sim("calls")
            if one["call"] == self.call
        ]
        return [[entry["CustomerID"] for entry in entries] for entries in lists]


class ByPreferences(Way):
    """Modes of both ids of the channel: each call is made for each of them."""

    call = "SetCustomerChannelPreference"

    @staticmethod
    def settings(folder: Path) -> dict[str, Any]:
        return {"opt_in": "channel_preference", "triggered_id": BOTH_IDS[1], "communication_modes": [7, 8]}

    async def shown(self) -> dict[str, bool]:
        shown: dict[int, dict[str, bool]] = {one: {} for one in BOTH_IDS}
        for row in await self.house.sim("preferences?current=1&tenant=7001"):
            shown[row["ChannelID"]][row["CustomerID"]] = {7: True, 8: False}[row["CommunicationMode"]]
        first, second = shown.values()
        return {one: opted_in for one, opted_in in first.items() if second.get(one) is opted_in}

    async def told(self) -> list[list[str]]:
        bodies = [one["body"] for one in await self.house.sim("calls") if one["call"] == self.call]
        assert {body["ChannelID"] for body in bodies} <= set(BOTH_IDS)
        return [body["CustomerIDs"] for body in bodies if body["ChannelID"] == BOTH_IDS[0]]


class ByFiles(Way):
    """Files in a directory, every second where there is news."""

    call = None

    @staticmethod
    def settings(folder: Path) -> dict[str, Any]:
        return {"opt_in": f"batch_file:{folder / 'optins'}", "batch_file": {"every": "1s"}}

    async def shown(self) -> dict[str, bool]:
        answer = await self.house.optimove.get("/_sim/opt_ins?tenant=7001")
        assert answer.status_code == 200, answer.text
        read = answer.json()
        assert all(file["good"] for file in read["files"]), read["files"]
        return {
            customer: {"Yes": True, "No": False}[values["Allow_Email"]]
            for customer, values in read["customers"].items()
        }

    async def told(self) -> list[list[str]]:
        return [[customer for customer, _ in rows] for rows in self._sets()]

    def _sets(self) -> Iterator[list[tuple[str, bool]]]:
        """The rows of each set of files that has its manifest, oldest first."""
        route = self.house.ctx.settings.tenants[ACME].channels[NEWSLETTER].opt_in
        folder = Path(str(route).removeprefix("batch_file:"))
        for manifest in sorted(folder.glob("optins-newsletter-*.manifest.json")):
            yield list(_rows_of(folder, json.loads(manifest.read_bytes())))


def _rows_of(folder: Path, manifest: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    rows = 0
    for part in manifest["parts"]:
        data = (folder / part["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (part["bytes"], part["sha256"])
        header, *lines = csv.reader(gzip.decompress(data).decode().splitlines())
        assert (header, len(lines)) == (["Customer_ID", "Allow_Email", "LastUpdated"], part["rows"])
        for customer, value, at in lines:
            assert datetime.fromisoformat(at).utcoffset() is not None
            yield customer, {"Yes": True, "No": False}[value]
            rows += 1
    assert rows == manifest["rows"]


WAYS: dict[str, type[Way]] = {"attributes": ByAttributes, "preferences": ByPreferences, "files": ByFiles}


@asynccontextmanager
async def open_way(
    make_settings: MakeSettings,
    folder: Path,
    kind: type[Way],
    *,
    customers: int,
    workers: int = 2,
    tenant: Mapping[str, Any] = {},
    simulated: Mapping[str, Any] = {},
) -> AsyncIterator[Way]:
    """A house whose newsletter's opt-ins go this way, with so many customers at Optimove."""
    received = {"opt_in_files": str(folder / "optins")} if kind is ByFiles else {}
    one = {"id": 7001, "key": "demo-key", "channels": {"504": "Mail", "604": "Now"}, "customers": customers}
    scenario = {"seed": 7, "tenants": [{**one, **received, **simulated}], "quirks": {"calls": "100000/1s"}}
    async with open_house(
        make_settings,
        scenario=scenario,
        workers=workers,
        tenant={"rate_limit": "100000/s", "optimove": {"preferences_per_call": 1000}, **tenant},
        channel=kind.settings(folder),
    ) as house:
        yield kind(house)


def customer(number: int) -> CustomerId:
    """The simulator's customer with this number, from 1: every hundred has two whose zeros in front count."""
    if number % 100 not in (41, 42):
        return CustomerId(f"C-{number:06}")
    return CustomerId(f"{number:010}" if number % 100 == 41 else str(number - 1))


async def say(house: House, words: Mapping[CustomerId, bool], *, bulk: bool = False) -> None:
    """These customers say so now; `bulk`: as a file that is imported has it."""
    now, everybody = utc_now(), list(words.items())
    for first in range(0, len(everybody), AT_ONCE):
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            statements = [
                Statement(one, NEWSLETTER, now, word, "test") for one, word in everybody[first : first + AT_ONCE]
            ]
            await ledger.opt_outs.keep(statements, bulk=bulk)


async def import_file(house: House, folder: Path, words: Mapping[CustomerId, bool]) -> None:
    """The same by a file that is imported."""
    path = folder / "optins.csv.gz"
    lines = [f"{one},newsletter,{'yes' if word else 'no'}\n" for one, word in words.items()]
    path.write_bytes(gzip.compress("".join(["customer_id,channel,opted_in\n", *lines]).encode()))
    await operate.import_opt_ins(house.ctx, ACME, path)


async def said(house: House) -> dict[str, bool]:
    """What counts of what everybody said."""
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute(
            "select customer_id, opted_in from subscription where tenant = %s", (ledger.number,)
        )
        return dict(await cursor.fetchall())


def numbered(numbers: Sequence[int], opted_in: bool | None = None) -> dict[CustomerId, bool]:
    """These customers with one word, or every third out."""
    return {customer(one): one % 3 != 0 if opted_in is None else opted_in for one in numbers}
