"""What is deleted leaves the database's files, or it is said which file may still hold it."""

from collections.abc import AsyncIterator

import pytest_asyncio
from psycopg_pool import AsyncConnectionPool

from optirelay.store.scrubbing import scrub


@pytest_asyncio.fixture
async def pool(database: str) -> AsyncIterator[AsyncConnectionPool]:
    async with AsyncConnectionPool(database, min_size=1, max_size=2, open=False, kwargs={"autocommit": True}) as opened:
        yield opened


async def path_of(pool: AsyncConnectionPool, table: str) -> str:
    async with pool.connection() as connection:
        cursor = await connection.execute("select pg_relation_filepath(%s::regclass)", [table])
        row = await cursor.fetchone()
    assert row is not None
    return str(row[0])


async def test_only_tables_that_are_small_and_ours_are_written_anew(pool: AsyncConnectionPool) -> None:
    before = await path_of(pool, "contact")
    [sentence] = await scrub(pool, own_server=False)
    assert "its administrator" in sentence
    large = await scrub(pool, own_server=True, largest=0)
    assert "`VACUUM FULL contact`" in "\n".join(large)
    assert await path_of(pool, "contact") == before
    assert await scrub(pool, own_server=True) == []
    assert await path_of(pool, "contact") != before
    async with pool.connection() as connection:
        cursor = await connection.execute("select setting, source from pg_settings where name = 'wal_recycle'")
        assert await cursor.fetchone() == ("on", "default")
