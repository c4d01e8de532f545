"""Imports end as one undisturbed run would have ended: killed in between, twice, side by side, beside opt-outs."""

import asyncio
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.cli.test_trouble import write
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, SOON

from optirelay.engine import operate, runtime
from optirelay.engine.context import Context
from optirelay.engine.operate.importing import ROWS_AT_ONCE
from optirelay.errors import NeedsOperator
from optirelay.model import CustomerId
from optirelay.store.opt_outs import Statement

HEADER = "customer_id,channel,opted_in,at\n"
BEGAN = datetime(2025, 1, 1, tzinfo=UTC)


def row(number: int) -> str:
    return f"C-{number:05},newsletter,{'no' if number % 3 else 'yes'},{BEGAN + timedelta(seconds=number):%FT%TZ}\n"


def counts(database: psycopg.Connection[Any]) -> tuple[int, int, int, int]:
    """Customers, those who said yes, statements, and of how many customers."""
    found = database.execute(
        "select count(*), count(*) filter (where opted_in), (select count(*) from subscription_statement),"
        " (select count(distinct customer_id) from subscription_statement) from subscription"
    ).fetchone()
    assert found is not None
    return tuple(found)


def start(file: Path, config: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "optirelay", "optins", "import", str(file), "--config", config]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def cut_off(file: Path, config: str, how: signal.Signals, database: str, at: int) -> int:
    """Once so many rows are in, of which the last waits for us; the exit status."""
    with psycopg.connect(database) as blocking, psycopg.connect(database, autocommit=True) as looking:
        blocking.execute(
            "insert into subscription (tenant, channel, customer_id, opted_in, at, source)"
            " select id, 'newsletter', %s, true, now(), '' from tenant",
            (f"C-{at:05}",),
        )
        with start(file, config) as running:
            end = time.monotonic() + SOON
            while counts(looking)[0] < at:
                assert running.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
            running.send_signal(how)
            if how == signal.SIGKILL:
                running.wait(SOON)
            blocking.rollback()  # a group that was begun is finished where that can be
            assert running.communicate(timeout=SOON) == (b"", b"")
        assert counts(looking)[0] == at + (0 if how == signal.SIGKILL else ROWS_AT_ONCE)
    return running.returncode


async def test_an_import_that_was_cut_off_is_whole_after_another_run(
    make_settings: MakeSettings, database: str, tmp_path: Path
) -> None:
    config = write(tmp_path, database, "http://127.0.0.1:1", "acme")
    file = tmp_path / "said.csv"
    file.write_text(HEADER + "9,faxes,yes,\n" + "".join(map(row, range(15_000))))
    async with runtime.open_context(make_settings(), database):  # makes the tenant known
        pass
    assert cut_off(file, config, signal.SIGINT, database, at=4000) == 130
    assert list(tmp_path.glob("*rejected*")) == []
    assert cut_off(file, config, signal.SIGKILL, database, at=10_000) == -signal.SIGKILL
    (left,) = tmp_path.glob("*rejected*")
    assert left.name.startswith(".")
    with start(file, config) as last:
        out, err = last.communicate(timeout=SOON)
    assert (last.returncode, err) == (0, b"")
    assert out.startswith(b"15000 rows are in, 5000 changed something; 1 is rejected: see ")
    with psycopg.connect(database) as looking:
        assert counts(looking) == (15_000, 5000, 15_000, 15_000)
    (rejects,) = tmp_path.glob("*rejected*")
    assert rejects.read_text() == "line,reason,customer_id,channel,opted_in,at\n2,unknown_channel,9,faxes,yes,\n"


