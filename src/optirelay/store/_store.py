"""The store: one pool of connections to PostgreSQL, transactions over it, and what is known across tenants."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import date, datetime, timedelta
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from optirelay.errors import NeedsOperator, TryLater
from optirelay.model import ChannelName, TenantId
from optirelay.store._ledger import Ledger
from optirelay.store._looking import check_now_and_then
from optirelay.store._migrate import migrate
from optirelay.store._sql import Statements
from optirelay.store.arrivals import Callback, Notification, ProblemRow
from optirelay.store.forgetting import Aging
from optirelay.store.known import KnownTenant, keep_names
from optirelay.store.link_tokens import Linked, LinkTokens, is_genuine, read_token
from optirelay.store.measures import Measures
from optirelay.store.problems import Problems
from optirelay.store.sharing import SharedChannel

_CONNECT_SECONDS = 5  # whoever waits for an answer of ours should not wait longer for a database that is away
NOTIFICATION_CHANNEL = "optirelay_notification"
CALLBACK_CHANNEL = "optirelay_callback"
ATTRIBUTES_CHANNEL = "optirelay_attributes"
BATCH_CHANNEL = "optirelay_batch"


class StoreUnavailable(TryLater):
    """PostgreSQL does not answer; nothing was kept."""


class TenantStore:
    """One tenant's rows. No method here can reach another tenant's."""

    def __init__(self, pool: AsyncConnectionPool, name: TenantId, known: KnownTenant) -> None:
        self._pool = pool
        self.name = name
        self._tenant = known.id
        self._link_key = known.link_key

    def tokens(self, planned_on: date) -> LinkTokens:
        """What stands in the links of messages of that day."""
        return LinkTokens(self._link_key, self._tenant, planned_on)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Ledger]:
        """A transaction over this tenant's rows. StoreUnavailable where PostgreSQL does not answer."""
        async with _connection(self._pool) as connection, connection.transaction():
            yield Ledger(connection, self.name, self._tenant)

    @asynccontextmanager
    async def alone(self, at: str) -> AsyncIterator[None]:
        """Wait until nobody else, in any process, is at this for the tenant; nobody comes before the end."""
        async with self.transaction() as ledger:
            await ledger.connection.execute("select pg_advisory_xact_lock(%s, hashtext(%s))", (self._tenant, at))
            yield

    @asynccontextmanager
    async def if_alone(self, at: str) -> AsyncIterator[bool]:
        """Whether nobody else, in any process, is at this for the tenant; then nobody comes before the end."""
        async with self.transaction() as ledger:
            cursor = await ledger.connection.execute(
                "select pg_try_advisory_xact_lock(%s, hashtext(%s))", (self._tenant, at)
            )
            row = await cursor.fetchone()
            assert row is not None
            yield bool(row[0])

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Ledger]:
        """The same, reading only, and every statement sees the same moment. For whole campaigns."""
        async with self.transaction() as ledger:
            await ledger.connection.execute("set transaction isolation level repeatable read, read only")
            # Right after a crash PostgreSQL knows nothing of its tables, and would join a million rows one by one.
            await ledger.connection.execute("set local enable_nestloop = off")
            await ledger.connection.execute("set local cursor_tuple_fraction = 1")  # who streams reads to the end
            yield ledger


