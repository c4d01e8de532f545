"""Brings a database to this version's tables, under a lock, so that whoever starts first does it for all."""

from pathlib import Path

import psycopg
from psycopg import sql

from optirelay.errors import NeedsOperator

NEWEST = "0007"
_LOCK = 7_201_504  # any number that no other program on this database takes


def migrate(conninfo: str) -> None:
    """Apply what is missing. NeedsOperator where the database is newer than this program."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        if _version(connection) == NEWEST:
            return
        connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        version = _version(connection)
        if version == NEWEST:
            return
        if version is not None and version > NEWEST:
            raise NeedsOperator(
                f"the database is at version {version}, this program knows {NEWEST}; run the program that made it so"
            )
        _upgrade(conninfo)


def _version(connection: psycopg.Connection[tuple[object, ...]]) -> str | None:
    found = connection.execute("select to_regclass('alembic_version')").fetchone()
    if found is None or found[0] is None:
        return None
    row = connection.execute(sql.SQL("select version_num from alembic_version")).fetchone()
    return None if row is None else str(row[0])


def _upgrade(conninfo: str) -> None:
    # Imported here: Alembic and SQLAlchemy cost a third of a second, and only the first start needs them.
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine, pool

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo), poolclass=pool.NullPool)
    with engine.connect() as connection, EnvironmentContext(config, scripts) as environment:
        environment.configure(
            connection=connection,
            fn=lambda revision, _: scripts._upgrade_revs("head", revision),  # noqa: SLF001 - as alembic.command does
        )
        with environment.begin_transaction():
            environment.run_migrations()
        connection.commit()
