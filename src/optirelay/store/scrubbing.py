"""What a database keeps of rows that are gone: its files are written anew, so that nothing of them is left there."""

import asyncio
import time
from typing import Any, LiteralString

from psycopg import AsyncConnection, errors, sql
from psycopg_pool import AsyncConnectionPool

LARGEST = 256 * 1024 * 1024
"""Octets of a table with its indexes; a larger one is not written anew, because nobody could use it meanwhile."""
_TABLES: tuple[LiteralString, ...] = (
    *("message", "personalization", "outcome", "attempt", "notification", "callback", "attribute_result"),
    *("contact", "subscription", "subscription_statement", "suppression", "report_batch", "problem", "audit"),
)
_TRIES = 5
_LOCK_WAITS = "2s"  # others wait behind us, so not for long
_OTHERS_TAKE_SECONDS = 20.0  # until who may still see the old rows has ended
_RELOADS_SECONDS = 0.5
_LOOK_AGAIN_SECONDS = 0.05
_NOT_OURS = (
    "the database is a server of its own: until it has written over them, its free space, statistics of empty tables, "
    "log of changes (WAL) and backups may hold what was deleted; see its administrator"
)
STILL_SEEN = (
    "something reads the database since before, and what it may still see stays in the database's files: run the same "
    "again later"
)
_TOO_LARGE = (
    "table {table} is too large, or too busy, to be written anew: until it is written over, its free space in the "
    "database's files may hold what was deleted; `VACUUM FULL {table}` ends that, in a quiet hour"
)
_OTHERS = (
    "select exists (select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    " and backend_type = 'client backend' and (backend_xid is not null or backend_xmin is not null)"
    " and xact_start <= %s)"
)
_FORGET_STATISTICS = (  # of tables that are empty now PostgreSQL would keep them; an index of an expression has its own
    "with tables as (select unnest(%s::regclass[]) as id) delete from pg_statistic where starelid in"
    " (select id from tables union all select indexrelid from pg_index where indrelid in (select id from tables))"
)
_WAL_AHEAD = (
    "select count(*) from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$' and name > pg_walfile_name(pg_current_wal_lsn())"
)


async def scrub(pool: AsyncConnectionPool, *, own_server: bool, largest: int = LARGEST) -> list[str]:
    """Rows that are deleted or changed leave the files of the database; a sentence for each place where they may not.

    The embedded server's tables, each of at most `largest` octets, its statistics and its log of changes are written
    anew: for seconds others wait. Of a server that is not ours statistics alone are, and the space is free to be
    written over.
    """
    async with pool.connection() as connection:
        if not own_server:
            for table in _TABLES:
                await connection.execute(sql.SQL("vacuum (analyze) {}").format(sql.Identifier(table)))
            return [_NOT_OURS]
        left = [] if await _others_ended(connection) else [STILL_SEEN]
        await connection.execute(_FORGET_STATISTICS, [list(_TABLES)])
        for table in _TABLES:
            left += await _write_anew(connection, table, largest)
        await connection.execute("vacuum (full) pg_statistic")
        await _write_over_log(connection)
        return left


async def _others_ended(connection: AsyncConnection[Any]) -> bool:
    """Whether nobody sees any more what was there before; waits for a while."""
    moment = await _value(connection, "select clock_timestamp()")
    until = time.monotonic() + _OTHERS_TAKE_SECONDS
    while await _value(connection, _OTHERS, moment):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    return True


async def _write_anew(connection: AsyncConnection[Any], table: LiteralString, largest: int) -> list[str]:
    """The table without what is gone."""
    name = sql.Identifier(table)
    if await _value(connection, "select pg_total_relation_size(%s::regclass)", table) <= largest:
        await connection.execute(f"set lock_timeout = '{_LOCK_WAITS}'")
        try:
            for _ in range(_TRIES):
                try:
                    await connection.execute(sql.SQL("vacuum (full, analyze) {}").format(name))
                except errors.LockNotAvailable:
                    continue
                return []
        finally:
            await connection.execute("reset lock_timeout")
    await connection.execute(sql.SQL("vacuum (analyze) {}").format(name))
    return [_TOO_LARGE.format(table=table)]


async def _write_over_log(connection: AsyncConnection[Any]) -> None:
    """Files of the log of changes (WAL) are removed, or written over, up to the newest."""
    await connection.execute("alter system set wal_recycle = off")
    try:
        await connection.execute("select pg_reload_conf()")
        await asyncio.sleep(_RELOADS_SECONDS)
        await connection.execute("checkpoint")  # from its end on no old file is used again
        for _ in range(int(await _value(connection, _WAL_AHEAD)) + 1):
            await connection.execute("select pg_logical_emit_message(false, 'optirelay', '')")
            await connection.execute("select pg_switch_wal()")
        await connection.execute("checkpoint")
    finally:
        await connection.execute("alter system reset wal_recycle")
        await connection.execute("select pg_reload_conf()")


async def _value(connection: AsyncConnection[Any], query: LiteralString, *params: Any) -> Any:
    cursor = await connection.execute(query, params)
    row = await cursor.fetchone()
    return None if row is None else row[0]