class Everyone:
    """All tenants' rows inside one transaction."""

    def __init__(self, connection: AsyncConnection[Any], tenants: Mapping[TenantId, KnownTenant]) -> None:
        self._connection = connection
        self._sql = Statements(connection, "everyone", {})
        self._names = {known.id: name for name, known in tenants.items()}
        self.problems = Problems(connection, None)
        self.aging = Aging(connection)

    def ledger(self, tenant: int) -> Ledger:
        """One tenant's rows, in this transaction."""
        return Ledger(self._connection, self._names[tenant], tenant)

    async def take_notifications(self, limit: int, octets: int) -> list[Notification]:
        """The oldest that nobody has read, the same number of each tenant; one more at most once these have so many
        octets. When the transaction is committed they are done; until then nobody else takes them.

        Those of a tenant that the settings no longer have wait until they have it again.
        """
        taken = await self._sql.rows(
            Notification, "take_notifications", limit=limit, octets=octets, tenants=list(self._names)
        )
        return sorted(taken, key=lambda notification: notification.id)

    async def set_aside(self, notification: Notification) -> None:
        """It is kept, and not read again: the store refused what it says."""
        await self._sql.do("set_aside_notification", tenant=notification.tenant, id=notification.id)

    async def add_callbacks(self, callbacks: Sequence[tuple[TenantId, ChannelName, bytes, bytes]]) -> None:
        """Keep raw bodies by their keys; at the commit, whoever reads them is woken."""
        numbers = {name: number for number, name in self._names.items()}
        tenants, channels, keys, bodies = zip(*callbacks, strict=True)
        await self._sql.do(
            "keep_callbacks",
            tenants=[numbers[tenant] for tenant in tenants],
            channels=list(channels),
            keys=list(keys),
            bodies=list(bodies),
        )
        await self._connection.execute(f"notify {CALLBACK_CHANNEL}")

    async def take_callbacks(self, limit: int) -> list[Callback]:
        """The oldest that nobody has read, locked until the transaction ends; of a tenant without settings none.

        The commit waits for no disk: what a crash undoes is taken again, and whatever is flushed later flushes it, too.
        """
        await self._connection.execute("set local synchronous_commit = off")
        return await self._sql.rows(Callback, "take_callbacks", limit=limit, tenants=list(self._names))

    async def settle_callbacks(self, callbacks: Sequence[Callback], state: str) -> None:
        """They are `done`, or `set_aside` because the store refused what they say."""
        await self._sql.do(
            "settle_callbacks",
            tenants=[c.tenant for c in callbacks],
            channels=[c.channel for c in callbacks],
            keys=[c.key for c in callbacks],
            state=state,
        )

    async def with_undecided(self) -> list[tuple[TenantId, int]]:
        """Batches, at most 100, with messages whose outcome is to be compared with events that came before it."""
        rows = await self._sql.tuples("with_undecided", tenants=list(self._names))
        return [(self._names[tenant], batch) for tenant, batch in rows]

    async def take_due_reports(self, now: datetime, limit: int) -> list[tuple[int, int]]:
        """Campaigns of which Optimove is to be told by now, with their tenants, locked until the transaction ends."""
        rows = await self._sql.tuples("take_due_reports", now=now, limit=limit, tenants=list(self._names))
        return [(tenant, campaign) for tenant, campaign in rows]

    async def to_share(
        self, channels: Sequence[SharedChannel], now: datetime, result_within: timedelta
    ) -> list[tuple[TenantId, ChannelName]]:
        """Of these channels those with something to tell Optimove about opt-ins by now."""
        numbers = {name: number for number, name in self._names.items()}
        rows = await self._sql.tuples(
            "to_share",
            tenants=[numbers[c.tenant] for c in channels],
            channels=[c.channel for c in channels],
            every=[c.every for c in channels],
            full=[c.full for c in channels],
            now=now,
            result_within=result_within,
        )
        return [(self._names[tenant], channel) for tenant, channel in rows]

    async def with_results(self) -> list[TenantId]:
        """Tenants whose Optimove posted results that nobody has read."""
        return [self._names[tenant] for tenant in await self._sql.values("with_results", tenants=list(self._names))]

    async def add_up(self, limit: int, *, after: timedelta) -> int:
        """Counters of triggered batches that have been done for so long go into their days' totals; of how many."""
        return int(await self._sql.value("add_up", limit=limit, after=after, tenants=list(self._names)))

    async def close_days(self, before: date, limit: int) -> None:
        """Days of triggered campaigns before this one are closed, where nothing of them is open."""
        await self._sql.do("close_days", before=before, limit=limit, tenants=list(self._names))


