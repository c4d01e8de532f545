"""The receiver's log: one line for each message that reached one person."""

import asyncio
import json
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from crash.processes import start_helper


class Receipt(NamedTuple):
    """One message that reached one person."""

    at: float  # seconds since 1970
    door: int  # through which of the receiver's ports
    sid: str
    template_id: int
    to: str
    number: str = ""  # personalization's `number`, where it has one
    again: bool = False  # the same id again: answered, and not delivered a second time

    def line(self) -> bytes:
        """As it stands in the log."""
        fields = (f"{self.at:.6f}", str(self.door), self.sid, str(self.template_id), self.to, self.number)
        return "\t".join([*fields, "again" if self.again else ""]).encode() + b"\n"


def read_receipts(lines: Iterable[str]) -> list[Receipt]:
    """The lines of a receipt log."""
    found = []
    for line in lines:
        at, door, sid, template_id, to, number, again = line.rstrip("\n").split("\t")
        found.append(Receipt(float(at), int(door), sid, int(template_id), to, number, again == "again"))
    return found


class ReceiverLog:
    """The receiver, and what it has written down."""

    def __init__(self, path: Path, ports: list[int], process: asyncio.subprocess.Process) -> None:
        self.path = path
        self.ports = ports
        self._process = process
        self._read = 0
        self._count = 0

    @classmethod
    async def start(
        cls, stack: AsyncExitStack, path: Path, *, channel: str, contract: str, secret: str, doors: int
    ) -> "ReceiverLog":
        """Start one with so many doors; it ends with us."""
        path.touch()
        words = ("-m", "crash.receivers", str(path), str(doors), channel, contract, secret)
        found: list[asyncio.subprocess.Process] = []
        line = await start_helper(stack, words, path.with_suffix(".log"), started=found.append)
        return cls(path, json.loads(line), found[0])

    @property
    def count(self) -> int:
        """How many messages have arrived so far."""
        with self.path.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        self._count += whole.count(b"\n") - whole.count(b"\tagain\n")
        return self._count

    def receipts(self) -> list[Receipt]:
        """All of them."""
        with self.path.open(encoding="utf-8") as log:
            return read_receipts(log)

    def pace(self, seconds: float) -> None:
        """How long it works on each message from now on."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n".encode())
