"""The how-to page of opt-ins: its settings, its file, what it shows of files and of the status are what comes."""

import gzip
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from optirelay.engine import operate
from optirelay.model import CustomerId
from optirelay.settings import TenantSettings, read
from tests.conftest import MakeSettings
from tests.house import ACME, House
from tests.opt_ins import ByAttributes, ByFiles, customer, open_way, say
from tests.pages import blocks, page

PAGE = page("opt-ins")
SETTINGS = [tomllib.loads(block) for block in blocks("toml", PAGE.replace("\n   ", "\n"))]
CLIENT = {"access": "integrations", "admin_key": "client-key"}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_ADMIN_KEY", CLIENT["admin_key"])
    monkeypatch.setenv("ACME_OPTINS_URL", "sftp://acme:password@files.example.com/optins")


def shown(index: int, **more: Any) -> dict[str, Any]:
    """What the page's settings say of the tenant."""
    return {**SETTINGS[index]["tenants"]["acme"], **more}


def read_shown(tenant: dict[str, Any]) -> TenantSettings:
    needed = {"api_url": "https://api5.optimove.net", "api_key": "key", "listener_secret": "a-listener-secret-0"}
    tenant["channels"]["newsletter"] |= {"scheduled_id": 504}
    return read({"tenants": {"acme": {**needed, **tenant}}}, path=Path("x.toml")).tenants["acme"]


def text_that_begins(with_: str) -> str:
    (text,) = (block for block in blocks("text", PAGE.replace("\n   ", "\n")) if block.startswith(with_))
    return text


async def imported(house: House, folder: Path) -> None:
    rows = text_that_begins("customer_id")
    path = folder / "optins.csv"
    path.write_text(rows)
    await operate.import_opt_ins(house.ctx, ACME, path)
    assert not (folder / "optins.csv.rejected.csv").exists()


def test_the_settings_shown_work() -> None:
    by_attribute, by_preference, by_file, uploaded = SETTINGS
    uploaded["tenants"]["acme"]["channels"]["newsletter"] |= {"opt_in": "batch_file:optins"}
    routes = [
        str(read_shown(one["tenants"]["acme"]).channels["newsletter"].opt_in)
        for one in (by_attribute, by_preference, by_file)
    ]
    assert routes == ["attributes:EMAIL_OPTIN", "channel_preference", f"batch_file:{Path('optins').absolute()}"]
    assert read_shown(uploaded["tenants"]["acme"]).channels["newsletter"].batch_file.upload is not None


async def test_the_status_shown_is_what_comes_with_the_key_shown(make_settings: MakeSettings, tmp_path: Path) -> None:
    admin = {"admin_api_key": shown(0)["admin_api_key"]}
    async with open_way(make_settings, tmp_path, ByAttributes, customers=3, tenant=admin, simulated=CLIENT) as way:
        await imported(way.house, tmp_path)
        await say(way.house, {CustomerId("C-000004"): True})
        (expected,) = json.loads(*blocks("json", PAGE))

        async def stands() -> bool:
            return await operate.optins_status(way.house.ctx) == [expected]

        await way.house.until(stands)
        assert await way.shown() == {customer(1): True, customer(2): False, customer(3): True}


async def test_without_a_key_of_the_clients_the_operator_is_told(make_settings: MakeSettings, tmp_path: Path) -> None:
    async with open_way(make_settings, tmp_path, ByAttributes, customers=3, simulated=CLIENT) as way:
        await say(way.house, {customer(1): True})

        async def told() -> bool:
            return any("admin_api_key" in problem["mend"] for problem in await operate.problems(way.house.ctx))

        await way.house.until(told)


async def test_the_file_shown_is_what_is_written(make_settings: MakeSettings, tmp_path: Path) -> None:
    async with open_way(make_settings, tmp_path, ByFiles, customers=3) as way:
        await imported(way.house, tmp_path)
        await way.house.until(way.is_in_step)
        (first, *_) = sorted((tmp_path / "optins").glob("*.csv.gz"))
        expected = text_that_begins("Customer_ID")
        assert gzip.decompress(first.read_bytes()).decode().replace("\r\n", "\n").startswith(expected)
        (manifest, *_) = sorted((tmp_path / "optins").glob("*.manifest.json"))
        read_back = json.loads(manifest.read_bytes())
        assert (read_back["rows"], [part["name"] for part in read_back["parts"]]) == (3, [first.name])