class Store:
    """All tenants' rows in one PostgreSQL."""

    def __init__(self, pool: AsyncConnectionPool, conninfo: str, tenants: Mapping[TenantId, KnownTenant]) -> None:
        self.pool = pool
        self._conninfo = conninfo
        self._tenants = tenants

    @classmethod
    @asynccontextmanager
    async def open(cls, conninfo: str, channels: Mapping[TenantId, Iterable[str]]) -> AsyncIterator[Self]:
        """Connect, bring the tables up to date, and make tenants and their channels known.

        NeedsOperator where the server cannot be reached or refuses us.
        """
        try:
            await asyncio.to_thread(migrate, conninfo)
        except psycopg.OperationalError as error:
            raise NeedsOperator(f"the database does not answer: {_say(error)}; check [service] database") from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise NeedsOperator(f"the database refuses to make tables: {_say(error)}; grant its user CREATE") from error
        pool = AsyncConnectionPool(
            conninfo,
            min_size=2,
            max_size=20,
            timeout=_CONNECT_SECONDS,
            reconnect_timeout=_CONNECT_SECONDS,  # then whoever comes next tries; without it pauses grow to minutes
            open=False,
            check=check_now_and_then(),
            kwargs={
                "autocommit": True,  # a transaction is one that says so
                "connect_timeout": _CONNECT_SECONDS,
                "options": f"-c timezone=UTC {_options(conninfo)}".strip(),
            },
        )
        await pool.open()
        try:
            yield cls(pool, conninfo, await _keep_names(pool, channels))
        finally:
            await pool.close()

    async def know(self, channels: Mapping[TenantId, Iterable[str]]) -> None:
        """Make tenants and their channels known, beside those that are known already."""
        self._tenants = {**self._tenants, **await _keep_names(self.pool, channels)}

    def tenant(self, tenant: TenantId) -> TenantStore:
        """One tenant's rows. KeyError where the settings do not have it."""
        return TenantStore(self.pool, tenant, self._tenants[tenant])

    def over(self, pool: AsyncConnectionPool) -> "Store":
        """The same store over another pool of connections."""
        return Store(pool, self._conninfo, self._tenants)

    def number_of(self, tenant: TenantId) -> int:
        """The number that stands for a tenant in every key."""
        return self._tenants[tenant].id

    def linked(self, token: str) -> tuple[TenantId, Linked] | None:
        """The tenant and the message of a link's token; None where it was not made here for one of these tenants."""
        named = read_token(token)
        for name, known in self._tenants.items():
            if named is not None and known.id == named.tenant and is_genuine(token, known.link_key):
                return name, named
        return None

    @asynccontextmanager
    async def transaction(self, *, pipelined: bool = False) -> AsyncIterator[Everyone]:
        """A transaction over all tenants' rows. StoreUnavailable where PostgreSQL does not answer.

        Pipelined, what returns no rows, its beginning and end among it, leaves with the next statement that does: what
        is wrong with it is raised later, at the latest at the end. It knows no COPY.
        """
        async with (
            _connection(self.pool) as connection,
            connection.pipeline() if pipelined else nullcontext(),
            connection.transaction(),
        ):
            yield Everyone(connection, self._tenants)

    async def keep_notifications(self, notifications: Sequence[tuple[TenantId, bytes]]) -> None:
        """Keep raw bodies, all in one commit, and wake whoever reads them. StoreUnavailable: nothing was kept."""
        async with _connection(self.pool) as connection:
            await Statements(connection, "everyone", {}).do(
                "keep_notifications",
                tenants=[self._tenants[tenant].id for tenant, _ in notifications],
                hashes=[hashlib.sha256(body).digest() for _, body in notifications],
                bodies=[body for _, body in notifications],
                wakes=NOTIFICATION_CHANNEL,
            )

    async def keep_callbacks(self, callbacks: Sequence[tuple[TenantId, ChannelName, bytes, bytes]]) -> None:
        """Keep raw bodies by their keys, all in one commit, and wake whoever reads them. The same key within seven
        days is kept once. StoreUnavailable: nothing was kept."""
        async with self.transaction() as everyone:
            await everyone.add_callbacks(callbacks)

    async def keep_attribute_results(self, results: Sequence[tuple[TenantId, int | None, bytes]]) -> None:
        """Keep raw bodies, each with the call that it is about, all in one commit, and wake whoever reads them.
        StoreUnavailable: nothing was kept."""
        tenants, calls, bodies = zip(*results, strict=True)
        async with _connection(self.pool) as connection:
            await Statements(connection, "everyone", {}).do(
                "keep_attribute_results",
                tenants=[self._tenants[tenant].id for tenant in tenants],
                calls=list(calls),
                bodies=list(bodies),
                wakes=ATTRIBUTES_CHANNEL,
            )

    async def seen(self, worker: str, host: str, pid: int) -> float:
        """This worker is alive; the database's clock, in seconds since 1970."""
        async with self._statements() as sql:
            await sql.do("forget_workers")
            return float(await sql.value("seen_worker", id=worker, host=host, pid=pid))

    async def gone(self, worker: str) -> None:
        """This worker has ended; what it held is free."""
        async with self._statements() as sql:
            await sql.do("gone_worker", id=worker)

    async def started(self, host: str, pid: int, within: timedelta) -> bool:
        """Whether this process is a worker that has reported for the first time within so long."""
        async with self._statements() as sql:
            return bool(await sql.value("started_worker", host=host, pid=pid, within=within))

    async def reporting_workers(self, silence: timedelta) -> int:
        """How many workers were seen lately."""
        async with self._statements() as sql:
            return int(await sql.value("reporting_workers", silence=silence))

    async def renew_leases(self, owner: str, lease: timedelta, held: Sequence[tuple[TenantId, int]]) -> None:
        """These batches stay this worker's own. One that it does not know of, as after a lost answer, lapses."""
        numbers = [(self._tenants[tenant].id, batch) for tenant, batch in held]
        async with self._statements() as sql:
            tenants, batches = [tenant for tenant, _ in numbers], [batch for _, batch in numbers]
            renewed = await sql.tuples("renew_leases", owner=owner, lease=lease, tenants=tenants, batches=batches)
        for tenant, batch in sorted(set(numbers) - set(renewed)):  # locked just now, or done: one by one
            async with self._statements() as sql:
                await sql.do("renew_lease", owner=owner, lease=lease, tenant=tenant, batch=batch)

    async def problems(self) -> list[ProblemRow]:
        """What the operator is to be told, oldest first."""
        async with self._statements() as sql:
            return await sql.rows(ProblemRow, "problems")

    @asynccontextmanager
    async def measures(self, tenants: Sequence[TenantId]) -> AsyncIterator[Measures]:
        """What is measured of these tenants. StoreUnavailable where PostgreSQL does not answer."""
        async with _connection(self.pool) as connection, connection.transaction():
            yield Measures(connection, tenants)

    async def listen(self) -> AsyncIterator[str]:
        """NOTIFYs as they come: which of the four channels. Ends with StoreUnavailable."""
        try:
            async with await AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
                for name in (NOTIFICATION_CHANNEL, CALLBACK_CHANNEL, ATTRIBUTES_CHANNEL, BATCH_CHANNEL):
                    await connection.execute(f"listen {name}")
                async for notify in connection.notifies():
                    yield notify.channel
        except psycopg.OperationalError as error:
            raise StoreUnavailable(f"the database does not answer: {_say(error)}") from error

    @asynccontextmanager
    async def _statements(self) -> AsyncIterator[Statements]:
        async with _connection(self.pool) as connection, connection.transaction():
            yield Statements(connection, "everyone", {})


@asynccontextmanager
async def _connection(pool: AsyncConnectionPool) -> AsyncIterator[AsyncConnection[Any]]:
    try:
        async with pool.connection() as connection:
            yield connection
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise StoreUnavailable(f"the database does not answer: {_say(error)}") from error


async def _keep_names(
    pool: AsyncConnectionPool, channels: Mapping[TenantId, Iterable[str]]
) -> dict[TenantId, KnownTenant]:
    async with _connection(pool) as connection, connection.transaction():
        return await keep_names(connection, channels)


def _options(conninfo: str) -> str:
    return str(conninfo_to_dict(conninfo).get("options") or "")


def _say(error: Exception) -> str:
    """A driver's words in one line; its context may quote rows, so only the first line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
