"""What Prometheus is told."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import psycopg
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from psycopg.conninfo import conninfo_to_dict
from tests.by_hand import fetched, sent, started
from tests.conftest import MakeSettings
from tests.house import ACME, House, open_house

from optirelay import pipeline
from optirelay.engine import operate
from optirelay.engine.reload import failed
from optirelay.store.sids import sid_of

SECRET = "callback-secret"
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


async def scraped(house: House) -> dict[str, Metric]:
    async with httpx2.AsyncClient(base_url=house.web_url, timeout=30) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def numbers(family: Metric) -> dict[tuple[str, ...], float]:
    """Samples by the values of their labels, sorted by the labels' names; zeros left out."""
    return {tuple(v for _, v in sorted(s.labels.items())): s.value for s in family.samples if s.value}


async def call_back(house: House, *events: dict[str, Any]) -> None:
    """The newsletter's provider tells of messages."""
    async with httpx2.AsyncClient(base_url=house.web_url, timeout=30) as client:
        answer = await client.post(f"/callbacks/acme/newsletter/{SECRET}", json={"events": events})
    assert answer.status_code == 200


async def accepted_sids(house: House, most: int) -> Sequence[str]:
    async with house.ctx.store.tenant(ACME).transaction() as ledger:
        cursor = await ledger.connection.execute(
            "select planned_on, id from message_state where state = 'accepted' order by id limit %s", (most,)
        )
        return [sid_of(ledger.number, planned_on, number) for planned_on, number in await cursor.fetchall()]


async def test_metrics_are_the_ledger_in_numbers(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, workers=0, channel={"callback_secret": SECRET}) as house:
        await house.push(17)
        await sent(house, customers=300)
        one, other = await accepted_sids(house, 2)
        told = [{"id": sid, "event": word} for sid in (one, other) for word in ("delivered", "replied", "no word")]
        await call_back(house, *told, {"id": one, "event": "opened"}, {"id": one, "event": "opened", "at": 1})
        assert await pipeline.record(house.ctx) == 1
        await call_back(house, {"id": other, "event": "clicked"})
        campaign_id = await fetched(house, customers=300, templates=[17, 18])
        begun = await started(house, 10)
        assert len(begun.start) == 10
        await house.notify(b'{"EventTypeID":2}')
        await house.ctx.store.seen("a-worker", "here", 1)
        await failed(house.ctx.store, house.ctx.settings.path, "mend it")
        families = await scraped(house)

        shapes = await operate.campaigns(house.ctx)
        recipients = numbers(families["optirelay_recipients"])
        place = ("newsletter",)  # labels by name: channel, reason, state, tenant
        for state in ("planned", "sending", "accepted"):
            assert recipients.get((*place, "", state, "acme"), 0) == sum(shape[state] for shape in shapes)
        for state in ("skipped", "refused"):
            for reason in {reason for shape in shapes for reason in shape[state]}:
                total = sum(shape[state].get(reason, 0) for shape in shapes)
                assert recipients[*place, reason, state, "acme"] == total
        assert sum(recipients.values()) == 600
        assert recipients[*place, "", "sending", "acme"] == 10
        assert recipients[*place, "no_address", "skipped", "acme"] > 0

        assert {shape["state"] for shape in shapes} == {"complete", "sending"}
        assert numbers(families["optirelay_campaigns"]) == {
            ("newsletter", "complete", "acme"): 1,
            ("newsletter", "sending", "acme"): 1,
        }
        assert numbers(families["optirelay_notifications_waiting"]) == {("acme",): 1}
        assert numbers(families["optirelay_callbacks_waiting"]) == {("acme",): 1}
        assert numbers(families["optirelay_events"]) == {  # labels by name: channel, event, tenant
            ("newsletter", "delivered", "acme"): 2,
            ("newsletter", "opened", "acme"): 1,
        }
        assert numbers(families["optirelay_jobs_waiting"])["report", "acme"] == 1
        assert numbers(families["optirelay_workers"]) == {(): 1}
        assert numbers(families["optirelay_problems"]) == {("reload_failed", ""): 1, ("unknown_template", "acme"): 1}
        assert 0 < numbers(families["optirelay_oldest_due_batch_late_seconds"])["newsletter", "acme"] < 600

        await operate.pause_campaign(house.ctx, "acme", campaign_id, "newsletter")
        assert numbers((await scraped(house))["optirelay_oldest_due_batch_late_seconds"]) == {}


async def test_report_batches_are_counted_and_every_metric_has_its_row(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, channel={"callback_secret": SECRET}) as house:
        await house.push(17)
        campaign_id = await house.plan(customers=20)
        await house.fire(campaign_id)
        await house.until_state(campaign_id, "complete")
        await house.until_reported(campaign_id)
        [sid] = await accepted_sids(house, 1)
        await call_back(house, {"id": sid, "event": "bounced"})

        async def counted() -> bool:
            return bool(numbers((await scraped(house))["optirelay_events"]))

        await house.until(counted)
        families = await scraped(house)
    assert set(numbers(families["optirelay_report_batches"])) == {("answered", "acme")}
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", DOCUMENT.read_text(), re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert set(documented) == set(families)
    for name, family in families.items():
        assert family.documentation
        assert family.type == "gauge"
        assert all(set(sample.labels) == documented[name] for sample in family.samples)


async def test_without_a_database_there_are_no_metrics(make_settings: MakeSettings, server: str, database: str) -> None:
    async with (
        open_house(make_settings, workers=0) as house,
        httpx2.AsyncClient(base_url=house.web_url, timeout=30) as client,
    ):
        assert (await client.post("/metrics")).status_code == 405
        name = conninfo_to_dict(database)["dbname"]
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"alter database {name} with allow_connections false")
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
            answer = await client.get("/metrics")
            connection.execute(f"alter database {name} with allow_connections true")
        assert answer.status_code == 503
        assert "database" in answer.text
