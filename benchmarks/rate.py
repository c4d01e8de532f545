"""`rate`: many messages due in one second drain at the rate: never faster in any window, and hardly slower."""

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Thread

from benchmarks.house import PLAIN, Lane, free_port, house, until
from benchmarks.table import Line

RATE = 1000  # a second
SECOND = 1.0
WORKERS = 2
MORE = """rate = "{rate}/s"

[tenants.acme.channels.newsletter.smtp]
host = "127.0.0.1"
port = {port}
security = "none"
connections = 20
"""


def bench(options: argparse.Namespace) -> Sequence[Line]:
    """So many messages, all due in one second, over two workers."""
    messages = min(options.recipients)
    with _server() as (port, taken_at):
        lane = Lane(provider="smtp", more=MORE.format(rate=RATE, port=port))
        with house([lane], customers={"acme": messages}, html=PLAIN, workers=WORKERS) as opened:
            campaign_id = opened.plan(lane)
            opened.fire(campaign_id)
            until(lambda: opened.over(campaign_id), every=0.5)
    used = (len(taken_at) - 1) / (taken_at[-1] - taken_at[0]) / RATE
    what = f"{messages:,} due in one second at {RATE:,}/s, {WORKERS} workers"
    return [
        Line(f"{what}: most in any second ÷ rate", [_most_in(SECOND, taken_at) / RATE], "", bar=1, at_least=False),
        Line(f"{what}: used of the rate", [used], "", bar=0.95, beside=f"{len(taken_at):,} mails"),
    ]


def _most_in(seconds: float, moments: Sequence[float]) -> int:
    """The most of them that lie in one window of this length."""
    most, first = 0, 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


@contextmanager
def _server() -> Iterator[tuple[int, list[float]]]:
    """An SMTP server in a thread of its own, and when each mail began there: at its MAIL."""
    port, taken_at, loop = free_port(), list[float](), asyncio.new_event_loop()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := await reader.readline():
            match line[:4].upper():
                case b"EHLO":
                    writer.write(b"250-ready\r\n250 PIPELINING\r\n")
                case b"MAIL":
                    taken_at.append(time.monotonic())
                    writer.write(b"250 Ok\r\n")
                case b"DATA":
                    writer.write(b"354 go on\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    writer.write(b"250 Ok\r\n")
                case b"QUIT":
                    writer.write(b"221 Bye\r\n")
                    break
                case _:
                    writer.write(b"250 Ok\r\n")
        writer.close()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(asyncio.start_server(talk, "127.0.0.1", port))
        loop.run_forever()

    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield port, taken_at
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