async def test_two_imports_of_one_file_never_write_one_file_of_rejects(
    make_settings: MakeSettings, database: str, tmp_path: Path
) -> None:
    file = tmp_path / "said.csv"
    file.write_text(HEADER + "9,faxes,yes,\n" + "".join(map(row, range(5000))))
    async with runtime.open_context(make_settings(), database) as ctx:
        done = await asyncio.gather(
            *(operate.import_opt_ins(ctx, ACME, file) for _ in range(2)), return_exceptions=True
        )
    (error,) = (one for one in done if isinstance(one, NeedsOperator))
    assert "is being written by another import" in str(error)
    assert [one.rows for one in done if isinstance(one, operate.Imported)] == [5000]
    assert [each.name for each in sorted(tmp_path.glob("*said*"))] == ["said.csv", "said.csv.rejected.csv"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The same rows, forth and back."""
    forth, back = tmp_path / "forth.csv", tmp_path / "back.csv"
    rows = [row(number) for number in range(9000)]
    forth.write_text(HEADER + "".join(rows))
    back.write_text(HEADER + "".join(reversed(rows)))
    return forth, back


async def test_imports_side_by_side_and_beside_opt_outs_wait_for_each_other(
    make_settings: MakeSettings, database: str, files: tuple[Path, Path]
) -> None:
    clicked = [CustomerId(f"C-{number:05}") for number in range(8999, 0, -299)]
    async with runtime.open_context(make_settings(), database) as ctx:
        importing = asyncio.gather(*(operate.import_opt_ins(ctx, ACME, file) for file in files))
        locking = asyncio.create_task(lock_over_and_over(ctx))
        try:
            for customer in clicked:
                async with ctx.store.tenant(ACME).transaction() as ledger:
                    said = Statement(customer, NEWSLETTER, datetime.now(UTC), opted_in=False, source="link")
                    await ledger.opt_outs.keep([said])
                await asyncio.sleep(0.01)
            done = await importing
        finally:
            locking.cancel()
            await asyncio.gather(locking, return_exceptions=True)
    assert [one.rows for one in done] == [9000, 9000]
    assert sum(one.changed for one in done) <= 9000
    with psycopg.connect(database) as looking:
        yes = sum(number % 3 == 0 and f"C-{number:05}" not in clicked for number in range(9000))
        assert counts(looking) == (9000, yes, 9000 + len(clicked), 9000)


async def lock_over_and_over(ctx: Context) -> None:
    """As who tells Optimove does: some rows in their order, without waiting for one, then a change."""
    while True:
        async with ctx.store.tenant(ACME).transaction() as ledger:
            await ledger.connection.execute(
                "update subscription s set call = 1 from (select tenant, channel, customer_id from subscription"
                " where told is distinct from opted_in order by customer_id limit 500 for update skip locked) l"
                " where (s.tenant, s.channel, s.customer_id) = (l.tenant, l.channel, l.customer_id)"
            )
            await asyncio.sleep(0.01)


async def test_another_answer_is_told_as_if_none_had_failed(make_settings: MakeSettings, database: str) -> None:
    async with runtime.open_context(make_settings(), database) as ctx:

        async def said(*, opted_in: bool, minutes: int) -> int:
            at = BEGAN + timedelta(minutes=minutes)
            async with ctx.store.tenant(ACME).transaction() as ledger:
                return await ledger.opt_outs.keep([Statement(CustomerId("7"), NEWSLETTER, at, opted_in, "import")])

        async def sharing() -> tuple[Any, ...]:
            async with ctx.store.tenant(ACME).transaction() as ledger:
                cursor = await ledger.connection.execute(
                    "select told, call, failed, tries, again_at is null from subscription"
                )
                return tuple(await cursor.fetchone() or ())

        assert await said(opted_in=True, minutes=0) == 1
        async with ctx.store.tenant(ACME).transaction() as ledger:
            await ledger.connection.execute(
                "update subscription set told = false, call = 5, failed = 'no', tries = 3, again_at = now()"
            )
        assert await said(opted_in=True, minutes=0) == 0
        assert await said(opted_in=True, minutes=1) == 1
        assert await sharing() == (False, 5, "no", 3, False)
        assert await said(opted_in=False, minutes=1) == 1
        assert await sharing() == (False, 5, None, 0, True)
