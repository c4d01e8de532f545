"""The statements in queries/*.sql by name, and the one way to run them."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, LiteralString, TypeVar, cast

from psycopg import AsyncConnection
from psycopg.pq import PipelineStatus
from psycopg.rows import class_row, scalar_row, tuple_row

Row = TypeVar("Row")

STREAMED = 500  # more hold up a process whose others wait for its loop
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def statements(area: str) -> Mapping[str, LiteralString]:
    """Each statement of queries/<area>.sql by the name in the comment above it."""
    text = files("optirelay.store").joinpath(f"queries/{area}.sql").read_text()
    _, *parts = _NAME.split(text)
    return {name: cast("LiteralString", body.strip()) for name, body in zip(parts[::2], parts[1::2], strict=True)}


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement by name, its parameters, and the shape of its rows; None: tuples."""

    name: str
    params: Mapping[str, Any]
    shape: type[Any] | None = None


@dataclass(frozen=True, slots=True)
class Statements:
    """Runs the statements of one file on one connection; `fixed` parameters, such as the tenant, go with each."""

    connection: AsyncConnection[Any]
    area: str
    fixed: Mapping[str, Any]

    async def do(self, name: str, /, **params: Any) -> None:
        """Run it. In a pipelined transaction it leaves with the next statement whose rows are read."""
        await self.connection.execute(statements(self.area)[name], {**self.fixed, **params})

    async def count(self, name: str, /, **params: Any) -> int:
        """Run it; how many rows it touched. Not in a pipelined transaction, which does not know it yet."""
        assert not self._pipelined
        cursor = await self.connection.execute(statements(self.area)[name], {**self.fixed, **params})
        return cursor.rowcount

    @property
    def _pipelined(self) -> bool:
        return self.connection.info.pipeline_status is not PipelineStatus.OFF

    async def rows(self, shape: type[Row], name: str, /, **params: Any) -> list[Row]:
        """Every row, each as a `shape` by its columns' names."""
        async with self.connection.cursor(row_factory=class_row(shape)) as cursor:
            await cursor.execute(statements(self.area)[name], {**self.fixed, **params})
            return await cursor.fetchall()

    async def together(self, *asked: Asked) -> list[list[Any]]:
        """Several statements, one after another, without waiting for each one's answer; every row of each."""
        cursors = []
        async with nullcontext() if self._pipelined else self.connection.pipeline():
            for one in asked:
                cursor = self.connection.cursor(row_factory=class_row(one.shape) if one.shape else tuple_row)
                cursors.append(cursor)
                await cursor.execute(statements(self.area)[one.name], {**self.fixed, **one.params})
        return [await cursor.fetchall() for cursor in cursors]

    async def stream(self, shape: type[Row], name: str, /, **params: Any) -> AsyncIterator[Row]:
        """Every row, STREAMED at a time, however many there are; inside a transaction."""
        async with self.connection.cursor(name=name, row_factory=class_row(shape)) as cursor:
            cursor.itersize = STREAMED
            await cursor.execute(statements(self.area)[name], {**self.fixed, **params})
            async for row in cursor:
                yield row

    async def row(self, shape: type[Row], name: str, /, **params: Any) -> Row | None:
        """The first row, or None."""
        async with self.connection.cursor(row_factory=class_row(shape)) as cursor:
            await cursor.execute(statements(self.area)[name], {**self.fixed, **params})
            return await cursor.fetchone()

    async def tuples(self, name: str, /, **params: Any) -> list[tuple[Any, ...]]:
        """Every row as it comes: for so many rows that a shape for each would cost more than the query."""
        async with self.connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(statements(self.area)[name], {**self.fixed, **params})
            return await cursor.fetchall()

    async def values(self, name: str, /, **params: Any) -> list[Any]:
        """The first column of every row."""
        async with self.connection.cursor(row_factory=scalar_row) as cursor:
            await cursor.execute(statements(self.area)[name], {**self.fixed, **params})
            return await cursor.fetchall()

    async def value(self, name: str, /, **params: Any) -> Any:
        """The first column of the first row, or None."""
        async with self.connection.cursor(row_factory=scalar_row) as cursor:
            await cursor.execute(statements(self.area)[name], {**self.fixed, **params})
            return await cursor.fetchone()

    async def copy(self, name: str, rows: list[tuple[Any, ...]], types: tuple[str, ...] = ()) -> None:
        """COPY rows in; `types` are the columns' types, where the statement says `format binary`."""
        if not rows:
            return
        async with (
            self.connection.cursor() as cursor,
            cursor.copy(statements(self.area)[name]) as copy,
        ):
            if types:
                copy.set_types(types)
            for row in rows:  # copy.write_row does the same, and is awaited a million times
                if data := copy.formatter.write_row(row):
                    await copy.writer.write(data)
