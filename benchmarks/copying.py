"""The baseline of what is written: the same rows, COPYed by a plain loop into a table with a primary key."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg

PAGE = 10_000
TYPES = ("int4", "date", "int8", "int8", "int8", "int8", "int4", "text", "text", "timestamptz", "bytea")
TABLE = """
create table copied (
  tenant int, planned_on date, id bigint, campaign bigint, batch bigint, pass bigint, template_id int,
  customer_id text, address text, send_at timestamptz, occurrence bytea, primary key (tenant, planned_on, id)
)
"""


def copied_per_second(database: psycopg.Connection[Any], rows: int) -> float:
    """Rows per second of the ledger's messages."""
    now = datetime.now(UTC)
    made = [
        (1, now.date(), n, 1, n // 1000, 1, 17, f"C-{n:06}", f"ana.rossi.{n}@example.com", now, b"12345678")
        for n in range(rows)
    ]
    return copied_into(database, TABLE, TYPES, made)


def copied_into(
    database: psycopg.Connection[Any], table: LiteralString, types: Sequence[str], made: Sequence[tuple[Any, ...]]
) -> float:
    """Rows per second into a new table `copied`: a transaction for each page of 10,000, as the ledger has it."""
    database.execute(table)
    try:
        began = time.perf_counter()
        for start in range(0, len(made), PAGE):
            with (
                database.transaction(),
                database.cursor() as cursor,
                cursor.copy("copy copied from stdin (format binary)") as copy,
            ):
                copy.set_types(types)
                for row in made[start : start + PAGE]:
                    copy.write_row(row)
        return len(made) / (time.perf_counter() - began)
    finally:
        database.execute("drop table copied")
