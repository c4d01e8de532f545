"""The directory in the store: what is said of people is kept, and they are found by index, however many there are."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from tests.conftest import MakeSettings

from optirelay.model import ChannelKind, Contact, CustomerId, TenantId
from optirelay.settings import Settings
from optirelay.store import Ledger, Store
from optirelay.store.contacts import ContactChange, ContactRow

ACME, GLOBEX = TenantId("acme"), TenantId("globex")
EMAIL, SMS, PUSH, INAPP = ChannelKind
MANY, ASKED = 100_000, 2_000
PHONE = "+33612345678"


@pytest_asyncio.fixture
async def store(make_settings: MakeSettings) -> AsyncIterator[Store]:
    settings: Settings = make_settings()
    async with Store.open(settings.service.database, {ACME: ["newsletter"], GLOBEX: ["newsletter"]}) as opened:
        yield opened


def change(customer_id: str, attributes: dict[str, str | None] = {}, **addresses: str | None) -> ContactChange:  # noqa: B006
    return ContactChange(CustomerId(customer_id), addresses, attributes)


async def kept(store: Store, *changes: ContactChange, tenant: TenantId = ACME) -> int:
    async with store.tenant(tenant).transaction() as ledger:
        return await ledger.contacts.keep(changes)


async def contact(store: Store, customer_id: str = "C-1") -> ContactRow:
    async with store.tenant(ACME).transaction() as ledger:
        row = await ledger.contacts.contact(CustomerId(customer_id))
    assert row is not None
    return row


def shown(row: ContactRow) -> tuple[Any, ...]:
    return row.email, row.phone, row.push_token, row.attributes


async def test_what_is_not_said_stays_and_null_takes_away(store: Store) -> None:
    assert await kept(store, change("C-1", {"TIER": "gold", "CITY": "Rome"}, email="ana@example.com", phone=PHONE)) == 1
    assert await kept(store, change("C-1", {"TIER": "lead"}, push_token="t")) == 1
    assert shown(await contact(store)) == ("ana@example.com", PHONE, "t", {"TIER": "lead", "CITY": "Rome"})
    assert await kept(store, change("C-1", {"CITY": None, "OTHER": None}, phone=None)) == 1
    assert shown(before := await contact(store)) == ("ana@example.com", None, "t", {"TIER": "lead"})
    assert await kept(store, change("C-1", {"TIER": "lead", "CITY": None}, email="ana@example.com")) == 0
    assert await contact(store) == before  # the same again is no change
    # Of two rows of one person the later wins, name by name.
    assert await kept(store, change("C-1", {"A": "1"}, phone=PHONE), change("C-2"), change("C-1", {"A": "2"})) == 2
    assert shown(after := await contact(store)) == ("ana@example.com", PHONE, "t", {"TIER": "lead", "A": "2"})
    assert after.updated_at > before.updated_at
    assert shown(await contact(store, "C-2")) == (None, None, None, {})
    assert await kept(store) == 0


async def test_each_kind_of_channel_finds_its_own_address(store: Store) -> None:
    await kept(store, change("C-1", {"A": "1"}, email="ana@example.com", phone=PHONE), change("C-2", push_token="t"))
    await kept(store, change("C-1", email="else@example.com"), tenant=GLOBEX)
    ids = [CustomerId(id_) for id_ in ("C-1", "C-2", "C-3", "C-1")]
    async with store.tenant(ACME).transaction() as ledger:
        found = {kind: await ledger.contacts.of_customers(kind, ids) for kind in ChannelKind}
    one = {kind: of["C-1"] for kind, of in found.items()}  # type: ignore[index]
    assert {kind: contact.address for kind, contact in one.items()} == {
        EMAIL: "ana@example.com",
        SMS: PHONE,
        PUSH: None,
        INAPP: "C-1",
    }
    assert one[EMAIL].attributes == '{"A": "1"}'
    assert [of["C-2"].address for of in found.values()] == [None, None, "t", "C-2"]  # type: ignore[index]
    assert all(of.keys() == {"C-1", "C-2"} for of in found.values())


async def found_by(ledger: Ledger, kind: ChannelKind, *sought: tuple[str, str]) -> list[str | None]:
    pairs = [(value, CustomerId(customer_id)) for value, customer_id in sought]
    found = await ledger.contacts.of_addresses(kind, pairs)
    return [found.get(pair, Contact("nobody", "{}")).address for pair in pairs]


async def test_of_several_with_one_address_one_is_found_and_always_the_same(store: Store) -> None:
    for id_, phone in (("C-7", "+331"), ("C-8", None), ("C-9", "+332"), ("C-6", None)):
        await kept(store, change(id_, email="One@example.com", phone=phone))
    await kept(store, change("C-5", email="two@example.com"), change("C-4", email="TWO@example.com"))
    await kept(store, change("C-4", email="two@example.com"), change("G-1", phone="+333"), tenant=GLOBEX)
    async with store.tenant(ACME).transaction() as ledger:
        # Whoever has the id; then whoever has the address that is needed, and changed last; then the first by id.
        sought = [("oNE@example.com", id_) for id_ in ("C-7", "C-8", "C-9", "C-5", "other")]
        assert await found_by(ledger, SMS, *sought) == ["+331", None, "+332", "+332", "+332"]
        sought = [("one@example.com", "other"), ("two@example.com", "other")]
        assert await found_by(ledger, INAPP, *sought) == ["C-6", "C-4"]
        sought = [("+331", "other"), ("+332", "C-9"), ("+333", "G-1")]
        assert await found_by(ledger, INAPP, *sought) == ["C-7", "C-9", "nobody"]
        hostile = [(text, "C-9") for text in ("%", "one@example.com;two@example.com", "@", "'; drop table contact; --")]
        assert await found_by(ledger, SMS, *hostile) == ["nobody"] * 4
        assert await found_by(ledger, SMS) == []


async def test_a_page_of_many_is_found_by_index_alone(store: Store) -> None:
    people = (
        "select %s, 'C-' || n, case when n %% 9 = 0 then 'same' else 'p' || n end || '@example.com', '+336' || n, "
        "null, '{}' from generate_series(1, %s) n"
    )
    columns = "contact (tenant, customer_id, email, phone, push_token, attributes)"
    numbers = [n * (MANY // ASKED) for n in range(1, ASKED + 1)]
    ids = [CustomerId(f"C-{n}") for n in numbers]
    # An address that thousands have, asked for on behalf of hundreds.
    emails = ["SAME@example.com" if n % 9 == 0 else f"P{n}@example.com" for n in numbers]
    for analyzed in (False, True):
        async with store.tenant(ACME).transaction() as ledger:
            if analyzed:
                await ledger.connection.execute("analyze contact")
            else:
                await ledger.connection.execute(f"insert into {columns} {people}", (store.number_of(ACME), MANY))
            for _ in range(12):  # from some time on PostgreSQL keeps a plan, whatever is asked for
                assert len(await ledger.contacts.of_customers(EMAIL, ids)) == ASKED
                by_phone = [(f"+336{n}", CustomerId("other")) for n in numbers]
                assert len(await ledger.contacts.of_addresses(EMAIL, by_phone)) == ASKED
                by_email = list(zip(emails, ids, strict=True))
                assert len(await ledger.contacts.of_addresses(SMS, by_email)) == ASKED
            for token in ("t", None):
                assert await ledger.contacts.keep([ContactChange(id_, {"push_token": token}) for id_ in ids]) == ASKED
            assert await scans(ledger) == 0


async def scans(ledger: Ledger) -> int:
    """How often this transaction read the whole directory."""
    cursor = await ledger.connection.execute("select seq_scan from pg_stat_xact_user_tables where relname = 'contact'")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
